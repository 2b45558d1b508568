from pathlib import Path

import numpy as np
import pytest
import torch

from photopeak.core import COUNTS, Grid, Step, Study, Volume
from photopeak.core.errors import BadValues
from photopeak.evaluate.low_dose_report import write_low_dose_report

GRID = Grid.regular((20, 24, 24), 8.0)
HEART = {"centre_mm": [0.0, 0.0, 0.0], "long_axis": [0.6, -0.7, -0.4], "outer_radius_mm": 36.0, "length_mm": 76.0}


def study(sd: float) -> Study:
    distance = np.linalg.norm(GRID.points(), axis=-1)
    shell = Volume.from_numpy(((distance > 18) & (distance < 42)).astype(np.float32), GRID, COUNTS)
    images = {"mlem": shell, "ac": shell, "ac_sd": shell.with_data(sd * shell.data)}
    return Study("a<b>", facts={"heart": {**HEART, "confidence": 0.9}}).add(images, Step(("ac",), "diffspect"))


def test_the_page_says_what_was_made_of_what(tmp_path: Path) -> None:
    told = {"warnings": ["3 of 19 views."], "provenance": {"method": "diffspect", "seed": "7"}}
    one, two = (write_low_dose_report(study(sd), tmp_path / f"{sd}.html", **told).read_text() for sd in (0.1, 0.1))
    assert one == two
    assert one.count("data:image/png") == 4
    assert "a&lt;b&gt;" in one
    for words in ("Reconstruction by diffspect", "3 of 19 views.", "<td>7</td>", "17 apex", "Not for diagnosis"):
        assert words in one
    assert write_low_dose_report(study(0.0), tmp_path / "0.html", **told).read_text() != one


def test_no_counts_no_report(tmp_path: Path) -> None:
    dark = study(0.0)["ac"].with_data(torch.zeros(GRID.shape))
    with pytest.raises(BadValues, match="no counts"):
        write_low_dose_report(
            study(0.0).add({"ac": dark}, Step(("ac",), "x")), tmp_path / "a.html", warnings=[], provenance={}
        )
