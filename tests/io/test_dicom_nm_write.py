"""Writing NM: valid objects that overlay their source and claim nothing that they are not."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch

from photopeak.core import COUNTS, HU, Grid, Volume
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, PhotopeakError, WrongQuantity
from photopeak.io.dicom_nm import read_nm
from photopeak.io.dicom_nm_write import write_nm, write_nm_derived

MakeNM = Callable[..., Path]
needs_validator = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")


def derive(volume: Volume, source: Path, out: Path, **changes: Any) -> Path:
    arguments = {
        "series_description": "AI-AC RESEARCH test",
        "derivation": "Attenuation correction predicted without CT",
        "contributing": {"method": "test", "weights_sha256": "ab" * 32},
    }
    return write_nm_derived(volume, source, out, **(arguments | changes))


def findings(path: Path) -> list[str]:
    result = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace", check=False)
    return [line for line in (result.stdout + result.stderr).splitlines() if line.startswith(("Error", "Warning"))]


@needs_validator
def test_derived_from_real_series_is_valid(real_nm: Path, tmp_path: Path) -> None:
    image = read_nm(real_nm)["image"]
    out = derive(image.with_data(image.data * 1.3), real_nm, tmp_path / "ac.dcm")
    unexpected = [f for f in findings(out) if "DICOMDIR" not in f and "Retired Person Name" not in f]
    assert unexpected == []


@needs_validator
def test_simulated_is_valid(nm_file: MakeNM) -> None:
    assert findings(nm_file(facts={"sex": "F", "height_m": 1.6, "weight_kg": 61.0})) == []


@needs_validator
def test_derived_from_poor_source_is_valid(nm_file: MakeNM, tmp_path: Path, image: Volume) -> None:
    def impoverish(dataset: pydicom.Dataset) -> None:
        detector = dataset.DetectorInformationSequence[0]
        dataset.ImagePositionPatient = detector.ImagePositionPatient
        dataset.ImageOrientationPatient = detector.ImageOrientationPatient
        dataset.PatientSize, dataset.PatientWeight, dataset.PatientBirthDate = "0", "0", None
        for keyword in (
            "DetectorInformationSequence",
            "NumberOfRotations",
            "RotationInformationSequence",
            "EnergyWindowInformationSequence",
            "NumberOfEnergyWindows",
            "RadiopharmaceuticalInformationSequence",
            "PatientOrientationCodeSequence",
            "PatientGantryRelationshipCodeSequence",
            "FrameOfReferenceUID",
            "PositionReferenceIndicator",
            "SliceThickness",
        ):
            delattr(dataset, keyword)
        dataset.PatientPosition = "FFP"

    out = derive(image, nm_file(impoverish), tmp_path / "ac.dcm")
    assert [f for f in findings(out) if f.startswith("Error")] == []
    assert read_nm(out).facts["patient_position"] == "FFP"


def test_derived_overlays_the_real_source(real_nm: Path, tmp_path: Path) -> None:
    before = real_nm.read_bytes()
    image = read_nm(real_nm)["image"]
    out = derive(image.with_data(image.data * 1.37 + 0.2), real_nm, tmp_path / "ac.dcm")
    source, written = pydicom.dcmread(real_nm), pydicom.dcmread(out)
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientName", "PatientID", "Rows", "Columns"):
        assert written[keyword].value == source[keyword].value
    for keyword in ("SpacingBetweenSlices", "PixelSpacing", "SliceVector", "NumberOfFrames"):
        assert written[keyword].value == source[keyword].value
    slope = written.RealWorldValueMappingSequence[0].RealWorldValueSlope
    difference = written.pixel_array * slope - (source.pixel_array * 1.37 + 0.2)
    assert np.abs(difference).max() <= 0.51 * slope
    assert written.SOPInstanceUID != source.SOPInstanceUID
    assert written.SeriesInstanceUID != source.SeriesInstanceUID
    assert read_nm(out)["ac"].grid.same_as(image.grid)
    assert real_nm.read_bytes() == before


def test_header_says_what_it_is(nm_file: MakeNM, tmp_path: Path, image: Volume) -> None:
    def claim(dataset: pydicom.Dataset) -> None:
        dataset.CorrectedImage = ["UNIF", "ATTN"]

    source = nm_file(claim)
    written = pydicom.dcmread(derive(image, source, tmp_path / "ac.dcm"))
    assert written.ImageType == ["DERIVED", "PRIMARY", "RECON TOMO", "EMISSION"]
    assert written.CorrectedImage == "UNIF"
    assert written.BurnedInAnnotation == "NO"
    assert "Research use only" in written.DerivationDescription
    assert f"{written.RealWorldValueMappingSequence[0].RealWorldValueSlope:.9g}" in written.DerivationDescription
    assert written.SourceImageSequence[0].ReferencedSOPInstanceUID == pydicom.dcmread(source).SOPInstanceUID
    contributor = written.ContributingEquipmentSequence[0]
    assert contributor.Manufacturer == "photopeak"
    assert "weights_sha256 abab" in contributor.ContributionDescription
    assert written.WindowCenter == pytest.approx(written.WindowWidth / 2)


def test_slice_order_is_the_source_s(nm_file: MakeNM, tmp_path: Path, image: Volume) -> None:
    def shuffle(dataset: pydicom.Dataset) -> None:
        order = [2, 0, 3, 1]
        dataset.SliceVector = [n + 1 for n in order]
        dataset.PixelData = dataset.pixel_array[order].tobytes()

    source = nm_file(shuffle)
    written = pydicom.dcmread(derive(read_nm(source)["nac"], source, tmp_path / "ac.dcm"))
    original = pydicom.dcmread(source)
    assert list(written.SliceVector) == [3, 1, 4, 2]
    assert np.abs(written.pixel_array.astype(int) - original.pixel_array).max() <= 1
    assert torch.allclose(read_nm(tmp_path / "ac.dcm")["ac"].data, image.data, atol=0.03)


def test_same_content_same_file_other_content_other_uids(nm_file: MakeNM, tmp_path: Path, image: Volume) -> None:
    source = nm_file()
    one = derive(image, source, tmp_path / "1.dcm").read_bytes()
    assert derive(image, source, tmp_path / "2.dcm").read_bytes() == one
    changed = derive(image.with_data(image.data + 1), source, tmp_path / "3.dcm")
    uids = [(d.SOPInstanceUID, d.SeriesInstanceUID) for d in map(pydicom.dcmread, (tmp_path / "1.dcm", changed))]
    assert not set(uids[0]) & set(uids[1])


def test_names_and_words_of_any_alphabet(nm_file: MakeNM, tmp_path: Path, image: Volume) -> None:
    def latin(dataset: pydicom.Dataset) -> None:
        dataset.SpecificCharacterSet, dataset.PatientName, dataset.StudyDescription = (
            "ISO_IR 100",
            "Müller^Jörg",
            "Höhe",
        )

    out = derive(image, nm_file(latin), tmp_path / "ac.dcm", derivation="μ predicted – 減弱補正")
    written = pydicom.dcmread(out)
    assert str(written.PatientName) == "Müller^Jörg"
    assert written.StudyDescription == "Höhe"
    assert written.DerivationDescription.startswith("μ predicted – 減弱補正")


def test_other_place_other_uids(tmp_path: Path, image: Volume) -> None:
    moved = Volume(image.data, Grid.regular(image.grid.shape, 4.0), COUNTS)
    one, two = (write_nm(v, tmp_path / f"{n}.dcm", patient="1") for n, v in enumerate((image, moved)))
    assert pydicom.dcmread(one).SOPInstanceUID != pydicom.dcmread(two).SOPInstanceUID
    assert pydicom.dcmread(one).StudyInstanceUID == pydicom.dcmread(two).StudyInstanceUID


def test_whole_counts_are_stored_exactly(tmp_path: Path) -> None:
    counts = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5) * 1000
    path = write_nm(Volume(counts, Grid.regular((3, 4, 5), 4.0), COUNTS), tmp_path / "a.dcm", patient="1")
    assert torch.equal(read_nm(path)["nac"].data, counts)


def test_simulated_patient_is_obviously_fake_and_facts_return(nm_file: MakeNM) -> None:
    facts = {"sex": "F", "height_m": 1.6, "weight_kg": 61.0, "isotope": "Tl-201", "patient_position": "FFP"}
    path = nm_file(facts=facts)
    written = pydicom.dcmread(path)
    assert str(written.PatientName).startswith("SIMULATED")
    assert written.PatientID.startswith("SIMULATED")
    assert {name: read_nm(path).facts[name] for name in facts} == facts


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda v: v.with_data(v.data - 500), BadValues, "at least zero"),
        (lambda v: v.with_data(v.data * float("nan")), BadValues, "NaN"),
        (lambda v: v.with_data(v.data * 0), BadValues, "everywhere"),
        (lambda v: v.with_data(v.data, HU), WrongQuantity, "HU"),
        (lambda v: Volume(v.data, Grid.regular((4, 5, 6), 4.0), COUNTS), GridMismatch, "one grid"),
    ],
)
def test_unfit_volumes_leave_nothing(
    nm_file: MakeNM,
    tmp_path: Path,
    image: Volume,
    change: Callable[[Volume], Volume],
    error: type[PhotopeakError],
    words: str,
) -> None:
    source = nm_file()
    with pytest.raises(error, match=words):
        derive(change(image), source, tmp_path / "ac.dcm")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    "changes",
    [
        {"series_description": "AC"},
        {"series_description": "AI-AC RESEARCH " + "x" * 60},
        {"derivation": "x" * 1100},
        {"contributing": {"method": "x" * 1100}},
    ],
)
def test_unfit_words_are_refused(nm_file: MakeNM, tmp_path: Path, image: Volume, changes: dict[str, Any]) -> None:
    source = nm_file()
    with pytest.raises(BadArgument):
        derive(image, source, tmp_path / "ac.dcm", **changes)
    assert list(tmp_path.iterdir()) == [source]


def test_source_is_never_overwritten(nm_file: MakeNM, image: Volume) -> None:
    source = nm_file()
    with pytest.raises(BadArgument, match="source itself"):
        derive(image, source, source)


def test_sheared_grid_and_unknown_isotope_are_refused(tmp_path: Path, image: Volume) -> None:
    sheared = image.grid.matrix
    sheared[0, 0] = 1.0
    volume = Volume(image.data, Grid(image.grid.shape, tuple(map(tuple, sheared))), COUNTS)
    with pytest.raises(BadArgument, match="shear"):
        write_nm(volume, tmp_path / "a.dcm", patient="1")
    with pytest.raises(BadArgument, match="isotope"):
        write_nm(image, tmp_path / "a.dcm", patient="1", facts={"isotope": "Tc-98"})
