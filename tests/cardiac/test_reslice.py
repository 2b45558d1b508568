"""Heart slices: the same points of the patient, seen along the heart's own axes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import ORIENTATIONS, HeartFrame, Orientation
from photopeak.cardiac.reslice import mu_beside, reslice, slices_needed
from photopeak.core import COUNTS, Grid, Volume, attenuation
from photopeak.core.errors import BadArgument

GRID = Grid.regular((48, 64, 64), 4.0)
orientations = st.sampled_from(ORIENTATIONS)
azimuths, elevations = st.floats(0, 90), st.floats(-10, 50)


def ball(centre_mm, sigma_mm: float = 9.0, grid: Grid = GRID) -> Volume:
    squared = ((grid.points() - np.asarray(centre_mm)) ** 2).sum(-1)
    return Volume.from_numpy(100 * np.exp(-squared / (2 * sigma_mm**2)), grid, COUNTS)


def middle_mm(volume: Volume) -> np.ndarray:
    """Centroid of the counts, LPS mm."""
    counts = volume.numpy().astype(float)
    return (volume.grid.points() * counts[..., None]).sum((0, 1, 2)) / counts.sum()


@given(azimuths, elevations, orientations, st.tuples(*[st.floats(-20, 20)] * 3))
@settings(max_examples=15)
def test_a_ball_is_where_it_was_there_and_back(azimuth, elevation, orientation, away):
    frame = HeartFrame.from_angles((12, -9, 5), azimuth_deg=azimuth, elevation_deg=elevation)
    place = np.array(frame.centre_mm) + away
    cut = reslice(ball(place), frame, orientation)
    np.testing.assert_allclose(middle_mm(cut), place, atol=0.02 * 4.0)
    back = cut.on(GRID, order=3)
    np.testing.assert_allclose(middle_mm(back), place, atol=0.04 * 4.0)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_image_comes_back_within_two_percent_of_its_maximum(orientation: Orientation):
    frame = HeartFrame.from_angles((3, 2, 1), azimuth_deg=48, elevation_deg=22)
    image = ball((10, -8, 6))
    back = reslice(image, frame, orientation).on(GRID, order=3)
    assert float((back.data - image.data).abs().max()) < 2.0


@given(azimuths, elevations, orientations)
def test_points_keep_their_place_to_a_nanometre(azimuth, elevation, orientation):
    frame = HeartFrame.from_angles((40, -20, 7), azimuth_deg=azimuth, elevation_deg=elevation)
    grid = frame.grid((40, 64, 64), 3.2, orientation)
    points = np.random.default_rng(1).uniform(-90, 90, (50, 3))
    np.testing.assert_allclose(grid.world(grid.index(points)), points, atol=1e-6)


@pytest.mark.parametrize(
    ("orientation", "towards", "axis", "sign"),
    [
        ("sa", "apical", 0, -1), ("sa", "anterior", 1, -1), ("sa", "lateral", 2, 1),
        ("hla", "anterior", 0, 1), ("hla", "apical", 1, -1), ("hla", "lateral", 2, 1),
        ("vla", "lateral", 0, 1), ("vla", "anterior", 1, -1), ("vla", "apical", 2, 1),
    ],
)  # fmt: skip
def test_a_spot_on_a_wall_is_shown_where_readers_look_for_it(orientation, towards, axis, sign):
    frame = HeartFrame.from_angles((0, 0, 0), azimuth_deg=48, elevation_deg=22)
    spot = reslice(ball(30 * getattr(frame, towards)), frame, orientation)
    place = spot.grid.index(middle_mm(spot)) - (np.array(spot.grid.shape) - 1) / 2
    expected = np.zeros(3)
    expected[axis] = sign * 30 / 4.0
    np.testing.assert_allclose(place, expected, atol=0.05)


def test_clinical_numbers_of_slices():
    small, large = (FoundHeart(HeartFrame((0, 0, 0), (0.6, -0.6, -0.4)), r, n, 0.9) for r, n in ((28, 65), (48, 118)))
    assert [slices_needed(small, side, 3.2) for side in ("sa", "hla", "vla")] == [40, 37, 37]
    assert {slices_needed(heart, "sa", 6.4) for heart in (small, None)} == {25}
    assert slices_needed(large, "sa", 3.2) == 49
    assert slices_needed(None, "sa", 1.0) == 49
    frame = small.frame
    assert reslice(ball((0, 0, 0)), frame, "sa").grid.shape == (36, 52, 52)
    own = reslice(ball((0, 0, 0)), frame, "vla", slices=7, size=20, voxel_mm=5.0)
    assert own.grid.shape == (7, 20, 20)
    assert own.grid.spacing_mm == pytest.approx((5, 5, 5))


def test_counts_stay_above_zero_and_attenuation_below_its_maximum():
    frame = HeartFrame.from_angles((0, 0, 0), azimuth_deg=48, elevation_deg=22)
    box = torch.zeros(GRID.shape)
    box[20:30, 25:40, 25:40] = 1.0
    assert float(reslice(Volume(box, GRID, COUNTS), frame, "sa").data.min()) == 0
    assert float(reslice(Volume(0.15 * box, GRID, attenuation(140.5)), frame, "sa").data.max()) <= 0.15 + 1e-7


def test_mu_comes_into_the_frame_of_the_slices_or_stays_transaxial():
    frame = HeartFrame.from_angles((8, -12, 4), azimuth_deg=48, elevation_deg=22)
    slices = frame.grid((25, 30, 30), 4.0, "sa")
    spot = ball(np.array(frame.centre_mm) + 24 * frame.lateral)
    mu = Volume(0.002 * spot.data, GRID, attenuation(140.5))
    registered, paper = mu_beside(mu, slices), mu_beside(mu, slices, registered=False)
    assert registered.grid.same_as(slices)
    np.testing.assert_allclose(middle_mm(registered), middle_mm(spot), atol=0.2)
    assert registered.data.shape == paper.data.shape
    assert paper.grid.is_axial
    np.testing.assert_allclose(paper.grid.centre_mm, slices.centre_mm, atol=1e-9)
    np.testing.assert_allclose(middle_mm(paper), middle_mm(spot), atol=0.2)
    # The same voxel, another place: 24 mm to the right in the slice, off to the side in the unregistered map.
    shown = [v.grid.index(middle_mm(v)) - (np.array(v.grid.shape) - 1) / 2 for v in (registered, paper)]
    np.testing.assert_allclose(shown[0], [0, 0, 6], atol=0.1)
    assert np.linalg.norm(shown[0] - shown[1]) > 3


@pytest.mark.parametrize("wrong", [{"slices": 0}, {"size": -1}, {"voxel_mm": 0.0, "slices": 3, "size": 3}])
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(BadArgument, match="positive numbers"):
        reslice(ball((0, 0, 0)), HeartFrame((0, 0, 0), (0.6, -0.6, -0.4)), "sa", **wrong)
