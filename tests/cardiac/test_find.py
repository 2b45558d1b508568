"""Finding the left ventricle: in an analytic chest with a hot liver, in a real image, and not where there is none."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import ConvexHull

from photopeak.cardiac.find import FoundHeart, find_heart
from photopeak.cardiac.orientation import HeartFrame
from photopeak.core import COUNTS, Grid, Volume
from photopeak.core.errors import BadValues, HeartNotFound

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "nm_cardiac"
GRID = Grid.regular((44, 52, 56), 6.4)


def chest(frame: HeartFrame | None, *, radius_mm: float = 33.0, length_mm: float = 84.0, seed: int = 0) -> Volume:
    """A noisy, blurred half ellipsoid 10 mm thick in a faint body, above a liver twice as hot."""
    points = GRID.points()
    x, y, z = np.moveaxis(points, -1, 0)
    image = 8.0 * ((x / 165) ** 2 + (y / 115) ** 2 < 1)
    if frame is not None:
        image += 100 * _shell(points, frame, radius_mm, length_mm)
        floor = frame.centre_mm[2] - 62
        image = np.where((z < floor) & (x < 60) & (image > 0), 200.0, image)
    blurred = gaussian_filter(image, 12 / 2.355 / 6.4)
    return Volume.from_numpy(np.random.default_rng(seed).poisson(blurred), GRID, COUNTS)


def _shell(points: np.ndarray, frame: HeartFrame, radius_mm: float, length_mm: float) -> np.ndarray:
    """An open half ellipsoid of revolution with its base plane half a length before the centre."""
    offset = points - np.array(frame.centre_mm)
    along = offset @ frame.apical + length_mm / 2
    across = np.hypot(offset @ frame.lateral, offset @ frame.anterior)
    outer = (across / radius_mm) ** 2 + (along / length_mm) ** 2 <= 1
    inner = (across / (radius_mm - 10)) ** 2 + (along / (length_mm - 10)) ** 2 <= 1
    return outer & ~inner & (along >= 0)


def degrees(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.rad2deg(np.arccos(np.clip(a @ b, -1, 1))))


@pytest.mark.parametrize(
    ("centre_mm", "azimuth_deg", "elevation_deg", "radius_mm", "length_mm"),
    [
        ((45, -25, 10), 45, 20, 33, 84),
        ((30, -40, 25), 30, 5, 31, 78),
        ((60, -20, 0), 60, 30, 35, 90),
        ((40, -30, 15), 65, 12, 32, 82),
    ],
)
def test_it_is_found_beside_a_hotter_liver(centre_mm, azimuth_deg, elevation_deg, radius_mm, length_mm):
    truth = HeartFrame.from_angles(centre_mm, azimuth_deg=azimuth_deg, elevation_deg=elevation_deg)
    found = find_heart(chest(truth, radius_mm=radius_mm, length_mm=length_mm))
    assert np.linalg.norm(np.subtract(found.frame.centre_mm, centre_mm)) < 8
    assert degrees(found.frame.apical, truth.apical) < 12
    assert abs(found.outer_radius_mm - radius_mm) < 6
    assert 0.55 <= found.confidence <= 1


def test_brightness_and_the_direction_of_the_arrays_axes_do_not_matter():
    truth = HeartFrame.from_angles((45, -25, 10), azimuth_deg=45, elevation_deg=20)
    image = chest(truth)
    found = find_heart(image)
    matrix = GRID.matrix
    matrix[:3, 3] = GRID.world((GRID.shape[0] - 1, 0, GRID.shape[2] - 1))
    matrix[:3, [0, 2]] *= -1
    turned = Volume(0.01 * image.data.flip(0, 2), Grid(GRID.shape, tuple(map(tuple, matrix))), COUNTS)
    other = find_heart(turned)
    assert np.linalg.norm(np.subtract(found.frame.centre_mm, other.frame.centre_mm)) < 2
    assert degrees(found.frame.apical, other.frame.apical) < 4


def test_the_record_brings_it_back():
    frame = HeartFrame.from_angles((45, -25, 10), azimuth_deg=45, elevation_deg=20)
    heart = FoundHeart(frame, 33.0, 84.0, 0.8)
    assert FoundHeart.from_dict(heart.to_dict()) == heart


@pytest.mark.parametrize("what", ["body", "noise"])
def test_where_there_is_no_heart_none_is_found(what: str):
    array = {
        "body": chest(None).numpy(),
        "noise": np.random.default_rng(1).poisson(20, GRID.shape),
    }[what]
    with pytest.raises(HeartNotFound):
        find_heart(Volume.from_numpy(array, GRID, COUNTS))


@pytest.mark.parametrize("radius_mm", [20.0, 30.0, 40.0, 60.0])
def test_a_solid_ball_is_no_ventricle(radius_mm: float):
    """Hot gut or liver: bright and round, but not hollow."""
    distance = np.linalg.norm(GRID.points() - np.array([30.0, -20.0, 0.0]), axis=-1)
    ball = 0.05 + 1 / (1 + np.exp((distance - radius_mm) / 4))
    with pytest.raises(HeartNotFound, match="hollow"):
        find_heart(Volume.from_numpy(ball, GRID, COUNTS))


def test_an_image_without_positive_counts_is_refused():
    with pytest.raises(HeartNotFound, match="positive"):
        find_heart(Volume.from_numpy(-1 - np.random.default_rng(0).random(GRID.shape), GRID, COUNTS))


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_an_empty_or_broken_image_is_refused(value: float):
    with pytest.raises(BadValues):
        find_heart(Volume.from_numpy(np.full(GRID.shape, value), GRID, COUNTS))


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real series in ../shared/data/nm_cardiac")
def test_a_real_one_is_where_its_mask_is():
    from photopeak.io import load
    from photopeak.io.nifti import read_nifti

    found = find_heart(load(REAL / "mps_with_mask.dcm", as_="nac")["nac"])
    mask = read_nifti(REAL / "mps_with_mask_lv.nii.gz", COUNTS)
    marked = mask.grid.points()[mask.numpy() > 0.5]
    hull = marked[ConvexHull(marked).vertices]
    centroid = _solid_centroid(hull)
    assert np.linalg.norm(np.array(found.frame.centre_mm) - centroid) < 12


def _solid_centroid(corners: np.ndarray) -> np.ndarray:
    """Centre of mass of the convex body of these points: of the tetrahedra from its middle to its faces."""
    hull, middle = ConvexHull(corners), corners.mean(0)
    tetrahedra = corners[hull.simplices] - middle
    volumes = np.abs(np.linalg.det(tetrahedra))
    return middle + (tetrahedra.sum(1) / 4 * volumes[:, None]).sum(0) / volumes.sum()
