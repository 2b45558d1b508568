"""Transaxial slices of NAC and of the attenuation map: their scale, and the training set that they make."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.cardiac.orientation import HeartFrame
from photopeak.core import Grid, Study, Volume, attenuation
from photopeak.core.errors import BadValues, GridMismatch
from photopeak.core.units import TC99M_KEV
from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import heart_of

NEAR_MM = 100.0
"""Attenuation further from the heart than this matters little for it."""


@dataclass(frozen=True)
class TransaxialFeed:
    """Geometry and scale of transaxial slices; the square root of counts makes room for the body beside the heart.

    Parameters
    ----------
    voxel_mm : isotropic voxels on which the map is predicted.
    neighbours : slices on each side that the network sees beside the one it answers.
    level_quantile, level_radius_mm : counts are divided by this quantile within this radius of the heart's centre.
    multiple : slices are padded to a multiple of this many voxels.
    """

    voxel_mm: float = 6.4
    neighbours: int = 3
    level_quantile: float = 0.9
    level_radius_mm: float = 45.0
    multiple: int = 8

    @property
    def context(self) -> int:
        """Channels of one slice with its neighbours."""
        return 2 * self.neighbours + 1

    def grid(self, grid: Grid) -> Grid:
        """Square transaxial slices of `voxel_mm` that cover an axial grid; that grid itself where it is like that.

        Raises
        ------
        GridMismatch : a grid whose axes are not those of the body.
        """
        if not grid.is_axial:
            raise GridMismatch(
                f"a NAC image on an oblique grid of {grid}",
                needed="transaxial slices along LPS",
                remedy="Give the transaxial reconstruction, not the short-axis one.",
            )
        nz, ny, nx = (
            math.ceil(size * spacing / self.voxel_mm - 1e-6)
            for size, spacing in zip(grid.shape, grid.spacing_mm, strict=True)
        )
        side = math.ceil(max(ny, nx) / self.multiple) * self.multiple
        return Grid.regular((nz, side, side), self.voxel_mm, centre_mm=tuple(grid.centre_mm))

    def level(self, nac: Volume, frame: HeartFrame) -> float:
        """The counts that stand for normal uptake."""
        near = _distance_mm(nac.grid, frame) <= self.level_radius_mm
        level = float(torch.quantile(nac.data[near], self.level_quantile)) if bool(near.any()) else 0.0
        if not level > 0:
            raise BadValues(
                "no counts around the heart",
                needed="a perfusion image",
                remedy="Check the series and the heart found in it.",
            )
        return level

    def offsets(self, grid: Grid, frame: HeartFrame) -> Tensor:
        """Where each voxel is, from the heart's centre in units of `NEAR_MM`: [z, (x, y, z), row, column]."""
        from_heart = (grid.points() - np.array(frame.centre_mm)) / NEAR_MM
        return torch.from_numpy(np.moveaxis(from_heart, -1, 1).astype(np.float32))

    def stacked(self, cube: Tensor, numbers: Sequence[int], reach: int) -> Tensor:
        """Slices with `reach` neighbours on each side, the ends repeated: [slice, 2 reach + 1, row, column]."""
        around = torch.tensor(list(numbers))[:, None] + torch.arange(-reach, reach + 1)
        return cube[around.clamp(0, len(cube) - 1)]


def border_of(around: Tensor) -> Tensor:
    """Size of the gradient, per voxel, of the middle one of three slices: [item, 3, row, column] to [item, 1, ...]."""
    padded = F.pad(around, (1, 1, 1, 1), mode="replicate")
    along_z = (around[:, 2:] - around[:, :1]) / 2
    along_y = (padded[:, 1:2, 2:, 1:-1] - padded[:, 1:2, :-2, 1:-1]) / 2
    along_x = (padded[:, 1:2, 1:-1, 2:] - padded[:, 1:2, 1:-1, :-2]) / 2
    return (along_z**2 + along_y**2 + along_x**2).sqrt()


def _distance_mm(grid: Grid, frame: HeartFrame) -> Tensor:
    return torch.from_numpy(np.linalg.norm(grid.points() - np.array(frame.centre_mm), axis=-1))


class MapBatches:
    """Training slices of all studies in memory: scaled "nac", "mu" in 1/cm, and where the heart is.

    Parameters
    ----------
    shift : whole voxels by which slices move, at most, along rows and columns.
    level_sd : standard deviation of the logarithm of a factor on the level, as the heart finder would make.
    place_sd_mm : standard deviation of each coordinate of the heart's centre.
    far_share : how much less often slices further than `NEAR_MM` from the heart are drawn.
    """

    shift, level_sd, place_sd_mm, far_share = 4, 0.05, 4.0, 0.2

    def __init__(self, feed: TransaxialFeed, studies: Sequence[Study]) -> None:
        self._feed = feed
        self._scans: list[dict[str, Tensor]] = []
        for study in studies:
            nac, frame = study["nac"], heart_of(study)
            grid = feed.grid(nac.grid)
            small = nac.on(grid, order=3)
            mu = study["mu"].require(attenuation(TC99M_KEV), name="mu").on(grid)
            level = feed.level(small, frame)
            first = feed.offsets(grid, frame)[:, :, 0, 0]
            slope = ((first[:, 2].abs() <= 1) * (1 - self.far_share) + self.far_share).float()
            counts = (small.data.clamp(min=0) / level).sqrt()
            self._scans.append({"nac": counts, "mu": mu.data, "corner": first, "often": slope})

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """Random slices: "nac" [item, 2n+1, row, column], "place" [item, 3, ...], "mu" and "near" [item, 1, ...],
        "around" [item, 3, ...] the map with a slice on each side."""
        items = [self._item(generator) for _ in range(size)]
        return {name: torch.stack([item[name] for item in items]) for name in items[0]}

    def _item(self, generator: torch.Generator) -> dict[str, Tensor]:
        feed = self._feed
        scan = self._scans[int(torch.randint(len(self._scans), (), generator=generator))]
        number = int(torch.multinomial(scan["often"], 1, generator=generator))
        down, right = torch.randint(-self.shift, self.shift + 1, (2,), generator=generator).tolist()
        normal = torch.randn(4, generator=generator)
        counts = feed.stacked(scan["nac"], [number], feed.neighbours)[0] * torch.exp(0.5 * self.level_sd * normal[3])
        step = feed.voxel_mm / NEAR_MM
        rows, columns = (torch.arange(n, dtype=torch.float32) * step for n in counts.shape[-2:])
        x, y, z = scan["corner"][number] + normal[:3] * self.place_sd_mm / NEAR_MM
        place = torch.stack(
            [
                (x + (columns - right * step))[None, :].expand(len(rows), -1),
                (y + (rows - down * step))[:, None].expand(-1, len(columns)),
                z.expand(len(rows), len(columns)),
            ]
        )
        around = _moved(feed.stacked(scan["mu"], [number], 1)[0], down, right)
        near = (1.2 - place.square().sum(0, keepdim=True).sqrt()).mul(5).clamp(0, 1)
        return {"nac": _moved(counts, down, right), "place": place, "mu": around[1:2], "around": around, "near": near}


def _moved(slices: Tensor, down: int, right: int) -> Tensor:
    """Slices [..., row, column] shifted by whole voxels; what comes in is empty."""
    rows, columns = slices.shape[-2:]
    padded = F.pad(slices, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
    top, left = max(-down, 0), max(-right, 0)
    return padded[..., top : top + rows, left : left + columns]
