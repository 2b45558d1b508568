"""The same voxels in another array order: which axis runs where, and in which direction. Nothing is interpolated."""

import numpy as np

from photopeak.core import Grid
from photopeak.core.errors import GridMismatch

TOLERANCE = 1e-3


def canonical_grid(grid: Grid) -> Grid:
    """The grid of the same voxels with axes [z head, y posterior, x left]; an oblique grid as it is."""
    matrix = grid.matrix
    directions = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    along = np.abs(directions).argmax(axis=0)
    if sorted(along) != [0, 1, 2] or np.abs(directions).max(axis=0).min() < 1 - TOLERANCE**2 / 2:
        return grid
    order = [int(np.flatnonzero(along == world)[0]) for world in (2, 1, 0)]
    backward = [axis for axis in range(3) if directions[along[axis], axis] < 0]
    corner = np.zeros(3)
    corner[backward] = np.array(grid.shape)[backward] - 1
    signs = np.ones(3)
    signs[backward] = -1
    canonical = np.eye(4)
    canonical[:3, :3] = (matrix[:3, :3] * signs)[:, order]
    canonical[:3, 3] = grid.world(corner)
    nz, ny, nx = (grid.shape[axis] for axis in order)
    return Grid((nz, ny, nx), tuple(map(tuple, canonical)))


def rearrange(array: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """`array` on `source` [k, j, i] in the voxel order of `target`, which must hold the same voxels."""
    steps = np.linalg.solve(source.matrix, target.matrix)
    turns = np.rint(steps[:3, :3]).astype(int)
    order = np.abs(turns).argmax(axis=0)
    if sorted(order) == [0, 1, 2] and tuple(source.shape[axis] for axis in order) == target.shape:
        flips = tuple(axis for axis in range(3) if turns[order[axis], axis] < 0)
        corner = np.where(turns.sum(axis=1) < 0, np.array(source.shape) - 1, 0)
        turned = source.matrix
        turned[:3, :3] = turned[:3, :3] @ turns
        turned[:3, 3] = source.world(corner)
        if Grid(target.shape, tuple(map(tuple, turned))).same_as(target, tolerance_mm=0.01):
            return np.ascontiguousarray(np.flip(array.transpose(order), flips))
    raise GridMismatch(
        f"a volume on {source} starting at {np.round(source.world([0, 0, 0]), 2).tolist()} mm",
        needed=f"the voxels of {target} starting at {np.round(target.world([0, 0, 0]), 2).tolist()} mm",
        remedy="Resample it first: volume.on(grid).",
    )
