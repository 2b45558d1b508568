import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.physics.rotate import rotation_matrix

SIZE = 9
ANGLES = st.floats(-400, 400)


def _dense(angle_deg: float, size: int = SIZE, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    forward, back = rotation_matrix(size, angle_deg, dtype=dtype, device=torch.device("cpu"))
    return forward.to_dense(), back.to_dense()


def _seen(image: torch.Tensor, angle_deg: float) -> torch.Tensor:
    """[depth, column] of an image [y, x]."""
    return (_dense(angle_deg, len(image))[0] @ image.reshape(-1)).reshape(image.shape)


@given(ANGLES, st.integers(1, 10))
def test_the_second_matrix_is_the_transpose_of_the_first(angle, size):
    forward, back = _dense(angle, size)
    assert torch.equal(forward.T, back)


def test_anterior_leaves_the_slice_as_it_is():
    assert torch.equal(_dense(0.0)[0], torch.eye(SIZE**2, dtype=torch.float64))


@given(ANGLES)
def test_the_weights_are_a_mean_of_neighbours(angle):
    forward, _ = _dense(angle)
    assert float(forward.min()) >= 0
    assert float(forward.sum(1).max()) <= 1 + 1e-12
    middle = forward.sum(1).reshape(SIZE, SIZE)[2:-2, 2:-2]
    assert torch.allclose(middle, torch.ones_like(middle), atol=1e-12)


@given(ANGLES)
def test_every_pixel_comes_from_where_the_convention_says(angle):
    # Bilinear interpolation is exact for coordinates themselves: x to the left, y to posterior, from the middle.
    axis = torch.arange(SIZE, dtype=torch.float64) - SIZE // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    phi = math.radians(angle)
    toward, column = -y, x  # before turning, depth 0 and y = -middle are both in front
    inside = torch.hypot(x, y) <= SIZE // 2
    left = toward * math.sin(phi) + column * math.cos(phi)
    posterior = -toward * math.cos(phi) + column * math.sin(phi)
    assert torch.allclose(_seen(x, angle)[inside], left[inside], atol=1e-9)
    assert torch.allclose(_seen(y, angle)[inside], posterior[inside], atol=1e-9)


@pytest.mark.parametrize(
    ("angle", "left", "front"),
    [(0, (4, 7), (1, 4)), (90, (1, 4), (4, 1)), (180, (4, 1), (7, 4)), (-90, (7, 4), (4, 7))],
)
def test_where_points_at_the_left_and_in_front_are_seen(angle, left, front):
    for (y, x), expected in (((4, 7), left), ((1, 4), front)):
        image = torch.zeros(SIZE, SIZE, dtype=torch.float64)
        image[y, x] = 1
        seen = _seen(image, angle)
        assert float(seen[expected]) == pytest.approx(1, abs=1e-9)
        assert float(seen.sum()) == pytest.approx(1, abs=1e-9)


@given(ANGLES)
def test_a_whole_turn_changes_nothing(angle):
    image = torch.arange(SIZE**2, dtype=torch.float64).reshape(SIZE, SIZE)
    inside = torch.hypot(*torch.meshgrid(*[torch.arange(-4.0, 5.0)] * 2, indexing="ij")) < 4
    assert torch.allclose(_seen(image, angle)[inside], _seen(image, angle + 360)[inside], atol=1e-9)
