"""``photopeak import`` as a user runs it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pydicom
import torch

from photopeak.core import COUNTS, Grid, Volume
from photopeak.io.cohort import open_cohort
from photopeak.io.dicom_nm_write import write_nm

Run = Callable[..., subprocess.CompletedProcess[str]]


def one(path: Path, description: str) -> Path:
    volume = Volume(torch.rand(3, 4, 5), Grid.regular((3, 4, 5), 4.0), COUNTS)
    write_nm(volume, path, patient="ANNA", series_description=description)
    dataset = pydicom.dcmread(path)
    dataset.PatientName = "SENTINEL^ANNA"
    dataset.save_as(path)
    return path


def test_import_lists_then_takes(run: Run, tmp_path: Path) -> None:
    one(tmp_path / "in" / "SENTINEL.dcm", "SENTINEL NAC")
    listed = run("import", tmp_path / "in", tmp_path / "cohort")
    assert listed.returncode == 0, listed.stderr
    assert "0 studies made" in listed.stdout
    assert (tmp_path / "cohort.salt").stat().st_mode & 0o077 == 0
    assert len(open_cohort(tmp_path / "cohort")) == 0
    taken = run("import", tmp_path / "in", tmp_path / "cohort", "--rule", "nac=rest")
    assert "1 studies made" in taken.stdout
    again = run("import", tmp_path / "in", tmp_path / "cohort", "--rule", "nac=rest")
    assert "0 studies made, 1 there already" in again.stdout
    assert open_cohort(tmp_path / "cohort").names == ("person_0001_rest",)
    assert "SENTINEL" not in "".join(r.stdout + r.stderr for r in (listed, taken, again))


def test_a_split_that_is_none(run: Run, tmp_path: Path) -> None:
    one(tmp_path / "in" / "1.dcm", "REST NAC")
    result = run("import", tmp_path / "in", tmp_path / "cohort", "--split", "60/40")
    assert result.returncode == 2
    assert "--split" in result.stderr
    assert not (tmp_path / "cohort").exists()
