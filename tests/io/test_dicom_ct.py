"""CT series: order, scale and every refusal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from photopeak.core import HU
from photopeak.core.errors import BadValues, MissingGeometry, PhotopeakError, UnreadableFile, WrongModality
from photopeak.io.dicom_ct import read_ct

SLICES, ROWS, COLUMNS = 5, 4, 3


def ct_slice(n: int, hounsfield: np.ndarray) -> pydicom.Dataset:
    """Slice n at z = -10 + 2.5 n; its slope differs from that of the other slices."""
    slope = 1 + n % 2
    ds = pydicom.Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = CTImageStorage, f"1.2.3.{n + 1}", "1.2.4"
    ds.Modality, ds.ImageType, ds.PatientName, ds.KVP = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], "SENTINEL^ANNA", "120"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-7, 11, -10 + 2.5 * n], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.Rows, ds.Columns = [0.8, 0.9], ROWS, COLUMNS
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = str(slope), "-1024"
    ds.PixelData = ((hounsfield + 1024) // slope).astype("<i2").tobytes()
    return ds


@pytest.fixture
def ct(tmp_path: Path) -> Callable[..., tuple[Path, np.ndarray]]:
    """Writes a series under names in the wrong order; `edit` sees the slices before they are written."""

    def make(edit: Callable[[list[pydicom.Dataset]], Any] | None = None) -> tuple[Path, np.ndarray]:
        truth = 2.0 * np.random.default_rng(1).integers(-500, 500, (SLICES, ROWS, COLUMNS))
        slices = [ct_slice(n, truth[n]) for n in range(SLICES)]
        if edit is not None:
            edit(slices)
        folder = tmp_path / "ct"
        folder.mkdir()
        for n, ds in enumerate(slices):
            ds.save_as(folder / f"{(7 * n) % 5}-{n}.dcm", enforce_file_format=True)
        (folder / "notes.txt").write_text("not DICOM")
        return folder, truth

    return make


def test_slices_are_ordered_by_position_and_scaled_one_by_one(ct: Callable[..., tuple[Path, np.ndarray]]) -> None:
    folder, truth = ct()
    study = read_ct(folder)
    assert study["ct"].quantity == HU
    np.testing.assert_array_equal(study["ct"].numpy(), truth)
    assert study["ct"].grid.spacing_mm == pytest.approx((2.5, 0.8, 0.9))
    np.testing.assert_allclose(study["ct"].grid.world([0, 0, 0]), [-7, 11, -10])
    assert study.facts["kvp"] == 120
    assert "SENTINEL" not in str(study) + repr(dict(study.facts))


def test_flipped_rows_come_out_canonical(ct: Callable[..., tuple[Path, np.ndarray]]) -> None:
    def flip(slices: list[pydicom.Dataset]) -> None:
        for ds in slices:
            ds.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]

    folder, truth = ct(flip)
    volume = read_ct(folder)["ct"]
    assert volume.grid.is_axial
    np.testing.assert_array_equal(volume.numpy(), truth[:, ::-1])
    np.testing.assert_allclose(volume.grid.world([0, 0, 0]), [-7, 11 - 0.8 * (ROWS - 1), -10])


def _each(keyword: str, value: Any) -> Callable[[list[pydicom.Dataset]], None]:
    return lambda slices: [setattr(ds, keyword, value) for ds in slices]


def _one(keyword: str, value: Any) -> Callable[[list[pydicom.Dataset]], None]:
    return lambda slices: setattr(slices[2], keyword, value)


def _tilt(slices: list[pydicom.Dataset]) -> None:
    for n, ds in enumerate(slices):
        ds.ImagePositionPatient = [-7, 11 + 0.5 * n, -10 + 2.5 * n]


BAD: list[tuple[Callable[[list[pydicom.Dataset]], Any], type[PhotopeakError], str]] = [
    (lambda s: s.pop(2), MissingGeometry, r"5\.000 mm apart at .*\(0020,0032\)"),
    (_one("ImagePositionPatient", [-7, 11, -7.5]), MissingGeometry, r"\(0020,0032\)"),
    (_tilt, MissingGeometry, "sideways"),
    (_one("SeriesInstanceUID", "1.2.5"), MissingGeometry, r"\(0020,000E\)"),
    (_one("PixelSpacing", [1, 1]), MissingGeometry, r"\(0028,0030\)"),
    (_one("ConvolutionKernel", "LUNG"), MissingGeometry, r"\(0018,1210\)"),
    (_one("KVP", "140"), MissingGeometry, r"\(0018,0060\)"),
    (_one("ImageOrientationPatient", [0, 1, 0, 1, 0, 0]), MissingGeometry, r"\(0020,0037\)"),
    (_one("ImagePositionPatient", None), MissingGeometry, r"\(0020,0032\)"),
    (_each("PixelSpacing", [0, 1]), MissingGeometry, r"\(0028,0030\)"),
    (_one("Modality", "MR"), WrongModality, r"\(0008,0060\) MR"),
    (_one("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]), WrongModality, "LOCALIZER"),
    (_one("NumberOfFrames", 2), WrongModality, r"\(0028,0008\)"),
    (_one("RescaleSlope", None), UnreadableFile, r"\(0028,1053\)"),
    (_one("PixelData", bytes(10)), UnreadableFile, "10 bytes"),
    (_one("BitsStored", None), UnreadableFile, "damaged"),
    (lambda s: s.__delitem__(slice(1, None)), UnreadableFile, "1 DICOM files"),
]


@pytest.mark.parametrize(("edit", "error", "words"), BAD)
def test_refusals(
    ct: Callable[..., tuple[Path, np.ndarray]],
    edit: Callable[[list[pydicom.Dataset]], Any],
    error: type[PhotopeakError],
    words: str,
) -> None:
    folder, _ = ct(edit)
    with pytest.raises(error, match=words):
        read_ct(folder)


def test_constant_series_is_no_image(ct: Callable[..., tuple[Path, np.ndarray]]) -> None:
    def blank(slices: list[pydicom.Dataset]) -> None:
        for ds in slices:
            ds.PixelData, ds.RescaleSlope = bytes(2 * ROWS * COLUMNS), "1"

    with pytest.raises(BadValues, match="-1024 everywhere"):
        read_ct(ct(blank)[0])
