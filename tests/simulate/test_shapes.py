import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photopeak.simulate.shapes import ellipsoid, grown, half_space, intersection, outside, smooth_union, tube

size = st.floats(5, 50)
place = st.floats(-40, 40)


def _at(shape, *point):
    return float(np.squeeze(shape.distance(*(np.array([[[v]]], dtype=np.float32) for v in point))))


@given(place, place, place, size, place, place, place)
def test_a_ball_knows_its_distance(x, y, z, radius, px, py, pz):
    true = np.linalg.norm([px - x, py - y, pz - z]) - radius
    assert _at(ellipsoid((x, y, z), (radius,) * 3), px, py, pz) == pytest.approx(true, abs=0.02)


@given(size, size, size, st.floats(-3, 3))
def test_an_ellipsoid_is_right_near_its_surface(a, b, c, off):
    assert _at(ellipsoid((0, 0, 0), (a, b, c)), a + off, 0, 0) == pytest.approx(off, abs=abs(off) * abs(off) / a + 0.01)


@given(size, size, st.floats(0.1, 0.9))
def test_a_tube_tapers_along_its_path(r0, r1, part):
    bar = tube([(0, 0, 0), (0, 0, 200)], [r0, r1])
    assert _at(bar, r0 + part * (r1 - r0), 0, 200 * part) == pytest.approx(0, abs=0.01)


def test_the_box_of_a_tilted_ellipsoid_holds_it():
    turn = np.array([[0.6, 0.8, 0], [-0.8, 0.6, 0], [0, 0, 1]])
    shape = ellipsoid((1, 2, 3), (30, 10, 20), turn)
    axis = np.arange(-50, 51, 1.0, dtype=np.float32)
    inside = shape.distance(axis[None, None], axis[None, :, None], axis[:, None, None]) < 0
    for k, dimension in enumerate((2, 1, 0)):
        touched = axis[inside.any(axis=tuple(d for d in range(3) if d != dimension))]
        assert shape.low[k] <= touched.min() <= shape.low[k] + 2
        assert shape.high[k] - 2 <= touched.max() <= shape.high[k]


def test_combinations():
    ball, left = ellipsoid((0, 0, 0), (10, 10, 10)), half_space((-2, 0, 0), 0)
    assert _at(intersection(ball, left), 5, 0, 0) == pytest.approx(-5)
    assert _at(intersection(ball, left), -5, 0, 0) == pytest.approx(5)
    assert _at(outside(ball), 12, 0, 0) == pytest.approx(-2, abs=1e-4)
    assert _at(grown(ball, 3), 13, 0, 0) == pytest.approx(0, abs=1e-4)


def test_a_smooth_union_fills_the_crease_and_keeps_the_rest():
    joined = smooth_union([ellipsoid((-10, 0, 0), (10,) * 3), ellipsoid((10, 0, 0), (10,) * 3)], 8)
    assert _at(joined, 0, 1.0, 0) < 0
    assert _at(joined, 25, 0, 0) == pytest.approx(5, abs=1e-4)
