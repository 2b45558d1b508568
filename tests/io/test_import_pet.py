"""Importing PET/CT: what becomes of a visit's series, in a cohort that names nobody."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom import Dataset

from photopeak.core import HU, Grid, Volume
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.core.units import SUV
from photopeak.io.cohort import open_cohort
from photopeak.io.cohort_import import Imported, import_cohort
from photopeak.io.deidentify import Secret, deidentified, facts_of
from photopeak.io.dicom_pt import read_pt
from photopeak.io.import_nifti import import_nifti
from photopeak.io.nifti import write_nifti
from photopeak.io.pet_pair import Pairing, averaged
from photopeak.io.store import file_sha256

SECRET = Secret(bytes(range(32)))
SENTINELS = ("SENTINEL", "ANNA", "20190317", "2019-03-17", "1933")
Make = Callable[..., Path]
Edit = Callable[[list[Dataset]], Any]


def each(**tags: Any) -> Edit:
    return lambda slices: [setattr(s, k, v) for s in slices for k, v in tags.items()]


@pytest.fixture
def visit(pt_series: Make, ct_series: Make) -> Callable[..., None]:
    """Writes a PET and a CT of one visit below "in"; `pet` and `ct` edit their slices."""
    random = np.random.default_rng(3)
    uptake = random.uniform(100, 2000, (9, 10, 10))
    hounsfield = np.where(random.uniform(size=(10, 60, 60)) < 0.2, -1000.0, 40.0)

    def make(person: str = "P", *, pet: Edit | None = None, ct: Edit | None = None) -> None:
        number = str(ord(person))
        mark = {"PatientID": person, "StudyInstanceUID": f"1.9.{number}", "FrameOfReferenceUID": f"1.5.{number}"}
        for make_series, values, kind, edit in ((pt_series, uptake, "7", pet), (ct_series, hounsfield, "8", ct)):

            def whole(slices: list[Dataset], kind: str = kind, edit: Edit | None = edit) -> None:
                each(**mark, SeriesInstanceUID=f"1.{kind}.{number}")(slices)
                for n, one in enumerate(slices):
                    one.SOPInstanceUID = f"1.{kind}.{number}.{n + 1}"
                if edit is not None:
                    edit(slices)

            make_series(values, whole, name=f"in/{person}{kind}")

    return make


def run(tmp_path: Path, **settings: Any) -> Imported:
    return import_cohort(tmp_path / "in", tmp_path / "cohort", SECRET, **settings)


def whys(done: Imported) -> set[str]:
    return {line.why for line in done.lines if line.outcome == "left"}


def test_a_visit_becomes_a_study_on_one_grid(visit: Callable[..., None], tmp_path: Path) -> None:
    visit()
    done = run(tmp_path)
    assert whys(done) == set()
    assert {line.as_ for line in done.lines} == {"ct", "pet"}
    (study,) = open_cohort(tmp_path / "cohort", checksums=True)
    assert set(study) == {"ct", "pet"}
    assert (study["ct"].quantity, study["pet"].quantity) == (HU, SUV)
    study["ct"].grid.require_same(study["pet"].grid, mine="ct", theirs="pet")
    pet = read_pt(tmp_path / "in" / "P7")["pet"]
    np.testing.assert_allclose(study["pet"].numpy(), averaged(pet, study["pet"].grid).numpy(), rtol=1e-5)
    assert study.facts["kvp"] == 120
    assert (study.facts["weight_kg"], study.facts["dose_mbq"]) == (72, 370)
    assert study.facts["radiopharmaceutical"] == "fluorodeoxyglucose"
    assert study.facts["suv"]["uptake_min"] == 60
    assert (study.facts["state"], open_cohort(tmp_path / "cohort").scans[study.name].state) == (None, None)
    assert run(tmp_path).there == (study.name,)
    for path in (tmp_path / "cohort").rglob("*"):
        assert not any(s.encode() in (path.read_bytes() if path.is_file() else b"") for s in SENTINELS), path


def test_people_are_split_not_scans(visit: Callable[..., None], tmp_path: Path) -> None:
    for person in "ABC":
        visit(person)
    done = run(tmp_path, split=(1, 1, 1))
    assert len(done.made) == 3
    cohort = open_cohort(tmp_path / "cohort")
    assert sorted(scan.split for scan in cohort.scans.values()) == ["test", "train", "validation"]


def without(series: str, keyword: str) -> dict[str, Edit]:
    return {series: each(**{keyword: None})}


def one_of_them(**tags: Any) -> Edit:
    return lambda slices: each(**tags)(slices[5:6])


def two_series(slices: list[Dataset]) -> None:
    """Some of the slices as another series in the same frame."""
    for one in slices[5:]:
        one.SeriesInstanceUID = "1.8.99"


def two_kernels(slices: list[Dataset]) -> None:
    slices[3].ConvolutionKernel = "SENTINEL"


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        (without("pet", "PatientWeight"), r"MissingInput (0010,1030)"),
        ({"pet": each(RadiopharmaceuticalInformationSequence=[])}, "MissingInput (0018,1074)"),
        ({"pet": lambda slices: slices.pop(4)}, "MissingGeometry (0020,0032)"),
        ({"ct": lambda slices: slices.pop(4)}, "MissingGeometry (0020,0032)"),
        ({"ct": two_kernels}, "MissingGeometry (0018,1210)"),
        (without("ct", "KVP"), "MissingInput (0018,0060)"),
        ({"ct": two_series}, "or several do"),
        ({"pet": one_of_them(BurnedInAnnotation="YES")}, "BadValues (0028,0301)"),
        ({"ct": one_of_them(PatientID="SENTINEL")}, "BadValues (0010,0020)"),
        ({"ct": one_of_them(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])}, "WrongModality (0008,0008)"),
        ({"ct": each(FrameOfReferenceUID="1.6")}, "=stress|rest|static"),
        ({"ct": each(Modality="MR")}, "(0008,0060) MR"),
        ({"pet": each(CorrectedImage=["DECY", "SCAT"])}, "not corrected for attenuation"),
        ({"pet": each(CorrectedImage=None)}, "(0028,0051) is absent. Decide with"),
        ({"pet": each(SeriesType=["DYNAMIC", "IMAGE"])}, "(0054,1000) DYNAMIC"),
    ],
)
def test_what_cannot_be_taken_is_left_with_its_reason(
    visit: Callable[..., None], tmp_path: Path, edits: dict[str, Edit], why: str
) -> None:
    visit(**edits)
    done = run(tmp_path)
    assert done.made == ()
    assert {line.outcome for line in done.lines} == {"left"}
    assert any(why in one for one in whys(done)), whys(done)
    assert not any(sentinel in str(done) for sentinel in SENTINELS)


def test_flags_decide(visit: Callable[..., None], tmp_path: Path) -> None:
    visit(pet=each(CorrectedImage=None), ct=each(FrameOfReferenceUID="1.6", KVP=None))
    open_ones = {line.series: line.why for line in run(tmp_path).lines}
    ct, pet = sorted(open_ones, key=lambda key: "(0028,0051)" in open_ones[key])
    choices = [f"{ct}=static", f"{pet}=pet"]
    assert any("(0018,0060)" in w and "--kvp" in w for w in whys(run(tmp_path, choices=choices)))
    done = run(tmp_path, choices=choices, pairing=Pairing(kvp=140, spacing_mm=6.0))
    (study,) = open_cohort(tmp_path / "cohort")
    assert done.made == (study.name,)
    assert study.facts["kvp"] == 140
    assert study["ct"].grid.spacing_mm == pytest.approx((6, 6, 6))
    with pytest.raises(BadArgument, match="kVp"):
        Pairing(kvp=1200)


def test_suv_is_the_same_after_de_identification(pt_series: Make, tmp_path: Path) -> None:
    """Every kind of time and private element that SUV may need, through the allow-list and back."""

    def hard(slices: list[Dataset]) -> None:
        each(SeriesTime="154500", TimezoneOffsetFromUTC="+0100", Manufacturer="SENTINEL", Units="CNTS")(slices)
        for one in slices:
            one.DecayFactor = "1.5"
            one.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime = "20190317081500.00+0000"
            one.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20190317105930.00")
            one.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x09, "DS", "3.5")
            one.private_block(0x7055, "SENTINEL", create=True).add_new(0x09, "LO", "SENTINEL")

    folder = pt_series(np.random.default_rng(1).uniform(100, 2000, (9, 10, 10)), hard)
    clean = tmp_path / "clean"
    clean.mkdir()
    for path in folder.iterdir():
        dataset = deidentified(pydicom.dcmread(path), SECRET, "anna")
        dataset.save_as(clean / path.name, enforce_file_format=True)
        assert not any(sentinel in str(dataset) + dataset.to_json() for sentinel in SENTINELS)
        assert dataset.SeriesDate == dataset.AcquisitionDate < "20190317"
        assert "DecayFactor" not in dataset
    one, other = read_pt(folder), read_pt(clean)
    torch.testing.assert_close(one["pet"].data, other["pet"].data, rtol=1e-6, atol=0)
    assert other.facts["suv"] == one.facts["suv"]
    assert other.facts["suv"]["reference"] == "private"
    assert facts_of(pydicom.dcmread(path), SECRET, "anna")["dose_mbq"] == 370


def test_dates_and_times_of_the_old_standard_mean_the_same(pt_series: Make, tmp_path: Path) -> None:
    old = each(SeriesDate="2019.03.17", SeriesTime="10:59:00", AcquisitionDate="2019.03.17")
    folder, clean = pt_series(np.random.default_rng(1).uniform(100, 2000, (9, 10, 10)), old), tmp_path / "clean"
    clean.mkdir()
    for path in folder.iterdir():
        deidentified(pydicom.dcmread(path), SECRET, "anna").save_as(clean / path.name, enforce_file_format=True)
    assert read_pt(folder).facts["suv"]["uptake_min"] == 59
    assert read_pt(clean).facts["suv"] == read_pt(folder).facts["suv"]


def nifti(folder: Path, *, air: float = -1000.0) -> None:
    grid, fine = Grid.regular((9, 10, 11), (3.0, 4.0, 4.0)), Grid.regular((9, 40, 44), (3.0, 1.0, 1.0))
    generator = torch.Generator().manual_seed(7)
    folder.mkdir(parents=True)
    write_nifti(Volume(torch.rand(9, 40, 44, generator=generator) * 1000 + air, fine, HU), folder / "CT_image.nii.gz")
    write_nifti(Volume(torch.rand(9, 10, 11, generator=generator), grid, SUV), folder / "PET_image.nii.gz")


def test_nifti_folders_become_people(tmp_path: Path) -> None:
    for visit in ("SENTINEL_ANNA/1", "SENTINEL_ANNA/2", "BERTA"):
        nifti(tmp_path / "in" / visit)
    nifti(tmp_path / "in" / "MAGNETIC", air=0.0)
    (tmp_path / "in" / "BERTA" / "notes.txt").write_text("SENTINEL")
    nifti(tmp_path / "in" / "TWICE")
    shutil.copy(tmp_path / "in" / "TWICE" / "CT_image.nii.gz", tmp_path / "in" / "TWICE" / "ct.nii.gz")

    def go(**settings: Any) -> Imported:
        return import_nifti(tmp_path / "in", tmp_path / "cohort", SECRET, split=(1, 1, 1), **settings)

    with pytest.raises(MissingInput, match="--kvp"):
        go(pairing=Pairing())
    done = go(pairing=Pairing(kvp=120))
    assert len(done.made) == 3
    assert sum("BadValues" in why for why in whys(done)) == 1
    assert sum("just one CT" in line.why for line in done.lines) == 4
    assert [line.outcome for line in done.lines].count("left") == 6
    cohort = open_cohort(tmp_path / "cohort", checksums=True)
    assert sorted(map(len, cohort.persons.values())) == [1, 2]
    assert all(study.facts["kvp"] == 120 and set(study) == {"ct", "pet"} for study in cohort)
    assert go(pairing=Pairing(kvp=120)).made == ()
    assert len(go(pairing=Pairing(kvp=100)).made) == 3
    plain = {file_sha256(path) for path in (tmp_path / "in").rglob("*.nii.gz")}
    for path in (tmp_path / "cohort").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"SENTINEL" not in content
        assert b"BERTA" not in content
        assert not any(digest.encode() in content for digest in plain)
    shutil.rmtree(tmp_path / "in")
    nifti(tmp_path / "in" / "BERTA")
    shutil.move(tmp_path / "in" / "BERTA" / "PET_image.nii.gz", tmp_path / "in" / "PET_image.nii.gz")
    with pytest.raises(MissingInput, match="pairs"):
        go(pairing=Pairing(kvp=120))
    assert math.isclose(open_cohort(tmp_path / "cohort")[0].facts["pet_within_ct"], 1.0)
