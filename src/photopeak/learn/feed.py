"""Cutting a heart's cube into slices for a 2D network, scaling them, and stitching the answers back.

The same frozen object serves training and use, and travels in the checkpoint, so the two cannot scale differently.
The cube is sampled on the short-axis grid of the heart; VLA and HLA slices are the same cube seen from other sides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from photopeak.core.errors import BadValues

Side = Literal["sa", "vla", "hla"]
SIDES: tuple[Side, ...] = ("sa", "vla", "hla")


FADE_MM = 12.0
NEAR_MM, NEAR_SLOPE_MM, FAR_WEIGHT = 60.0, 20.0, 0.2
"""`SliceFeed.near`: full weight up to the edge of the heart, how it falls from there, and what is left far away."""


@dataclass(frozen=True)
class SliceFeed:
    """Geometry and scale of the slices.

    Parameters
    ----------
    voxel_mm : voxel of the cube; that of the images the network is trained on.
    size : voxels along each side of the cube; 20 to 26 cm, a multiple of 4.
    depth : slices used in each orientation, the middle ones.
    neighbours : slices on either side that come along as channels.
    factor : population mean of AC over NAC; AC is scaled by it in addition, so that both have about the same range.
    level_quantile, level_radius_mm : the level that counts are divided by is this quantile of NAC in this sphere, so
        that it follows the myocardium and not the liver or bowel.
    """

    voxel_mm: float = 6.4
    size: int = 40
    depth: int = 26
    neighbours: int = 2
    factor: float = 3.2
    level_quantile: float = 0.9
    level_radius_mm: float = 45.0

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, self.size)

    @property
    def context(self) -> int:
        """Channels of one slice with its neighbours."""
        return 2 * self.neighbours + 1

    @property
    def places(self) -> int:
        """Numbers that say where a slice is: its orientation, and how far from the middle."""
        return len(SIDES) + 1

    @property
    def multiple(self) -> int:
        """What rows and columns are multiples of: they are that long."""
        return self.size

    @property
    def clip(self) -> tuple[float, float]:
        """The range of images in the network's scale, in which 1 is the level of normal uptake and -1 no counts."""
        return -1.0, 3.0

    @property
    def reach_mm(self) -> float:
        """Distance from the heart's centre within which all three orientations answer."""
        return (self.depth - 1) / 2 * self.voxel_mm

    @property
    def answered_mm(self) -> float:
        """Distance within which an answer counts fully; from there to `reach_mm` it fades out."""
        return max(self.reach_mm - FADE_MM, 0.0)

    def level(self, nac: Tensor) -> float:
        """The counts that stand for normal uptake in a NAC cube [z, y, x]."""
        axis = (torch.arange(self.size, device=nac.device) - (self.size - 1) / 2) * self.voxel_mm
        radius = torch.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
        level = float(torch.quantile(nac[radius <= self.level_radius_mm], self.level_quantile))
        if not level > 0:
            raise BadValues(
                "no counts around the heart",
                needed="a perfusion image",
                remedy="Check the series and the heart found in it.",
            )
        return level

    def slices(
        self, cube: Tensor, side: Side, numbers: Sequence[int] | None = None, *, neighbours: bool = True
    ) -> Tensor:
        """Slices [slice, channel, row, column] of a short-axis cube [z, y, x]; one channel without neighbours.

        Parameters
        ----------
        numbers : which of the `depth` slices; all unless given.
        """
        first = torch.tensor(range(self.depth) if numbers is None else numbers) + (self.size - self.depth) // 2
        reach = self.neighbours if neighbours else 0
        offsets = torch.arange(-reach, reach + 1)
        return seen_from(cube, side)[(first[:, None] + offsets).clamp(0, self.size - 1)]

    def place(self, side: Side, numbers: Sequence[int] | None = None) -> Tensor:
        """Where each slice is: [slice, (is SA, is VLA, is HLA, offset from -1 to 1)]."""
        index = torch.tensor(range(self.depth) if numbers is None else numbers)
        which = torch.zeros(len(index), len(SIDES))
        which[:, SIDES.index(side)] = 1
        return torch.cat([which, (2 * index / (self.depth - 1) - 1)[:, None]], dim=1)

    def near(self, numbers: Sequence[int] | None = None) -> Tensor:
        """How much an error matters, [slice, 1, row, column]: 1 in the heart, less around it; alike on all sides."""
        axis = ((torch.arange(self.size) - (self.size - 1) / 2) * self.voxel_mm).square()
        radius = (axis[:, None, None] + axis[:, None] + axis).sqrt()
        beyond = (radius - NEAR_MM).clamp(min=0) / NEAR_SLOPE_MM
        weight = FAR_WEIGHT + (1 - FAR_WEIGHT) * torch.exp(-beyond.square())
        return self.slices(weight, "sa", numbers, neighbours=False)

    def stitched(self, answers: Mapping[Side, Tensor], fill: Tensor) -> Tensor:
        """A short-axis cube [z, y, x]: the mean of the orientations that saw a voxel, `fill` where none did.

        Parameters
        ----------
        answers : slices [slice, row, column] of each orientation.
        fill : cube [z, y, x].
        """
        total, seen = torch.zeros_like(fill), torch.zeros_like(fill)
        first = (self.size - self.depth) // 2
        for side, slices in answers.items():
            full = fill.new_zeros(2, *self.shape)
            full[0, first : first + self.depth] = slices
            full[1, first : first + self.depth] = 1
            total += short_axis_from(full[0], side)
            seen += short_axis_from(full[1], side)
        return torch.where(seen > 0, total / seen.clamp(min=1), fill)


def seen_from(cube: Tensor, side: Side) -> Tensor:
    """A short-axis cube [z, y, x] as slices of another orientation, in that orientation's display order."""
    if side == "vla":
        return cube.permute(2, 1, 0).flip(2)
    if side == "hla":
        return cube.permute(1, 0, 2).flip(0)
    return cube


def short_axis_from(slices: Tensor, side: Side) -> Tensor:
    """The inverse of `seen_from`."""
    if side == "vla":
        return slices.flip(2).permute(2, 1, 0)
    if side == "hla":
        return slices.flip(0).permute(1, 0, 2)
    return slices


def to_network(ratio: Tensor) -> Tensor:
    """Counts over level, 0 to about 1.5, to the network's -1 to about 2."""
    return 2 * ratio - 1


def from_network(value: Tensor) -> Tensor:
    """The inverse of `to_network`."""
    return (value + 1) / 2
