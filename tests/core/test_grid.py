import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from photopeak.core import Grid
from photopeak.core.errors import BadArgument, GridMismatch

SHAPES = st.tuples(*[st.integers(1, 9)] * 3)
SPACING = st.floats(0.5, 10)
INTEGERS = st.tuples(*[st.integers(-5, 5)] * 3)
POINTS_MM = st.tuples(*[st.floats(-300, 300)] * 3)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Rotated, anisotropic, anywhere."""
    turn = Rotation.from_euler("zyx", draw(st.tuples(*[st.floats(-180, 180)] * 3)), degrees=True).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(draw(st.tuples(SPACING, SPACING, SPACING)))
    matrix[:3, 3] = draw(POINTS_MM)
    return Grid(draw(SHAPES), tuple(map(tuple, matrix)))


@given(grids(), POINTS_MM)
def test_world_and_index_are_inverse(grid: Grid, point_mm):
    np.testing.assert_allclose(grid.world(grid.index(point_mm)), point_mm, atol=1e-8)
    np.testing.assert_allclose(grid.index(grid.world([[0, 1, 2], [3, 4, 5]])), [[0, 1, 2], [3, 4, 5]], atol=1e-8)


@given(grids(), INTEGERS, INTEGERS, SHAPES)
def test_crops_stay_where_they_were(grid: Grid, start, again, shape):
    cropped = grid.crop(start, shape)
    assert cropped.shape == shape
    np.testing.assert_allclose(cropped.world([1, 2, 3]), grid.world(np.add(start, [1, 2, 3])), atol=1e-8)
    assert cropped.crop(again, shape).same_as(grid.crop(np.add(start, again), shape), tolerance_mm=1e-6)
    assert grid.crop((0, 0, 0), grid.shape).same_as(grid)


@given(grids(), SPACING)
def test_resampled_is_the_same_box(grid: Grid, spacing_mm):
    other = grid.resampled(spacing_mm)
    assert other.is_isotropic
    np.testing.assert_allclose(other.spacing_mm, spacing_mm)
    np.testing.assert_allclose(other.centre_mm, grid.centre_mm, atol=1e-6)
    surplus_mm = np.array(other.shape) * other.spacing_mm - np.array(grid.shape) * grid.spacing_mm
    assert (surplus_mm > -1e-4 * spacing_mm).all()
    assert (surplus_mm < spacing_mm).all()


@given(grids(), grids())
def test_same_as(grid: Grid, other: Grid):
    assert grid.same_as(grid)
    assert grid.same_as(other) == other.same_as(grid)
    near, far = grid.matrix, grid.matrix
    near[0, 3] += 0.5e-3
    far[0, 3] += 2e-3
    assert grid.same_as(Grid(grid.shape, tuple(map(tuple, near))))
    assert not grid.same_as(Grid(grid.shape, tuple(map(tuple, far))))
    assert not grid.same_as(grid.crop((0, 0, 0), np.add(grid.shape, (0, 0, 1))))


def test_same_as_sees_a_rotation_about_the_middle():
    grid = Grid.regular((9, 9, 9), 4.0)
    turned = grid.matrix
    turned[:3, :3] = Rotation.from_euler("z", 0.1, degrees=True).as_matrix() @ turned[:3, :3]
    turned[:3, 3] = -turned[:3, :3] @ [4, 4, 4]
    other = Grid(grid.shape, tuple(map(tuple, turned)))
    np.testing.assert_allclose(other.centre_mm, grid.centre_mm, atol=1e-9)
    assert not grid.same_as(other)


def test_regular_axes_are_head_posterior_left():
    grid = Grid.regular((3, 5, 7), (6.0, 4.0, 2.0), centre_mm=(10.0, 20.0, 30.0))
    middle = grid.world([1, 2, 3])
    np.testing.assert_allclose(middle, [10, 20, 30])
    np.testing.assert_allclose(grid.world([2, 2, 3]) - middle, [0, 0, 6])
    np.testing.assert_allclose(grid.world([1, 3, 3]) - middle, [0, 4, 0])
    np.testing.assert_allclose(grid.world([1, 2, 4]) - middle, [2, 0, 0])
    assert grid.spacing_mm == (6.0, 4.0, 2.0)
    assert grid.is_axial
    assert not grid.is_isotropic


def test_a_flipped_grid_is_not_axial():
    matrix = Grid.regular((3, 3, 3), 4.0).matrix
    matrix[:3, 0] *= -1
    assert not Grid((3, 3, 3), tuple(map(tuple, matrix))).is_axial


def test_points_are_the_world_of_every_index():
    grid = Grid.regular((2, 3, 4), 5.0)
    assert grid.points().shape == (2, 3, 4, 3)
    np.testing.assert_allclose(grid.points()[1, 2, 3], grid.world([1, 2, 3]))


def test_matrix_is_a_copy_and_equality_is_by_value():
    grid = Grid.regular((2, 3, 4), 5.0)
    grid.matrix[0, 0] = 99.0
    assert grid == Grid.regular([2, 3, 4], (5, 5, 5))
    assert hash(grid) == hash(Grid.regular((2, 3, 4), 5.0))


@pytest.mark.parametrize(
    ("affine", "shape"),
    [
        (np.zeros((4, 4)), (2, 2, 2)),
        (np.eye(3), (2, 2, 2)),
        (np.diag([1, np.nan, 1, 1]), (2, 2, 2)),
        (np.eye(4), (2, 0, 2)),
        (np.eye(4), (2, 2)),
    ],
)
def test_impossible_grids(affine, shape):
    with pytest.raises(BadArgument):
        Grid(shape, tuple(map(tuple, affine)))


def test_mismatch_names_both_and_the_remedy():
    nac, mu = Grid.regular((64, 64, 64), 6.4), Grid.regular((128, 128, 128), (3.2, 3.2, 5.0))
    nac.require_same(nac, mine="nac", theirs="nac")
    with pytest.raises(GridMismatch) as caught:
        nac.require_same(mu, mine="nac", theirs="mu")
    message = str(caught.value)
    assert '"nac" is on 64x64x64 at 6.4 mm' in message
    assert '"mu" on 128x128x128 at 3.2 x 3.2 x 5 mm' in message
    assert 'study["mu"].on(study["nac"].grid)' in message
