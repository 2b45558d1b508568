"""``photopeak import`` as a user runs it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pydicom
import torch

from photopeak.core import COUNTS, HU, Grid, Volume
from photopeak.core.units import SUV
from photopeak.io.cohort import open_cohort
from photopeak.io.dicom_nm_write import write_nm
from photopeak.io.nifti import write_nifti

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


def test_pairs_of_nifti_need_a_voltage(run: Run, tmp_path: Path) -> None:
    grid = Grid.regular((8, 9, 10), 4.0)
    for person in ("SENTINEL", "BERTA"):
        folder = tmp_path / "in" / person
        folder.mkdir(parents=True)
        write_nifti(Volume(torch.rand(8, 9, 10) * 1000 - 900, grid, HU), folder / "ct.nii.gz")
        write_nifti(Volume(torch.rand(8, 9, 10), grid, SUV), folder / "pet.nii.gz")
    refused = run("import", tmp_path / "in", tmp_path / "cohort", "--nifti")
    assert refused.returncode == 2
    assert "--kvp" in refused.stderr
    taken = run("import", tmp_path / "in", tmp_path / "cohort", "--nifti", "--kvp", 120, "--split", "1/1/0")
    assert "2 studies made" in taken.stdout, taken.stderr
    assert "SENTINEL" not in taken.stdout + taken.stderr
    assert sorted(scan.split for scan in open_cohort(tmp_path / "cohort").scans.values()) == ["train", "validation"]
