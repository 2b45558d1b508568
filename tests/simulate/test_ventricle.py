import numpy as np
import pytest
import torch

from photopeak.simulate.population import draw_patient
from photopeak.simulate.ventricle import LeftVentricle


@pytest.fixture(scope="module")
def ventricle() -> LeftVentricle:
    return LeftVentricle.of(draw_patient(torch.Generator().manual_seed(3), name="p"))


def test_its_axes_are_orthonormal_and_point_the_right_way(ventricle):
    lateral, anterior, apical = ventricle.axes
    np.testing.assert_allclose(ventricle.axes @ ventricle.axes.T, np.eye(3), atol=1e-12)
    assert anterior[2] > 0.8
    assert lateral[0] > 0
    assert apical[0] > 0 > apical[1]
    np.testing.assert_allclose(lateral, np.cross(anterior, apical), atol=1e-12)


def test_the_wall_is_as_thick_as_said_and_thins_to_the_apex(ventricle):
    def thickness(start, direction):
        points = start + np.arange(0, 90, 0.05)[:, None] * direction
        return 0.05 * ventricle.in_wall(points).sum()

    lateral, _, apical = ventricle.axes
    widest = ventricle.at(0, 0, ventricle.widest_mm)
    assert thickness(widest, lateral) == pytest.approx(ventricle.wall_mm, abs=0.15)
    assert thickness(widest, apical) == pytest.approx(ventricle.apex_mm, abs=0.15)


def test_its_centre_is_halfway_from_base_to_apex(ventricle):
    reach = np.arange(-54, 54, 1.0)
    cube = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3) + ventricle.centre_mm
    wall = cube[ventricle.in_wall(cube)]
    along = (wall - ventricle.centre_mm) @ ventricle.apical
    assert along.max() == pytest.approx(ventricle.length_mm / 2, abs=1.0)
    assert along.min() == pytest.approx(-ventricle.length_mm / 2, abs=1.0)
    assert wall[:, 2].min() == pytest.approx(ventricle.lowest_mm, abs=1.0)


@pytest.mark.parametrize(
    ("lateral", "anterior", "along", "segment"),
    [
        (0, 1, -0.4, 1), (-1, 0.5, -0.4, 2), (-1, -0.5, -0.4, 3), (0, -1, -0.4, 4), (1, -0.5, -0.4, 5),
        (1, 0.5, -0.4, 6),
        (0, 1, 0.0, 7), (-1, 0.5, 0.0, 8), (-1, -0.5, 0.0, 9), (0, -1, 0.0, 10), (1, -0.5, 0.0, 11), (1, 0.5, 0.0, 12),
        (0, 1, 0.3, 13), (-1, 0, 0.3, 14), (0, -1, 0.3, 15), (1, 0, 0.3, 16), (0.1, 0, 0.48, 17),
    ],
)  # fmt: skip
def test_segments_are_numbered_as_the_aha_does(ventricle, lateral, anterior, along, segment):
    point = ventricle.at(25 * lateral, 25 * anterior, along * ventricle.length_mm)
    assert ventricle.segments(point[None])[0] == segment


def test_depth_runs_from_endocardium_to_epicardium(ventricle):
    radii = ventricle.radius_mm - ventricle.wall_mm * np.array([1.0, 0.5, 0.0])
    points = np.stack([ventricle.at(radius, 0, ventricle.widest_mm) for radius in radii])
    np.testing.assert_allclose(ventricle.depth(points), [0, 0.5, 1], atol=0.08)
