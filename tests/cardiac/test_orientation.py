"""The heart's frame: right-handed, and its slices in the order and orientation of ASNC 2018."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photopeak.cardiac.orientation import ORIENTATIONS, HeartFrame, Orientation
from photopeak.core.errors import BadArgument

azimuths = st.floats(-60, 120)
elevations = st.floats(-30, 65)
HEAD, LEFT, ANTERIOR = np.eye(3)[2], np.eye(3)[0], -np.eye(3)[1]


@given(azimuths, elevations)
def test_the_angles_come_back(azimuth: float, elevation: float):
    frame = HeartFrame.from_angles((1, 2, 3), azimuth_deg=azimuth, elevation_deg=elevation)
    assert frame.azimuth_deg == pytest.approx(azimuth, abs=1e-6)
    assert frame.elevation_deg == pytest.approx(elevation, abs=1e-6)


@given(azimuths, elevations)
def test_the_axes_are_orthonormal_and_lateral_is_at_the_right_hand_of_one_looking_from_the_apex(azimuth, elevation):
    frame = HeartFrame.from_angles((0, 0, 0), azimuth_deg=azimuth, elevation_deg=elevation)
    axes = np.stack([frame.lateral, frame.anterior, -frame.apical])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    # LPS is right-handed, and so is (right, up, towards the viewer), who stands beyond the apex.
    assert np.linalg.det(np.stack([frame.lateral, frame.anterior, frame.apical])) == pytest.approx(1)
    assert frame.anterior @ HEAD > 0


def test_an_axis_straight_to_the_front_has_its_lateral_wall_on_the_left_of_the_body():
    frame = HeartFrame.from_angles((0, 0, 0), azimuth_deg=0, elevation_deg=0)
    np.testing.assert_allclose([frame.apical, frame.anterior, frame.lateral], [ANTERIOR, HEAD, LEFT], atol=1e-12)


@pytest.mark.parametrize(
    ("orientation", "slices", "down", "right"),
    [
        ("sa", ("apical", -1), ("anterior", -1), ("lateral", 1)),
        ("vla", ("lateral", 1), ("anterior", -1), ("apical", 1)),
        ("hla", ("anterior", 1), ("apical", -1), ("lateral", 1)),
    ],
)
def test_slices_rows_and_columns_run_as_they_are_displayed(orientation: Orientation, slices, down, right):
    frame = HeartFrame.from_angles((40, -20, 7), azimuth_deg=45, elevation_deg=25)
    grid = frame.grid((9, 33, 31), 2.5, orientation)
    expected = np.stack([sign * getattr(frame, axis) for axis, sign in (slices, down, right)], axis=1)
    np.testing.assert_allclose(grid.matrix[:3, :3] / 2.5, expected, atol=1e-12)
    np.testing.assert_allclose(grid.centre_mm, frame.centre_mm, atol=1e-9)


def test_the_three_orientations_are_one_block_seen_from_three_sides():
    frame = HeartFrame.from_angles((0, 0, 0), azimuth_deg=30, elevation_deg=10)
    corners = [np.sort(frame.grid((9, 9, 9), 4.0, o).points().reshape(-1, 3).round(6), axis=0) for o in ORIENTATIONS]
    np.testing.assert_allclose(corners[0], corners[1], atol=1e-5)
    np.testing.assert_allclose(corners[0], corners[2], atol=1e-5)


@pytest.mark.parametrize("axis", [(0, 0, 0), (0, 0, -1), (0.1, -0.1, -1)])
def test_an_axis_without_direction_or_too_steep_is_refused(axis):
    with pytest.raises(BadArgument, match="long axis"):
        HeartFrame((0, 0, 0), axis)


def test_an_unknown_orientation_is_refused():
    frame = HeartFrame.from_angles((0, 0, 0), azimuth_deg=45, elevation_deg=20)
    with pytest.raises(BadArgument, match="coronal"):
        frame.grid((3, 3, 3), 4.0, "coronal")
