"""``photopeak export``: a study or the chosen part of a cohort, each in its folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from photopeak.cli.export import command
from photopeak.core import COUNTS, Grid, Study, Volume
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.io import save_study, write_manifest
from photopeak.io.dicom_nm import read_nm

SCANS = {f"patient_0000_{state}": state for state in ("stress", "rest")}


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """One person's two scans, of which only NAC matters here."""
    folder, grid = tmp_path / "cohort", Grid.regular((12, 16, 16), 16.0)
    nac = Volume(torch.rand(grid.shape, generator=torch.Generator().manual_seed(1)), grid, COUNTS)
    truth = {"heart_centre_mm": [40, -30, 5], "long_axis": [0.7, -0.6, -0.4]}
    for name, state in SCANS.items():
        facts = {"simulated": True, "person": "patient_0000", "state": state, "truth": truth}
        save_study(Study(name, {"nac": nac}, facts=facts), folder / name)
    entries = {name: {"split": "train", "person": "patient_0000", "state": state} for name, state in SCANS.items()}
    write_manifest(folder, entries, about={"source": "test"})
    return folder


def test_both_scans_or_the_chosen_one(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command(cohort, tmp_path / "all", states="both", studies=None)
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == sorted(SCANS)
    assert capsys.readouterr().out.count("4 files") == 2
    assert "nac" in read_nm(tmp_path / "all" / "patient_0000_rest" / "nac.dcm")
    command(cohort, tmp_path / "rest", states="rest", studies=None)
    assert [p.name for p in (tmp_path / "rest").iterdir()] == ["patient_0000_rest"]
    command(cohort, tmp_path / "one", states="both", studies=1)
    assert len(list((tmp_path / "one").iterdir())) == 1


def test_a_single_study(cohort: Path, tmp_path: Path):
    command(cohort / "patient_0000_rest", tmp_path / "out", states="both", studies=None)
    assert (tmp_path / "out" / "patient_0000_rest" / "nac_sa.dcm").is_file()


def test_what_is_not_there_is_said(cohort: Path, tmp_path: Path):
    refused: list[tuple[Callable[[], None], type[Exception], str]] = [
        (lambda: command(cohort, tmp_path / "o", states="night", studies=None), BadArgument, "night"),
        (lambda: command(cohort, tmp_path / "o", states="both", studies=0), BadArgument, "studies 0"),
        (lambda: command(cohort, tmp_path / "o", states="rest", studies=None), MissingInput, "without a study of rest"),
    ]
    entries = {"patient_0000_stress": {"split": "train", "person": "patient_0000", "state": "stress"}}
    write_manifest(cohort, entries, about={"source": "test"})
    for call, error, words in refused:
        with pytest.raises(error, match=words):
            call()
    assert not (tmp_path / "o").exists()
