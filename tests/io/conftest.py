"""Small DICOM objects to read, break and compare."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage

from photopeak.core import COUNTS, Grid, Volume
from photopeak.io.dicom_nm_write import write_nm

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "nm_cardiac"


@pytest.fixture
def image() -> Volume:
    """Random counts on a small axial grid."""
    generator = torch.Generator().manual_seed(3)
    return Volume(torch.rand(4, 5, 6, generator=generator) * 900, Grid.regular((4, 5, 6), (4.0, 3.0, 2.0)), COUNTS)


@pytest.fixture
def nm_file(tmp_path: Path, image: Volume) -> Callable[..., Path]:
    """Writes the image as NM, edits the object with a function, and gives the path."""

    def make(edit: Callable[[pydicom.Dataset], Any] | None = None, **arguments: Any) -> Path:
        path = write_nm(image, tmp_path / "nm.dcm", patient="0007", **arguments)
        if edit is not None:
            dataset = pydicom.dcmread(path)
            edit(dataset)
            dataset.save_as(path)
        return path

    return make


@pytest.fixture(params=["mps_0", "mps_1", "mps_2", "mps_with_mask"])
def real_nm(request: pytest.FixtureRequest) -> Path:
    """Each of the four real cardiac series."""
    path = REAL / f"{request.param}.dcm"
    if not path.exists():
        pytest.skip("the real NM series are not beside the repository")
    return path


def _slice(n: int, values: np.ndarray, spacing_mm: tuple[float, float], corner: tuple[float, float, float]) -> Dataset:
    """A slice of whole numbers [row, column] with its first pixel at `corner` (x, y, z), of person "P" in frame 1.5."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.PatientName, ds.PatientID, ds.StudyInstanceUID, ds.FrameOfReferenceUID = "SENTINEL^ANNA", "P", "1.9", "1.5"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = list(corner), [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, (ds.Rows, ds.Columns) = list(spacing_mm), values.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelData = values.astype("<i2").tobytes()
    return ds


def _save(slices: list[Dataset], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for n, ds in enumerate(slices):
        ds.save_as(folder / f"{(7 * n) % len(slices):03d}-{n}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture
def pt_series(tmp_path: Path) -> Callable[..., Path]:
    """Writes PT slices [k, row, column] in Bq/ml, each with a slope of its own that fills 15 bits.

    72.5 kg, 370 MBq of F-18 at 10:00:00, series at 11:00:00, the first bed of 120 s at 11:00:00 and every tenth slice
    begins another. `edit` sees the slices before they are written.
    """

    def make(
        values: np.ndarray,
        edit: Callable[[list[Dataset]], Any] | None = None,
        *,
        name: str = "pt",
        spacing_mm: tuple[float, float, float] = (3.27, 5.47, 5.47),
        corner: tuple[float, float, float] = (-10.0, 5.0, -30.0),
    ) -> Path:
        slices = []
        for n, value in enumerate(values):
            slope = float(f"{max(value.max(), 1e-3) / 32767:.9g}")
            x, y, z = corner
            ds = _slice(n, np.rint(value / slope), spacing_mm[1:], (x, y, round(z + n * spacing_mm[0], 4)))
            ds.SOPClassUID, ds.SOPInstanceUID = PositronEmissionTomographyImageStorage, f"1.7.{n + 1}"
            ds.SeriesInstanceUID, ds.Modality, ds.SeriesType = "1.7", "PT", ["WHOLE BODY", "IMAGE"]
            ds.ImageType, ds.CorrectedImage = ["ORIGINAL", "PRIMARY"], ["DECY", "ATTN", "SCAT", "RAN", "NORM"]
            ds.Units, ds.DecayCorrection, ds.PatientWeight = "BQML", "START", "72.5"
            ds.RescaleSlope, ds.RescaleIntercept, ds.SeriesDescription = f"{slope:.9g}", "0", "SENTINEL PET"
            ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = "20190317"
            bed = n // 10
            ds.SeriesTime, ds.AcquisitionTime = "110000", f"11{2 * bed:02d}00"
            ds.ActualFrameDuration, ds.FrameReferenceTime = "120000", str(bed * 120000 + 59874)
            tracer = Dataset()
            tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = "370000000", "6586.2"
            tracer.RadiopharmaceuticalStartTime, tracer.Radiopharmaceutical = "100000.00", "FDG -- SENTINEL"
            ds.RadiopharmaceuticalInformationSequence = [tracer]
            slices.append(ds)
        if edit is not None:
            edit(slices)
        return _save(slices, tmp_path / name)

    return make


@pytest.fixture
def ct_series(tmp_path: Path) -> Callable[..., Path]:
    """Writes CT slices [k, row, column] in HU at 120 kVp, in the frame of reference of `pt_series`."""

    def make(
        values: np.ndarray,
        edit: Callable[[list[Dataset]], Any] | None = None,
        *,
        name: str = "ct",
        spacing_mm: tuple[float, float, float] = (3.27, 0.977, 0.977),
        corner: tuple[float, float, float] = (-12.0, 3.0, -30.02),
    ) -> Path:
        slices = []
        for n, value in enumerate(values):
            x, y, z = corner
            ds = _slice(n, np.rint(value), spacing_mm[1:], (x, y, round(z + n * spacing_mm[0], 4)))
            ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"1.8.{n + 1}"
            ds.SeriesInstanceUID, ds.Modality, ds.ImageType = "1.8", "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
            ds.KVP, ds.ConvolutionKernel, ds.RescaleSlope, ds.RescaleIntercept = "120", "STANDARD", "1", "0"
            ds.SeriesDescription, ds.StudyDate = "SENTINEL CT", "20190317"
            slices.append(ds)
        if edit is not None:
            edit(slices)
        return _save(slices, tmp_path / name)

    return make
