"""Cutting an image into transaxial slices for a 2D network, scaling them, and putting the answers back.

The same frozen object serves training and use, and travels in the checkpoint, so the two cannot scale differently.
All is in ratios to a level that is linear in the counts, so that a hundredth of the dose and all of it look alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.core import Grid
from photopeak.core.errors import BadArgument, BadValues
from photopeak.learn.feed import to_network


@dataclass(frozen=True)
class VolumeFeed:
    """Geometry and scale of the slices.

    Parameters
    ----------
    shape, voxel_mm : (nz, ny, nx) and voxel of the images that the network is trained on.
    multiple : rows and columns are filled up with zeros to a multiple of it, which the network's levels need.
    level_radius_mm : the level is from the mean of the image in this sphere about the middle of the grid. A mean does
        not mind noise, as a quantile does.
    peak : normal myocardium over that mean; the level is the mean times it.
    brightest : of the level; the network's range ends there. In the outermost slices of a short field of view a few
        voxels take up the counts of what lies beyond and reach fortyfold; they would drown the heart.
    mu_per_cm : attenuation that a network sees as 1; about that of water at 140.5 keV.
    """

    shape: tuple[int, int, int] = (50, 70, 70)
    voxel_mm: float = 4.0
    multiple: int = 8
    level_radius_mm: float = 60.0
    peak: float = 3.5
    brightest: float = 3.0
    mu_per_cm: float = 0.15

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        numbers = (*self.shape, self.voxel_mm, self.multiple, self.level_radius_mm, self.peak, self.brightest)
        if len(self.shape) != 3 or not all(0 < n < float("inf") for n in (*numbers, self.mu_per_cm)):
            raise BadArgument(f"{self}", needed="three sizes and positive numbers", remedy="Leave out what is usual.")

    @property
    def depth(self) -> int:
        """Slices of a volume."""
        return self.shape[0]

    @property
    def plane(self) -> tuple[int, int]:
        """(rows, columns) of a slice as the network sees it."""
        rows, columns = (-(-n // self.multiple) * self.multiple for n in self.shape[1:])
        return rows, columns

    @property
    def clip(self) -> tuple[float, float]:
        """The range of images in the network's scale, in which 1 is the level and -1 is no counts."""
        low, high = to_network(torch.tensor([0.0, self.brightest])).tolist()
        return low, high

    def grid(self, centre_mm: Sequence[float]) -> Grid:
        """The grid that the network works on, about a point in LPS (x, y, z) mm."""
        return Grid.regular(self.shape, self.voxel_mm, centre_mm=centre_mm)

    def fits(self, grid: Grid) -> bool:
        """Whether images on `grid` need no resampling."""
        return grid.same_as(self.grid(grid.centre_mm.tolist()))

    def level(self, image: Tensor) -> float:
        """The counts that stand for normal myocardium in an image [z, y, x]; linear in the image.

        Raises
        ------
        BadValues : nothing shines in the middle of the grid.
        """
        axes = [(torch.arange(n, device=image.device) - (n - 1) / 2) * self.voxel_mm for n in self.shape]
        z, y, x = torch.meshgrid(*axes, indexing="ij")
        inside = z**2 + y**2 + x**2 <= self.level_radius_mm**2
        level = self.peak * float(image[inside].mean())
        if not 0 < level < float("inf"):
            raise BadValues(
                f"a mean of {level / self.peak:g} within {self.level_radius_mm:g} mm of the middle of the field",
                needed="an image with the heart in its middle",
                remedy="Check the projections and where the grid of the attenuation map lies.",
            )
        return level

    def padded(self, image: Tensor) -> Tensor:
        """[..., y, x] with zeros after the last row and column, [..., row, column] of `plane`."""
        (rows, columns), (ny, nx) = self.plane, self.shape[1:]
        return F.pad(image, (0, columns - nx, 0, rows - ny))

    def cropped(self, image: Tensor) -> Tensor:
        """The inverse of `padded`."""
        return image[..., : self.shape[1], : self.shape[2]]

    def slices(self, image: Tensor, numbers: Sequence[int], *, neighbours: int = 0) -> Tensor:
        """Slices [slice, 2 * neighbours + 1, row, column] of an image [z, y, x]; the first and last one repeat."""
        index = torch.tensor(numbers)[:, None] + torch.arange(-neighbours, neighbours + 1)
        return self.padded(image)[index.clamp(0, self.depth - 1)]

    def weighted(self, image: Tensor, numbers: Sequence[int]) -> Tensor:
        """All slices for each slice, [slice, z, row, column], those far from it fainter (DiffSPECT-3D, section II C 1).

        ``w(i, j) = 1 - |i - j| / depth``.
        """
        apart = (torch.tensor(numbers)[:, None] - torch.arange(self.depth)).abs()
        weights = (1 - apart / self.depth).to(image)
        return weights[:, :, None, None] * self.padded(image)
