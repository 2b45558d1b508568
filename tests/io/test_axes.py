"""The same voxels in another order keep their places."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core import Grid
from photopeak.core.errors import GridMismatch
from photopeak.io.axes import canonical_grid, rearrange

ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


@given(st.sampled_from(ORIENTATIONS))
def test_every_axis_aligned_order_becomes_canonical(orientation: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    order, signs = orientation
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([2.0, 3.0, 5.0])[:, order] * signs
    matrix[:3, 3] = 10, -20, 30
    grid = Grid((3, 4, 6), tuple(map(tuple, matrix)))
    canonical = canonical_grid(grid)
    assert canonical.is_axial
    for axis in range(3):
        moved = rearrange(grid.points()[..., axis], grid, canonical)
        np.testing.assert_allclose(moved, canonical.points()[..., axis], atol=1e-9)
        np.testing.assert_array_equal(rearrange(moved, canonical, grid), grid.points()[..., axis])


def test_oblique_grid_stays() -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    grid = Grid((3, 4, 5), tuple(map(tuple, turn)))
    assert canonical_grid(grid) is grid


@pytest.mark.parametrize("target", [Grid.regular((3, 4, 6), 2.0), Grid.regular((3, 4, 5), 2.0, centre_mm=(0.5, 0, 0))])
def test_other_voxels_are_refused(target: Grid) -> None:
    with pytest.raises(GridMismatch, match="Resample"):
        rearrange(np.zeros((3, 4, 5)), Grid.regular((3, 4, 5), 2.0), target)
