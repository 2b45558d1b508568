"""ResViT's generator: a convolutional encoder and decoder, with transformers in the residual bottleneck between them.

Dalmaz, Yurtsever and Cukur, IEEE TMI 41 (2022), arXiv 2106.16031. Differences: the last layer is linear, not tanh, for
images that are not bound to [-1, 1]; instance norm, which is what the paper's batch norm is at its batch size of 1.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from photopeak.core.errors import BadArgument, ShapeMismatch

CODER_SHRINK = 4
"""Pixels of the image along one of the bottleneck: two strides of 2."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance norm, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, image: Tensor) -> Tensor:
        """[item, channel, row, column], as given."""
        changed: Tensor = image + self.change(image)
        return changed


class Tokens(nn.Module):
    """What a block of the bottleneck needs to use a transformer: from image to tokens, back, and joined.

    The join starts as if there were no transformer. The paper comes there by training the convolutions alone first.

    Parameters
    ----------
    channels : of the image.
    side : rows and columns of the image; a multiple of ``2 ** shrink``.
    shrink : strides of 2 between the image and its tokens.
    width : of a token.
    """

    def __init__(self, channels: int, *, side: int, shrink: int, width: int) -> None:
        super().__init__()
        self.side = side >> shrink
        wide = [channels << level for level in range(shrink + 1)]
        down = [_halved(few, many) for few, many in pairwise(wide)]
        up = [_doubled(many, few) for few, many in pairwise(wide)]
        self.to_tokens = nn.Sequential(*down, nn.Conv2d(wide[-1], width, 1))
        self.from_tokens = nn.Sequential(nn.Conv2d(width, wide[-1], 1), *up[::-1])
        self.place = nn.Parameter(0.02 * torch.randn(1, self.side**2, width))
        self.join = nn.Conv2d(2 * channels, channels, 1)
        with torch.no_grad():
            self.join.weight.copy_(torch.eye(channels, 2 * channels)[:, :, None, None])
            self.join.bias.zero_()  # type: ignore[union-attr]

    def forward(self, image: Tensor, transformer: nn.Module) -> Tensor:
        """[item, channel, row, column] joined with what the transformer makes of it."""
        tokens = self.to_tokens(image).flatten(-2).mT + self.place
        seen = self.from_tokens(transformer(tokens).mT.unflatten(-1, (self.side, self.side)))
        joined: Tensor = self.join(torch.cat([image, seen], dim=1))
        return joined


class ResViT(nn.Module):
    """Image to image of one size; the bottleneck is at a quarter of it (Sections II-B and III-C of the paper).

    Parameters
    ----------
    inputs, outputs : channels of the images.
    size : rows and columns, a multiple of ``4 * 2 ** shrink``: positions of tokens are learnt.
    channels : after the first convolution; the bottleneck has four times as many.
    blocks : residual blocks of the bottleneck.
    attending : those with a transformer before them, counted from 1; all share its weights.
    shrink : strides of 2 on the way into the transformer.
    width, layers, heads : of the transformer; the paper's are those of ViT-B/16, with its ImageNet weights.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        size: int,
        channels: int = 64,
        blocks: int = 9,
        attending: Sequence[int] = (1, 6),
        shrink: int = 2,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
    ) -> None:
        super().__init__()
        _check(size, blocks, attending, shrink, width, heads)
        self.size, self.attending = size, tuple(attending)
        few, some, many = channels, 2 * channels, 4 * channels
        self.encoder = nn.Sequential(
            nn.Conv2d(inputs, few, 7, padding=3, padding_mode="reflect", bias=False),
            nn.InstanceNorm2d(few, affine=True),
            nn.ReLU(),
            _halved(few, some),
            _halved(some, many),
        )
        side = size // CODER_SHRINK
        self.tokens = nn.ModuleDict(
            {str(block): Tokens(many, side=side, shrink=shrink, width=width) for block in self.attending}
        )
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.residual = nn.ModuleList(ResidualBlock(many) for _ in range(blocks))
        self.decoder = nn.Sequential(
            _doubled(many, some),
            _doubled(some, few),
            nn.Conv2d(few, outputs, 7, padding=3, padding_mode="reflect"),
        )

    def forward(self, image: Tensor) -> Tensor:
        """[item, outputs, row, column] from [item, inputs, row, column].

        Raises
        ------
        ShapeMismatch : for images of another size.
        """
        if image.shape[-2:] != (self.size, self.size):
            raise ShapeMismatch(
                f"an image of {tuple(image.shape[-2:])} pixels",
                needed=f"{(self.size, self.size)}, for which positions were learnt",
                remedy="Make the network with this size.",
            )
        features = self.encoder(image)
        for number, block in enumerate(self.residual, start=1):
            if number in self.attending:
                features = self.tokens[str(number)](features, self.transformer)
            features = block(features)
        answer: Tensor = self.decoder(features)
        return answer


def _check(size: int, blocks: int, attending: Sequence[int], shrink: int, width: int, heads: int) -> None:
    if size % (CODER_SHRINK << shrink) or size < 2 * (CODER_SHRINK << shrink):
        raise BadArgument(
            f"size={size} with shrink={shrink}",
            needed=f"a multiple of {CODER_SHRINK << shrink}, at least twice it",
            remedy="Shrink less, or use another size of slices.",
        )
    if not attending or len(set(attending)) < len(attending) or not set(attending) <= set(range(1, blocks + 1)):
        raise BadArgument(
            f"attending={tuple(attending)}",
            needed=f"different blocks among 1 to {blocks}",
            remedy="The paper's are 1 and 6 of 9.",
        )
    if width % heads:
        raise BadArgument(f"width={width} for {heads} heads", needed="a multiple", remedy="Change either.")


def _halved(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.ReLU(),
    )


def _doubled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=False),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.ReLU(),
    )
