"""A 3D U-Net with dense blocks and squeeze-and-excitation, for images of few views.

After what DiffSPECT-3D (arXiv 2412.16573, section III E) says of Xie et al.'s: each level is a convolution, a dense
block (Huang et al., CVPR 2017) and an attention to channels (Hu et al., CVPR 2018). For the sake of a CPU there are few
channels, and blocks of voxels are held as channels.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from monai.networks.blocks import ChannelSELayer, ConvDenseBlock, Convolution
from torch import Tensor, nn

from photopeak.core.errors import BadArgument

DENSE_LAYERS = 2


class UNet3(nn.Module):
    """Strided convolutions down, transposed ones up, skips concatenated. Answers 0 before it is trained.

    Parameters
    ----------
    inputs, outputs : channels of a volume.
    channels : of the levels, even numbers.
    fold : blocks of fold x fold x fold voxels are held as channels.
    """

    def __init__(self, inputs: int, outputs: int, *, channels: Sequence[int] = (16, 32, 64), fold: int = 2) -> None:
        super().__init__()
        if not channels or any(n < 2 or n % 2 for n in channels) or fold < 1:
            raise BadArgument(
                f"channels={tuple(channels)}, fold={fold}",
                needed="even numbers, and blocks of at least 1",
                remedy="Use (16, 32, 64) and 2.",
            )
        self.fold, self.multiple = fold, fold * 2 ** (len(channels) - 1)
        self.first = _level(inputs * fold**3, channels[0])
        self.shrink = nn.ModuleList(nn.Conv3d(few, many, 2, stride=2) for few, many in pairwise(channels))
        self.down = nn.ModuleList(_level(many, many) for many in channels[1:])
        self.grow = nn.ModuleList(nn.ConvTranspose3d(many, few, 2, stride=2) for few, many in pairwise(channels))
        self.up = nn.ModuleList(_level(2 * few, few) for few in channels[:-1])
        self.last = nn.Conv3d(channels[0], outputs * fold**3, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, volume: Tensor) -> Tensor:
        """[item, outputs, z, y, x] from [item, inputs, z, y, x] of any size; edges are continued and cut again."""
        shape, n = volume.shape[-3:], self.fold
        missing = [-size % self.multiple for size in reversed(shape)]
        padded = F.pad(volume, [pad for more in missing for pad in (0, more)], mode="replicate")
        features = [self.first(rearrange(padded, "b c (z k) (y l) (x m) -> b (c k l m) z y x", k=n, l=n, m=n))]
        for shrink, level in zip(self.shrink, self.down, strict=True):
            features.append(level(shrink(features[-1])))
        answer = features.pop()
        for grow, level in zip(reversed(self.grow), reversed(self.up), strict=True):
            answer = level(torch.cat([grow(answer), features.pop()], dim=1))
        blocks = rearrange(self.last(answer), "b (c k l m) z y x -> b c (z k) (y l) (x m)", k=n, l=n, m=n)
        return blocks[..., : shape[0], : shape[1], : shape[2]]


def _level(inputs: int, outputs: int) -> nn.Sequential:
    """A convolution, a dense block that doubles its channels, and back to `outputs` with attention to channels."""
    growth = outputs // DENSE_LAYERS
    return nn.Sequential(
        Convolution(3, inputs, outputs),
        ConvDenseBlock(3, outputs, [growth] * DENSE_LAYERS),
        Convolution(3, outputs + DENSE_LAYERS * growth, outputs, kernel_size=1),
        ChannelSELayer(3, outputs),
    )
