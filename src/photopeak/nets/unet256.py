"""The U-Net generator of Pix2Pix (Isola et al., CVPR 2017, section 3.2.1 and appendix 6.1), of any depth.

It halves the image `depth` times with 4x4 convolutions; 256 pixels and depth 8 are the paper's and end at one pixel.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core.errors import BadArgument, ShapeMismatch

LARGEST_WIDTH = 8
"""Channels grow no further than to so many times the first level's."""


class UNet256(nn.Module):
    """Encoder and decoder with a skip at every level; the paper's noise is the dropout of the innermost levels.

    The paper's batch norm is instance norm here: what it is at the paper's batch of 1, and items cannot mix. The last
    layer is linear. Dropout is asked for with `masks`, so that its chance comes from a generator and not from a mode.

    Parameters
    ----------
    inputs, outputs : channels of the images.
    width : channels of the first level; doubled at every level up to eight times.
    depth : halvings; images are reflected at their borders to a multiple of 2^depth and cropped again.
    dropout : probability that a feature of a noisy level is dropped.

    Raises
    ------
    BadArgument : fewer than two levels.
    """

    def __init__(self, inputs: int, outputs: int, *, width: int = 64, depth: int = 8, dropout: float = 0.5) -> None:
        super().__init__()
        if depth < 2:
            raise BadArgument(f"depth={depth}", needed="at least 2", remedy="The paper's is 8, for 256x256 images.")
        self.depth, self.dropout = depth, dropout
        widths = [width * min(2**level, LARGEST_WIDTH) for level in range(depth)]
        self.down = nn.ModuleList([nn.Conv2d(inputs, width, 4, stride=2, padding=1)])
        for level in range(1, depth):
            self.down.append(_halved(widths[level - 1], widths[level], norm=level < depth - 1))
        self.up = nn.ModuleList()
        for level in range(depth - 1, 0, -1):
            skips = 1 if level == depth - 1 else 2
            self.up.append(_doubled(skips * widths[level], widths[level - 1]))
        self.last = nn.ConvTranspose2d(2 * width, outputs, 4, stride=2, padding=1)
        self.noisy = [widths[depth - 2 - n] for n in range(max(1, min(3, depth - 5)))]

    def masks(self, image: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Dropout of each noisy level, [item, channel, row, column], 0 or 1 / (1 - dropout), for images as this.

        The paper drops in the first three of eight decoder levels; shallower networks in fewer, at least in one.
        """
        smallest = [-(-n // 2**self.depth) for n in image.shape[-2:]]
        drawn = []
        for n, channels in enumerate(self.noisy):
            shape = (len(image), channels, *(2 ** (n + 1) * s for s in smallest))
            kept = torch.rand(shape, generator=generator, device=generator.device) >= self.dropout
            drawn.append(kept / (1 - self.dropout))
        return tuple(drawn)

    def forward(self, image: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """[item, outputs, row, column] from [item, inputs, row, column]; without masks nothing is dropped.

        Raises
        ------
        ShapeMismatch : an image too small to be reflected to a multiple of 2^depth.
        """
        rows, columns = image.shape[-2:]
        x, (top, left) = _reflected(image, 2**self.depth)
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        skips.pop()
        for n, up in enumerate(self.up):
            x = up(x)
            if n < len(masks):
                x = x * masks[n].to(x)
            x = torch.cat([x, skips.pop()], dim=1)
        answer: Tensor = self.last(F.relu(x))
        return answer[..., top : top + rows, left : left + columns]


def _halved(inputs: int, outputs: int, *, norm: bool) -> nn.Sequential:
    """The innermost level has no norm: it may be a single pixel."""
    layers = [nn.LeakyReLU(0.2), nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)]
    return nn.Sequential(*layers, *([nn.InstanceNorm2d(outputs, affine=True)] if norm else []))


def _doubled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1),
        nn.InstanceNorm2d(outputs, affine=True),
    )


def _reflected(image: Tensor, multiple: int) -> tuple[Tensor, tuple[int, int]]:
    """The image with borders to a multiple in both directions, and where it now begins."""
    rows, columns = image.shape[-2:]
    extra_rows, extra_columns = -rows % multiple, -columns % multiple
    top, left = extra_rows // 2, extra_columns // 2
    bottom, right = extra_rows - top, extra_columns - left
    if bottom >= rows or right >= columns:
        raise ShapeMismatch(
            f"an image of {rows}x{columns} for a U-Net that halves to 1/{multiple}",
            needed="borders smaller than the image",
            remedy="Choose a smaller depth.",
        )
    return F.pad(image, (left, right, top, bottom), mode="reflect"), (top, left)
