"""Polar maps of hearts with a known pattern: nothing is flipped, and every image is sampled at the same places."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import HeartFrame
from photopeak.cardiac.polar import LVSurface, polar_image, polar_map
from photopeak.cardiac.segments import SEGMENTS, segment_means
from photopeak.core import COUNTS, Grid, Volume
from photopeak.core.errors import BadValues

GRID = Grid.regular((48, 48, 48), 3.5, centre_mm=(40, -20, 5))
HEART = FoundHeart(HeartFrame.from_angles((42, -18, 3), azimuth_deg=48, elevation_deg=24), 33.0, 84.0, 1.0)


def local(heart: FoundHeart = HEART) -> np.ndarray:
    """Millimetres along (lateral, anterior, apical) of every voxel, [z, y, x, 3]."""
    frame = heart.frame
    return (GRID.points() - np.array(frame.centre_mm)) @ np.stack([frame.lateral, frame.anterior, frame.apical], axis=1)


def volume(array: np.ndarray) -> Volume:
    return Volume.from_numpy(array, GRID, COUNTS)


@given(st.floats(0, 90), st.floats(-20, 50), st.floats(26, 45), st.floats(62, 110))
def test_the_surface_is_an_open_shell_from_the_base_to_the_apex(azimuth, elevation, radius, length):
    frame = HeartFrame.from_angles((10, 20, 30), azimuth_deg=azimuth, elevation_deg=elevation)
    points = LVSurface.of(FoundHeart(frame, radius, length, 1.0)).points(np.array([0.0]))[0] - np.array(frame.centre_mm)
    along, across = points @ frame.apical, np.hypot(points @ frame.lateral, points @ frame.anterior)
    assert (np.diff(along[:, 0]) < 0).all(), "rings run from the apex to the base"
    assert (across < radius).all()
    assert across.max() == pytest.approx(radius - 5, abs=0.5)
    assert -length / 2 < along.min() < -length / 2 + 12
    assert length / 2 - 10 < along.max() < length / 2
    steps = np.linalg.norm(np.diff(points[:, 0], axis=0), axis=1)
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.1)


@pytest.mark.parametrize(
    ("axis", "sign", "bright", "dark"),
    [
        (0, 1, ("mid anterolateral", "mid inferolateral", "apical lateral"), ("mid anteroseptal", "apical septal")),
        (0, -1, ("mid anteroseptal", "mid inferoseptal", "apical septal"), ("mid anterolateral", "apical lateral")),
        (1, 1, ("basal anterior", "mid anterior", "apical anterior"), ("mid inferior", "apical inferior")),
        (1, -1, ("basal inferior", "mid inferior", "apical inferior"), ("mid anterior", "apical anterior")),
        (2, 1, ("apex", "apical anterior"), ("basal anterior", "basal inferior")),
    ],
)
def test_activity_on_one_side_is_in_the_segments_of_that_side(axis, sign, bright, dark):
    values = segment_means(polar_map(volume(100 + sign * local()[..., axis]), LVSurface.of(HEART), pick="mean"))
    of = dict(zip(SEGMENTS, values.tolist(), strict=True))
    assert min(of[name] for name in bright) > 108
    assert max(of[name] for name in dark) < 92


def test_the_picture_has_anterior_up_lateral_right_and_the_apex_in_the_middle():
    lateral, anterior, apical = np.moveaxis(local(), -1, 0)
    surface = LVSurface.of(HEART)
    right, up, centre = (
        polar_image(polar_map(volume(v + 100), surface, pick="mean"), 101) for v in (lateral, anterior, apical)
    )
    assert np.isnan(right[0, 0])
    assert right[50, 90] > 120 > 80 > right[50, 10]
    assert up[10, 50] > 120 > 80 > up[90, 50]
    assert centre[50, 50] > 130 > 100 > centre[50, 95]


def test_a_uniform_image_makes_a_uniform_map_and_scaling_passes_through():
    surface = LVSurface.of(HEART)
    np.testing.assert_allclose(polar_map(volume(np.full(GRID.shape, 7.0)), surface), 7.0, rtol=1e-5)
    noisy = volume(np.random.default_rng(3).random(GRID.shape))
    twice = noisy.with_data(2 * noisy.data)
    np.testing.assert_allclose(polar_map(twice, surface), 2 * polar_map(noisy, surface), rtol=1e-6)
    assert (polar_map(noisy, surface) >= polar_map(noisy, surface, pick="mean")).all()


def test_a_hot_liver_just_below_the_heart_is_not_the_inferior_wall():
    lateral, anterior, apical = np.moveaxis(local(), -1, 0)
    wall = np.exp(-0.5 * ((np.hypot(lateral, anterior) - 28) / 6) ** 2) * (np.abs(apical) < 42)
    liver = 3.0 * (anterior < -37)
    values = segment_means(polar_map(volume(100 * np.maximum(wall, liver)), LVSurface.of(HEART)))
    assert values[9] == pytest.approx(float(values[6]), rel=0.1)


def test_an_image_with_nan_is_refused():
    data = torch.ones(GRID.shape)
    data[3, 4, 5] = float("nan")
    with pytest.raises(BadValues, match="NaN"):
        polar_map(Volume(data, GRID, COUNTS), LVSurface.of(HEART))
