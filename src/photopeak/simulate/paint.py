"""Bodies painted over the tissues of an anatomy: the part of each voxel that they fill, and what is there then."""

from collections.abc import Sequence

import numpy as np

from photopeak.core import Grid
from photopeak.simulate.shapes import Array, Shape

_FINE = 4


def presence(shape: Shape, grid: Grid) -> Array:
    """The part of each voxel [z, y, x] of an axial grid that a body fills, from 4 x 4 x 4 samples."""
    whole = np.zeros(grid.shape, dtype=np.float32)
    corners = (grid.index(shape.low), grid.index(shape.high))
    first = np.maximum(np.floor(corners[0] + 0.5), 0).astype(int)
    last = np.minimum(np.floor(corners[1] + 0.5) + 1, grid.shape).astype(int)
    if (last <= first).any():
        return whole
    samples = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    origin, spacing = np.array(grid.affine)[[2, 1, 0], 3], grid.spacing_mm
    z, y, x = (
        start + step * (np.arange(a, b)[:, None] + samples).ravel().astype(np.float32)
        for a, b, start, step in zip(first, last, origin, spacing, strict=True)
    )
    inside = shape.distance(x[None, None, :], y[None, :, None], z[:, None, None]) <= 0
    nz, ny, nx = last - first
    part = inside.reshape(nz, _FINE, ny, _FINE, nx, _FINE).mean(axis=(1, 3, 5), dtype=np.float32)
    whole[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = part
    return whole


def painted(background: Array, bodies: Sequence[tuple[Array, float]]) -> Array:
    """`background` [z, y, x] with each (presence, value) over it, the last on top."""
    for part, value in bodies:
        background = background + part * (np.float32(value) - background)
    return background


def labels(presences: Sequence[Array], grid: Grid) -> Array:
    """1 for the first body and so on where it fills half a voxel, or most of its fullest; 0 elsewhere. [z, y, x]."""
    label = np.zeros(grid.shape, dtype=np.float32)
    for number, part in enumerate(presences, start=1):
        fullest = float(part.max())
        if fullest > 0:
            label[part >= min(0.5, fullest)] = number
    return label
