"""PT series that are derived from a CT: they validate, read back, lie in the CT's frame, and claim nothing."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom import Dataset

from photopeak.core import HU, SUV, Grid, Volume
from photopeak.core.errors import BadArgument, BadValues, MissingGeometry, WrongModality, WrongQuantity
from photopeak.io.dicom_ct_write import write_ct
from photopeak.io.dicom_pt import Told, read_pt
from photopeak.io.dicom_pt_write import RESEARCH, write_pt_derived
from photopeak.io.dicom_scan import SimulatedScan

TOLD = {
    "series_description": f"{RESEARCH} test NOT FOR DIAGNOSIS",
    "derivation": "PET estimated from CT.",
    "contributing": {"method": "test", "seed": "0"},
}
GRID = Grid.regular((6, 9, 11), (5.0, 4.0, 4.1), centre_mm=(-3.3, 8.0, 41.7))


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    """A complete simulated CT series of thinner slices about the same place."""
    fine = Grid.regular((10, 12, 14), (3.0, 3.0, 3.2), centre_mm=(-3.3, 8.0, 41.7))
    hu = torch.rand(fine.shape, generator=torch.Generator().manual_seed(1)) * 1500 - 1000
    scan = SimulatedScan("0009", "", "0" * 64, {"sex": "F", "weight_kg": 61.0, "patient_position": "FFS"})
    write_ct(Volume(hu, fine, HU), tmp_path / "ct", scan, description="CT", kvp=120, series_number=3, origin="test")
    return tmp_path / "ct"


@pytest.fixture
def pet() -> Volume:
    return Volume(torch.rand(GRID.shape, generator=torch.Generator().manual_seed(2)) * 23.0, GRID, SUV)


def read(folder: Path) -> list[pydicom.FileDataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def test_the_validator_has_nothing_to_say(ct: Path, pet: Volume, dciodvfy: str, tmp_path: Path) -> None:
    for file in write_pt_derived(pet, ct, tmp_path / "pt", **TOLD)[::5]:
        told = subprocess.run([dciodvfy, str(file)], capture_output=True, text=True, check=False)
        assert (told.stdout + told.stderr).split() == ["PETImage"]


def test_it_reads_back_as_suv_by_any_reader(ct: Path, pet: Volume, tmp_path: Path) -> None:
    folder = tmp_path / "pt"
    assert len(write_pt_derived(pet, ct, folder, **TOLD)) == 6
    again = read_pt(folder, told=Told(attenuation_corrected=True))["pet"]
    assert again.quantity == SUV
    assert again.grid.same_as(GRID)
    np.testing.assert_allclose(again.numpy(), pet.numpy(), atol=23.0 / 32767)
    slices = read(folder)
    assert len({float(s.RescaleSlope) for s in slices}) == 1
    assert max(int(s.pixel_array.max()) for s in slices) == 32767
    assert all(s.pixel_array.dtype == np.uint16 for s in slices)


def test_it_lies_in_the_frame_and_study_of_the_ct_and_is_marked(ct: Path, pet: Volume, tmp_path: Path) -> None:
    write_pt_derived(pet, ct, tmp_path / "pt", **TOLD, series_number=9007)
    original, slices = read(ct), read(tmp_path / "pt")
    for keyword in ("FrameOfReferenceUID", "StudyInstanceUID", "PatientID", "PatientName", "PatientWeight"):
        assert {s[keyword].value for s in slices} == {original[0][keyword].value}
    assert {s.SeriesInstanceUID for s in slices}.isdisjoint({original[0].SeriesInstanceUID})
    assert len({s.SOPInstanceUID for s in (*original, *slices)}) == 16
    for s in slices:
        assert (s.Modality, s.Units, s.SUVType, list(s.ImageType)) == ("PT", "GML", "BW", ["DERIVED", "PRIMARY"])
        assert (s.SeriesNumber, s.SeriesDescription) == (9007, TOLD["series_description"])
        assert "Research use only, not for diagnosis" in s.DerivationDescription
        assert "method test; seed 0" in s.ContributingEquipmentSequence[0].ContributionDescription


def test_it_claims_no_injection_no_correction_and_no_count(ct: Path, pet: Volume, tmp_path: Path) -> None:
    write_pt_derived(pet, ct, tmp_path / "pt", **TOLD)
    for s in read(tmp_path / "pt"):
        assert len(s.RadiopharmaceuticalInformationSequence) == 0
        assert not s.CorrectedImage
        assert (s.DecayCorrection, float(s.ActualFrameDuration)) == ("NONE", 0)
    with pytest.raises(WrongModality, match="ATTN"):
        read_pt(tmp_path / "pt")


def test_every_slice_names_the_nearest_ct_slice(ct: Path, pet: Volume, tmp_path: Path) -> None:
    write_pt_derived(pet, ct, tmp_path / "pt", **TOLD)
    where = {s.SOPInstanceUID: float(s.ImagePositionPatient[2]) for s in read(ct)}
    for s in read(tmp_path / "pt"):
        source = where[s.SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert abs(source - float(s.ImagePositionPatient[2])) <= 1.5 + 1e-6


def test_the_same_content_gives_the_same_files_and_other_content_other_uids(
    ct: Path, pet: Volume, tmp_path: Path
) -> None:
    one, two = (write_pt_derived(pet, ct, tmp_path / name, **TOLD) for name in "ab")
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
    other = write_pt_derived(pet.with_data(pet.data * 1.01), ct, tmp_path / "c", **TOLD)
    assert pydicom.dcmread(other[0]).SeriesInstanceUID != pydicom.dcmread(one[0]).SeriesInstanceUID


@pytest.mark.parametrize("name", ["PET", "AI-AC RESEARCH", f"{RESEARCH} {'x' * 60}"])
def test_a_name_that_does_not_say_research_is_refused(ct: Path, pet: Volume, name: str, tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="series description"):
        write_pt_derived(pet, ct, tmp_path / "pt", **{**TOLD, "series_description": name})


def test_numbers_that_are_no_suv_are_refused(ct: Path, pet: Volume, tmp_path: Path) -> None:
    for data, error in ((pet.data - 1, BadValues), (pet.data * float("nan"), BadValues)):
        with pytest.raises(error):
            write_pt_derived(pet.with_data(data), ct, tmp_path / "pt", **TOLD)
    with pytest.raises(WrongQuantity):
        write_pt_derived(pet.with_data(pet.data, HU), ct, tmp_path / "pt", **TOLD)
    assert not (tmp_path / "pt").exists()


def test_a_ct_without_frame_of_reference_is_refused(
    ct_series: Callable[..., Path], pet: Volume, tmp_path: Path
) -> None:
    def drop(slices: list[Dataset]) -> Any:
        return [s.pop("FrameOfReferenceUID") for s in slices]

    folder = ct_series(np.random.default_rng(0).integers(-900, 900, (6, 5, 4)), drop)
    with pytest.raises(MissingGeometry, match=r"\(0020,0052\)"):
        write_pt_derived(pet, folder, tmp_path / "pt", **TOLD)


def test_a_meagre_header_is_enough(ct_series: Callable[..., Path], pet: Volume, tmp_path: Path) -> None:
    """A header with little more than identity and geometry; its private elements stay behind."""

    def enrich(slices: list[Dataset]) -> None:
        for s in slices:
            s.private_block(0x0011, "SENTINEL MAKER", create=True).add_new(1, "LO", "SENTINEL")

    folder = ct_series(np.random.default_rng(0).integers(-900, 900, (6, 5, 4)), enrich)
    write_pt_derived(pet, folder, tmp_path / "pt", **TOLD)
    for s in read(tmp_path / "pt"):
        assert (s.SeriesDate, s.PatientID, s.FrameOfReferenceUID) == ("20190317", "P", "1.5")
        assert not any(element.tag.is_private for element in s)
