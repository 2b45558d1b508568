"""Line integrals through images by Joseph's method, and their exact transpose.

A ray steps from row to row along the axis that it runs along most, interpolates linearly between the two nearest voxels
of each row, and multiplies the sum with the length of a step (Joseph 1982, IEEE Trans Med Imaging 1:192). The rays of a
view are parallel and lie in the slices, so that one walk serves all slices: z is the contiguous axis.

In LPS the rays of view phi run along (sin phi, -cos phi), and their distance s from the middle of the grid is measured
along (cos phi, sin phi): the frame of `photopeak.physics.rotate`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from photopeak.core import Grid
from photopeak.physics.threads import in_shares

Array = np.ndarray[Any, np.dtype[Any]]
Job = Callable[[int, int], None]

_STEPS_WORTH_THREADS = 1_000_000


@dataclass(frozen=True, eq=False)
class _Walk:
    """Where the rays of some views meet the rows that they step through.

    Ray r of view v meets row j at the fractional index ``first[v] + per_ray[v] * r + per_row[v] * j``.

    Parameters
    ----------
    views : indices of these views among all.
    weight : mm of line per row, shared among the rays of a bin.
    per_bin : rays of each bin.
    """

    views: list[int]
    first: Array
    per_ray: Array
    per_row: Array
    weight: Array
    per_bin: int

    @property
    def numbers(self) -> tuple[Array, Array, Array, Array, int]:
        """What a kernel needs of it."""
        return self.first, self.per_ray, self.per_row, self.weight, self.per_bin


@dataclass(frozen=True, eq=False)
class JosephLines:
    """Parallel lines of several views through the slices of a grid.

    Parameters
    ----------
    shape : (z, y, x) of the images.
    views, bins : of the projections.
    along_y, along_x : the views that step through the rows y, and those that step through the columns x.
    """

    shape: tuple[int, int, int]
    views: int
    bins: int
    along_y: _Walk
    along_x: _Walk

    @classmethod
    def through(cls, grid: Grid, angles_deg: Sequence[float], *, bins: int, bin_mm: float) -> "JosephLines":
        """Lines about the middle of an axial grid; a bin wider than the voxels is the mean of several lines."""
        _, dy, dx = grid.spacing_mm
        phi = np.deg2rad(np.asarray(angles_deg, dtype=float))
        per_bin = rays_per_bin(grid, bin_mm)
        steep = np.abs(np.cos(phi)) >= np.abs(np.sin(phi))
        s_mm = bin_mm / per_bin * np.array([-(bins * per_bin - 1) / 2, 1.0])
        _, ny, nx = grid.shape
        along_y = _walk(steep, np.cos(phi), np.sin(phi), s_mm, (ny, nx), (dy, dx), per_bin)
        along_x = _walk(~steep, np.sin(phi), np.cos(phi), s_mm, (nx, ny), (dx, dy), per_bin)
        return cls(grid.shape, len(phi), bins, along_y, along_x)

    def forward(self, images: Tensor) -> Tensor:
        """Line integrals over mm, [batch, z, y, x] -> [batch, view, z, bin]."""
        batch, nz, _, _ = images.shape
        volume = _working(images)
        lines = volume.new_zeros(self.views, self.bins, batch * nz)
        for walk, axes in ((self.along_y, (2, 3, 0, 1)), (self.along_x, (3, 2, 0, 1))):
            rows = volume.permute(axes).flatten(2).contiguous().numpy()
            part = np.zeros((len(walk.views), self.bins, batch * nz), dtype=rows.dtype)
            _shared(partial(_forward, rows, part, *walk.numbers), len(walk.views), steps=len(rows) * part.size)
            lines[walk.views] = torch.from_numpy(part)
        return lines.reshape(self.views, self.bins, batch, nz).permute(2, 0, 3, 1).to(images).contiguous()

    def adjoint(self, projections: Tensor) -> Tensor:
        """The transpose of `forward`, [batch, view, z, bin] -> [batch, z, y, x].

        Threads share rows of the image, so that none adds where another does: same bits for any number of them.
        """
        batch, _, nz, _ = projections.shape
        lines = _working(projections).permute(1, 3, 0, 2).flatten(2).contiguous()
        _, ny, nx = self.shape
        total = lines.new_zeros(batch, nz, ny, nx)
        for walk, shape, axes in ((self.along_y, (ny, nx), (2, 3, 0, 1)), (self.along_x, (nx, ny), (2, 3, 1, 0))):
            rows = np.zeros((*shape, batch * nz), dtype=lines.numpy().dtype)
            part = lines[walk.views].numpy()
            _shared(partial(_adjoint, part, rows, *walk.numbers), len(rows), steps=len(rows) * part.size)
            total += torch.from_numpy(rows).reshape(*shape, batch, nz).permute(axes)
        return total.to(projections)


def rays_per_bin(grid: Grid, bin_mm: float) -> int:
    """Rays to a bin, so that neighbouring rays are at most a voxel apart and no voxel lies between two of them."""
    return max(1, math.ceil(bin_mm / min(grid.spacing_mm[1:]) - 1e-6))


def _walk(
    chosen: Array,
    along: Array,
    across: Array,
    s_mm: Array,
    shape: tuple[int, int],
    spacing_mm: tuple[float, float],
    per_bin: int,
) -> _Walk:
    """The walk of the chosen views over (rows, columns); a ray obeys ``column along + row across = s``, in mm.

    Parameters
    ----------
    along, across : components of the direction of s on the column axis and on the row axis, for each view.
    s_mm : distance of the first ray from the middle, and from each ray to the next.
    """
    views = np.nonzero(chosen)[0]
    along, across = along[views], across[views]
    step, width = spacing_mm
    per_row = -(across / along) * (step / width)
    first = (shape[1] - 1) / 2 + s_mm[0] / (along * width) - per_row * (shape[0] - 1) / 2
    weight = step / np.abs(along) / per_bin
    return _Walk(views.tolist(), first, s_mm[1] / (along * width), per_row, weight, per_bin)


def _working(tensor: Tensor) -> Tensor:
    """The numbers on the CPU, in a precision that the kernels have."""
    return tensor.detach().cpu().to(torch.promote_types(tensor.dtype, torch.float32))


def _shared(job: Job, items: int, *, steps: int) -> None:
    """The job over the threads, if it is worth starting them."""
    if steps < _STEPS_WORTH_THREADS:
        job(0, items)
    else:
        in_shares(job, items)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _forward(
    rows: Array,
    lines: Array,
    first: Array,
    per_ray: Array,
    per_row: Array,
    weight: Array,
    per_bin: int,
    start: int,
    stop: int,
) -> None:
    """Add rows [row, column, z] to lines [view, bin, z] of the views from `start` to `stop`."""
    height, width, depth = rows.shape
    for v in range(start, stop):
        for j in range(height):
            for r in range(lines.shape[1] * per_bin):
                place = first[v] + per_ray[v] * r + per_row[v] * j
                if place <= -1.0 or place >= width:
                    continue
                left = int(np.floor(place))
                high = rows.dtype.type((place - left) * weight[v])
                low = rows.dtype.type(weight[v] - (place - left) * weight[v])
                line = lines[v, r // per_bin]
                if 0 <= left < width - 1:
                    one, other = rows[j, left], rows[j, left + 1]
                    for z in range(depth):
                        line[z] += low * one[z] + high * other[z]
                else:
                    edge, share = (rows[j, 0], high) if left < 0 else (rows[j, left], low)
                    for z in range(depth):
                        line[z] += share * edge[z]


@numba.njit(nogil=True, cache=True, fastmath=True)
def _adjoint(
    lines: Array,
    rows: Array,
    first: Array,
    per_ray: Array,
    per_row: Array,
    weight: Array,
    per_bin: int,
    start: int,
    stop: int,
) -> None:
    """Add lines [view, bin, z] of all views to the rows [row, column, z] from `start` to `stop`."""
    width, depth = rows.shape[1], rows.shape[2]
    for v in range(lines.shape[0]):
        for j in range(start, stop):
            for r in range(lines.shape[1] * per_bin):
                place = first[v] + per_ray[v] * r + per_row[v] * j
                if place <= -1.0 or place >= width:
                    continue
                left = int(np.floor(place))
                high = rows.dtype.type((place - left) * weight[v])
                low = rows.dtype.type(weight[v] - (place - left) * weight[v])
                line = lines[v, r // per_bin]
                if 0 <= left < width - 1:
                    one, other = rows[j, left], rows[j, left + 1]
                    for z in range(depth):
                        one[z] += low * line[z]
                        other[z] += high * line[z]
                else:
                    edge, share = (rows[j, 0], high) if left < 0 else (rows[j, left], low)
                    for z in range(depth):
                        edge[z] += share * line[z]
