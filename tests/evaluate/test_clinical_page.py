"""The page: what it must say, nothing loaded from outside, whole or absent."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from photopeak.core.errors import BadArgument
from photopeak.evaluate.breakeven import ShiftCurve
from photopeak.evaluate.clinical import assess, normal_limits
from photopeak.evaluate.clinical_page import BreakEven, interval_text, write_clinical_page
from photopeak.evaluate.figures import NOTICE
from photopeak.evaluate.observer import observer_areas
from photopeak.evaluate.stats import Interval

IMAGES = ("nac", "truth", "filled")
EVEN = BreakEven(
    [ShiftCurve(np.array([0.0, 5.0, 10.0]), np.array([[1.0, 3.0, 6.0]]))] * 3,
    {"nac": [9.0] * 3, "filled": [2.0] * 3},
    "error, %",
)


@pytest.fixture
def page(make_scans):
    normals = [scan.with_maps(truth=scan["filled"]) for scan in make_scans(20, 0)]
    limits, scans = normal_limits(normals, IMAGES), make_scans(12, 12)
    generator = torch.Generator().manual_seed(0)
    found = assess(scans, limits, reference="truth", images=IMAGES, generator=generator)

    def write(path: Path, **parts: object) -> str:
        about = {"assessed": "test split of <here>", "normals": "validation"}
        return write_clinical_page(path, found, scans, limits, about=about, **parts).read_text()

    return write, observer_areas(scans, IMAGES)


def test_the_page_says_n_split_reference_and_normals(page, tmp_path: Path) -> None:
    write, observer = page
    text = write(tmp_path / "new" / "clinical.html", observer=observer, break_even=EVEN)
    assert "<td>24, 12, 24</td>" in text
    assert "test split of &lt;here&gt;" in text
    assert "F 10, M 10" in text
    assert "Segments against truth" in text
    assert text.count(f'<p class="notice">{NOTICE}</p>') == 2
    assert "2.5 (2.5 to 2.5)" in text
    assert "beyond (beyond to beyond)" in text
    assert len(re.findall(r'<img src="data:image/png;base64,[^"]{999,}"', text)) >= 6


def test_the_page_needs_nothing_and_is_the_same_twice(page, tmp_path: Path) -> None:
    write, _ = page
    text = write(tmp_path / "clinical.html")
    assert not re.search(r"<script|https?:|@import|url\(", text)
    assert "Break-even" not in text
    assert "observer" not in text
    assert write(tmp_path / "again.html") == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.html", "clinical.html"]


def test_a_folder_is_no_page(page, tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="a folder"):
        page[0](tmp_path)


def test_intervals_as_text() -> None:
    assert interval_text(None) == "–"
    assert interval_text(Interval(1.0, 0.5, float("inf")), "%.1f") == "1.0 (0.5 to beyond)"
