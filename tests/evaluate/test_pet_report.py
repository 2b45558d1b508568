"""The report of an estimated PET: sides and scale of its pictures, what it always says, and that it needs nothing."""

import io
import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from photopeak.core import HU, SUV, Grid, Step, Study, Volume
from photopeak.core.errors import BadArgument, GridMismatch, WrongQuantity
from photopeak.evaluate import pet_mip
from photopeak.evaluate.domain import Check
from photopeak.evaluate.pet_mip import PET_NOTICE, body_middle, planes_figure, spread_figure, uptake_figure
from photopeak.evaluate.pet_report import UNDETERMINED, write_pet_report

GRID = Grid.regular((30, 32, 36), (10.0, 8.0, 8.0))
HEAD, POSTERIOR, RIGHT = slice(22, 27), slice(24, 28), slice(3, 7)


def spot(value: float, quantity: object = SUV) -> Volume:
    """Uptake high up, at the back and on the patient's right."""
    data = torch.zeros(GRID.shape)
    data[HEAD, POSTERIOR, RIGHT] = value
    return Volume(data, GRID, quantity)


def body() -> Volume:
    hu = torch.full(GRID.shape, -1000.0)
    hu[:, 6:26, 5:31] = 40.0
    return Volume(hu, GRID, HU)


def study(sd: float = 0.3) -> Study:
    images = {"ct": body(), "pet": spot(5.0), "pet_sd": spot(sd)}
    return Study("a<b>", facts={"kvp": 100.0}).add(images, Step(("pet", "pet_sd"), "cpdm_pet", ("ct",)))


def grey(png: bytes) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(png))[..., :3].mean(-1)


def half_of_darkness(picture: np.ndarray) -> tuple[float, float]:
    """Centre (row, column), as shares of the picture, of what is darker than mid-grey."""
    dark = np.argwhere(picture < 0.5)
    return tuple(dark.mean(axis=0) / picture.shape)


def test_head_up_right_at_the_left_and_anterior_at_the_left() -> None:
    picture = grey(uptake_figure(spot(7.0)))[60:-100]
    coronal, sagittal = picture[:, 30:760], picture[:, 800:1450]
    for view, row, column in ((coronal, 0.18, 0.14), (sagittal, 0.18, 0.81)):
        inner = view[40:-60]
        found = half_of_darkness(inner)
        assert found[0] == pytest.approx(row, abs=0.12)
        assert found[1] == pytest.approx(column, abs=0.1)


@pytest.mark.parametrize(("suv", "shade"), [(0.0, 1.0), (3.5, 0.45), (7.0, 0.0), (70.0, 0.0)])
def test_uptake_is_inverse_grey_from_0_to_7(suv: float, shade: float) -> None:
    flat = Volume(torch.full(GRID.shape, suv), GRID, SUV)
    picture = grey(uptake_figure(flat))
    assert float(np.median(picture[200:-200, 200:500])) == pytest.approx(shade, abs=0.07)


@pytest.mark.parametrize("make", ["uptake", "spread", "planes"])
def test_every_picture_bears_the_notice_and_is_the_same_twice(make: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def picture() -> bytes:
        figures = {"uptake": lambda: uptake_figure(spot(5.0)), "spread": lambda: spread_figure(spot(1.0))}
        return figures.get(make, lambda: planes_figure(body(), spot(5.0)))()

    with_notice = picture()
    assert picture() == with_notice
    monkeypatch.setattr(pet_mip, "PET_NOTICE", "")
    assert (np.abs(grey(with_notice)[-72:] - grey(picture())[-72:]) > 0.1).sum() > 3000


def test_planes_go_through_the_middle_of_the_body() -> None:
    assert body_middle(body()) == (14, 16, 18)
    assert body_middle(body().with_data(torch.full(GRID.shape, -1000.0))) == (15, 16, 18)


def test_other_quantities_grids_and_oblique_ones_are_refused() -> None:
    with pytest.raises(WrongQuantity):
        uptake_figure(spot(1.0, HU))
    elsewhere = Grid.regular(GRID.shape, (10.0, 8.0, 8.0), centre_mm=(50.0, 0.0, 0.0))
    with pytest.raises(GridMismatch):
        planes_figure(Volume(body().data, elsewhere, HU), spot(1.0))
    matrix = GRID.matrix
    matrix[:3, :3] = matrix[:3, :3] @ np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    with pytest.raises(GridMismatch, match="oblique"):
        uptake_figure(Volume(spot(1.0).data, Grid(GRID.shape, tuple(map(tuple, matrix))), SUV))


def test_the_page_says_that_ct_does_not_determine_uptake(tmp_path: Path) -> None:
    told = {
        "warnings": ["The CT was odd."],
        "provenance": {"method": "cpdm_pet", "seed": "7"},
        "checks": [Check("length", "90 mm", "300 mm", "unusual")],
    }
    one, two = (write_pet_report(study(), tmp_path / f"{n}.html", **told).read_text() for n in "ab")
    assert one == two
    assert one.count("data:image/png") == 3
    assert one.count(f'<p class="notice">{PET_NOTICE}</p>') == 2
    assert "<script" not in one
    assert not re.search(r'(src|href)="(?!data:)', one)
    text = re.sub(r"\s+", " ", one)
    assert UNDETERMINED.replace("'", "&#39;") in text
    for words in ("FDG uptake is not determined by CT", "a&lt;b&gt;", "The CT was odd.", "<td>7</td>", "100 kVp",
                  "<strong>unusual</strong>", "<td>5.0</td>", "6 %"):  # fmt: skip
        assert words in text


def test_without_spread_no_uncertainty_is_shown(tmp_path: Path) -> None:
    page = write_pet_report(study(sd=0.0), tmp_path / "a.html", provenance={}).read_text()
    assert page.count("data:image/png") == 2
    assert "no uncertainty was estimated" in page


def test_how_the_sd_was_calibrated_is_said_only_where_it_was(tmp_path: Path) -> None:
    plain = write_pet_report(study(), tmp_path / "a.html", provenance={}).read_text()
    step = Step(("pet_sd",), "evaluate.calibration", ("pet", "pet_sd"), {"studies": 12})
    page = write_pet_report(study().add({}, step), tmp_path / "b.html", provenance={}).read_text()
    assert "in 12 scans that the method was not trained on" in page
    assert "It is the method's own" in plain
    assert "It is the method's own" not in page
    assert "It is calibrated" not in plain


def test_a_folder_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="a folder"):
        write_pet_report(study(), tmp_path, provenance={})
