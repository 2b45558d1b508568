"""The two verbs find the right door."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
import torch

from photopeak.core import HU, Study, Volume
from photopeak.core.errors import BadArgument, BadValues, UnreadableFile
from photopeak.io import load, load_study, save, write_manifest

MakeNM = Callable[..., Path]


def test_every_kind_of_path(nm_file: MakeNM, image: Volume, tmp_path: Path) -> None:
    path = nm_file()
    assert list(load(path)) == ["nac"]
    folder = tmp_path / "nm"
    folder.mkdir()
    shutil.copy(path, folder / "IM0001")
    study = load(folder)
    assert list(study) == ["nac"]
    assert torch.equal(load(save(study, tmp_path / "saved"))["nac"].data, study["nac"].data)
    written = save(study, tmp_path / "nifti", format="nifti")
    assert torch.equal(load(written)["image"].data, study["nac"].data)
    back = load(str(written / "nac.nii.gz"), as_="ct", quantity=HU)
    assert back["ct"].quantity == HU
    assert back["ct"].grid.same_as(image.grid)


def test_ambiguous_folder_lists_what_is_there(nm_file: MakeNM, tmp_path: Path) -> None:
    path = nm_file()
    folder = tmp_path / "mixed"
    folder.mkdir()
    with pytest.raises(UnreadableFile, match="no study, DICOM or NIfTI"):
        load(folder)
    shutil.copy(path, folder / "a")
    dataset = pydicom.dcmread(path)
    dataset.SeriesInstanceUID, dataset.Modality = "1.2.3", "MR"
    dataset.save_as(folder / "b")
    (folder / "c.nii").touch()
    with pytest.raises(UnreadableFile, match="a NM series of 1 files, a MR series of 1 files, 1 NIfTI files"):
        load(folder)


def test_two_nm_files_are_ambiguous(nm_file: MakeNM, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    for name in "ab":
        shutil.copy(nm_file(), folder / name)
    with pytest.raises(UnreadableFile, match="a NM series of 2 files"):
        load(folder)


def test_cohort_and_absent_paths_say_what_to_do(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"a": "train"}, about={})
    with pytest.raises(UnreadableFile, match="open_cohort"):
        load(tmp_path)
    with pytest.raises(UnreadableFile, match="does not exist"):
        load(tmp_path / "absent")


def test_constant_nifti_is_no_image(tmp_path: Path, image: Volume) -> None:
    save(Study("a", {"x": image.with_data(image.data * 0)}), tmp_path / "n", format="nifti")
    with pytest.raises(BadValues, match="everywhere"):
        load(tmp_path / "n" / "x.nii.gz")


def test_unknown_format_and_foreign_folder(tmp_path: Path, image: Volume) -> None:
    study = Study("a", {"x": image})
    with pytest.raises(BadArgument, match="'png'"):
        save(study, tmp_path / "a", format="png")  # type: ignore[arg-type]
    (tmp_path / "mine.txt").touch()
    with pytest.raises(BadArgument, match="something else"):
        save(study, tmp_path, format="nifti")


def test_nothing_written_names_the_patient(nm_file: MakeNM, tmp_path: Path) -> None:
    def name(dataset: pydicom.Dataset) -> None:
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "SENTINEL^ANNA", "SENTINEL-1", "19010203"
        dataset.InstitutionName, dataset.SeriesDescription = "SENTINEL", "NAC SENTINEL"

    study = load(nm_file(name))
    save(study, tmp_path / "s")
    save(study, tmp_path / "n", format="nifti")
    written = [p for folder in ("s", "n") for p in (tmp_path / folder).iterdir()]
    assert len(written) == 4
    for path in written:
        content = path.read_bytes()
        if path.suffix == ".gz":
            import gzip

            content = content[:100] + gzip.decompress(content)
        for secret in (b"SENTINEL", b"19010203"):
            assert secret not in content
    assert load_study(tmp_path / "s").name.startswith("nm-")


def test_importing_the_room_opens_no_door() -> None:
    code = "import sys, photopeak.io; sys.exit(bool({'pydicom', 'nibabel'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
