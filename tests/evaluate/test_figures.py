"""The pictures: slices in display orientation, the notice in each, the same bytes for the same input."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import HeartFrame, Orientation
from photopeak.core import COUNTS, Grid, Volume
from photopeak.evaluate.figures import (
    FIELD_PIXELS,
    PIXEL_MM,
    SLICES,
    Panel,
    heart_slices,
    polar_figure,
    slice_step_mm,
    slices_figure,
)

HEART = FoundHeart(HeartFrame.from_angles((42, -18, 3), azimuth_deg=48, elevation_deg=24), 32.0, 81.0, 0.9)
GRID = Grid.regular((56, 56, 56), 4.0, centre_mm=HEART.frame.centre_mm)


def pixels(png: bytes) -> np.ndarray:
    from matplotlib.image import imread

    return imread(io.BytesIO(png))[..., :3]


def polar(value: float = 50.0) -> torch.Tensor:
    return torch.full((24, 72), value)


@pytest.mark.parametrize(
    ("orientation", "through", "up", "right"),
    [
        ("sa", ("apical", -1), "anterior", "lateral"),
        ("vla", ("lateral", 1), "anterior", "apical"),
        ("hla", ("anterior", 1), "apical", "lateral"),
    ],
)
def test_slices_hold_the_place_that_they_show(orientation: Orientation, through, up: str, right: str):
    offset = GRID.points() - np.array(HEART.frame.centre_mm)
    shown = {
        name: heart_slices(Volume.from_numpy(offset @ getattr(HEART.frame, name), GRID, COUNTS), HEART, orientation)
        for name in ("apical", "anterior", "lateral")
    }
    axis, sign = through
    places = sign * (np.arange(SLICES) - SLICES // 2) * slice_step_mm(HEART, orientation)
    across = (np.arange(FIELD_PIXELS) - FIELD_PIXELS // 2) * PIXEL_MM
    np.testing.assert_allclose(shown[axis].mean((1, 2)), places, atol=1e-2)
    np.testing.assert_allclose(shown[up][4, :, 32], -across, atol=1e-2)
    np.testing.assert_allclose(shown[right][4, 32], across, atol=1e-2)


def test_the_short_axis_slices_cover_the_length_and_the_field_is_13_cm():
    assert slice_step_mm(HEART, "sa") * SLICES == pytest.approx(HEART.length_mm)
    assert (
        slice_step_mm(HEART, "vla") == slice_step_mm(HEART, "hla") == pytest.approx(2 * HEART.outer_radius_mm / SLICES)
    )
    assert 120 <= FIELD_PIXELS * PIXEL_MM <= 140


def test_white_is_hot_and_what_is_beyond_the_maximum_is_cut_off():
    def strip(value: float) -> np.ndarray:
        flat = np.full((SLICES, 65, 65), value)
        return pixels(slices_figure({"NAC": flat}, "sa"))[60:100, 600:1300]

    assert strip(0.0).max() == 0
    assert strip(50.0).mean() == pytest.approx(0.5, abs=0.01)
    assert strip(100.0).min() == strip(300.0).min() == 1


def test_the_first_row_is_on_top():
    dark, bright = np.zeros((SLICES, 65, 65)), np.full((SLICES, 65, 65), 100.0)
    picture = pixels(slices_figure({"NAC": bright, "AC": dark}, "sa"))
    assert picture[80, 700].mean() == 1
    assert picture[240, 700].mean() == 0


@pytest.mark.parametrize("make", ["slices", "polar"])
def test_every_picture_bears_the_notice_and_is_the_same_twice(make: str, monkeypatch: pytest.MonkeyPatch):
    def picture() -> bytes:
        if make == "slices":
            return slices_figure({"NAC": np.zeros((SLICES, 65, 65))}, "hla")
        return polar_figure([Panel("NAC", "uptake", polar(), "%")], columns=4)

    with_notice = picture()
    assert picture() == with_notice
    monkeypatch.setattr("photopeak.evaluate.figures.NOTICE", "")
    foot = pixels(with_notice)[-72:]
    assert (foot != pixels(picture())[-72:]).any(-1).sum() > 3000
    assert b"Software" not in with_notice


def test_a_polar_map_is_not_flipped():
    lateral = polar(5.0)
    lateral[:, 9:28] = 95.0
    picture = pixels(polar_figure([Panel("NAC", "uptake", lateral, "%")], columns=1)).mean(-1)
    middle = picture[picture.shape[0] // 2 - 40]
    assert middle[1100] > 2 * middle[500]


def test_no_difference_is_white_and_maps_of_one_kind_share_their_limits():
    none, much = Panel("a", "difference", polar(0.0), "points"), Panel("b", "difference", polar(22.0), "points")
    empty = Panel("c", "spread", None, "one sample")
    picture = pixels(polar_figure([none, much, empty], columns=3))
    row = picture[250]
    assert row[266 - 60].min() > 0.95, "zero is the middle of the colours"
    red, _, blue = row[800 - 60]
    assert red > blue + 0.2, "positive is red"
    alone = pixels(polar_figure([none], columns=3))
    assert not np.array_equal(alone[:, :530], picture[: len(alone), :530]), "the bar follows the largest of the kind"


def test_pyplot_stays_out_of_it():
    code = (
        "import sys, torch\n"
        "from photopeak.evaluate.figures import Panel, polar_figure\n"
        "polar_figure([Panel('sd', 'spread', torch.ones(24, 72), '%')], columns=4)\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
