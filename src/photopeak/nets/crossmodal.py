"""One image asks another: cross-attention between their tokens, added back as an image."""

import torch.nn.functional as F
from torch import Tensor, nn


class CrossModal(nn.Module):
    """Residual cross-attention of one image stack to another, pre-norm, one layer.

    Parameters
    ----------
    asking, asked : channels of the two images, which share rows and columns (even numbers).
    width : of the tokens, one for each 2x2 pixels.
    heads : of the attention.
    """

    def __init__(self, asking: int, asked: int, *, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.asking, self.asked = _tokens(asking, width), _tokens(asked, width)
        self.norm_asking, self.norm_asked, self.norm_after = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.back = nn.Sequential(
            nn.Conv2d(width, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(width, asking, 3, padding=1),
        )

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """[item, asking, row, column] from [item, asking, row, column] and [item, asked, row, column]."""
        image = self.asking(asking)
        x, memory = _flat(image), self.norm_asked(_flat(self.asked(asked)))
        q, k, v = (self._by_head(t) for t in (self.query(self.norm_asking(x)), self.key(memory), self.value(memory)))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2))
        x = x + self.feed_forward(self.norm_after(x))
        return asking + self.back(x.mT.reshape(image.shape))

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _tokens(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, stride=2, padding=1)
    )


def _flat(image: Tensor) -> Tensor:
    return image.flatten(-2).mT
