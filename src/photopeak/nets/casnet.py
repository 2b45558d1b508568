"""CasNet, MedGAN's generator: U-blocks end to end, each translating the image that the one before it made.

Armanious et al., Comput. Med. Imaging Graph. 79 (2020) 101684, arXiv 1806.06397. Difference: the last layer of a block
is linear, not tanh, for images that are not bound to [-1, 1].
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from photopeak.core.errors import BadArgument


class UBlock(nn.Module):
    """Strided convolutions down, transposed ones up, skips concatenated.

    Parameters
    ----------
    inputs, outputs : channels of the images.
    channels : after each stride; rows and columns are a multiple of ``2 ** len(channels)``, at least twice it.
    """

    def __init__(self, inputs: int, outputs: int, channels: Sequence[int]) -> None:
        super().__init__()
        if not channels:
            raise BadArgument("no channels", needed="at least one level", remedy="The paper has eight.")
        self.first = nn.Conv2d(inputs, channels[0], 4, stride=2, padding=1)
        self.down = nn.ModuleList(_down(few, many) for few, many in pairwise(channels))
        from_below = [*(2 * some for some in channels[:-1]), channels[-1]]
        self.up = nn.ModuleList(_up(from_below[n], channels[n - 1]) for n in reversed(range(1, len(channels))))
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(from_below[0], outputs, 4, stride=2, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """[item, outputs, row, column] from [item, inputs, row, column]."""
        features = [self.first(image)]
        for down in self.down:
            features.append(down(features[-1]))
        answer = features.pop()
        for up in self.up:
            answer = torch.cat([up(answer), features.pop()], dim=1)
        made: Tensor = self.last(answer)
        return made


class CasNet(nn.Module):
    """A cascade of U-blocks.

    Parameters
    ----------
    inputs, outputs : channels of the first block's input and of every block's output.
    blocks : U-blocks, 6 in the paper.
    channels : of each, see UBlock.
    """

    def __init__(self, inputs: int, outputs: int, *, blocks: int = 6, channels: Sequence[int] = (64, 128, 256)) -> None:
        super().__init__()
        if blocks < 1:
            raise BadArgument(f"blocks={blocks}", needed="at least 1", remedy="The paper has 6.")
        sizes = [inputs] + [outputs] * (blocks - 1)
        self.blocks = nn.Sequential(*(UBlock(size, outputs, channels) for size in sizes))

    def forward(self, image: Tensor) -> Tensor:
        """[item, outputs, row, column] from [item, inputs, row, column]."""
        answer: Tensor = self.blocks(image)
        return answer


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LeakyReLU(0.2),
        nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
        nn.InstanceNorm2d(outputs, affine=True),
    )


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
        nn.InstanceNorm2d(outputs, affine=True),
    )
