"""Opening a DICOM file safely, and reading its numbers by tag with errors that name the tag.

Sizes are checked before anything is decoded: a short header can announce more voxels than any memory holds.
"""

import hashlib
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from photopeak.core.errors import MissingGeometry, PhotopeakError, UnreadableFile, WrongModality
from photopeak.io.reading import MAX_VOXELS, reading

DICOM = "whole DICOM files"
_UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_EXPORT_AGAIN = "Export the file again from the archive or workstation."


def is_dicom(path: Path) -> bool:
    """True for a file with the DICOM mark after its preamble."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def open_dicom(path: Path, modality: str) -> Dataset:
    """The uncompressed DICOM object in `path`, if its Modality is `modality`."""
    try:
        syntax = read_file_meta_info(path).get("TransferSyntaxUID", "absent")
    except FileNotFoundError as error:
        raise UnreadableFile(f"{path} does not exist", needed="a DICOM file", remedy="Check the path.") from error
    except (InvalidDicomError, EOFError) as error:
        raise UnreadableFile(
            f"{path} has no DICOM mark after its first 128 bytes", needed="a DICOM file", remedy=_EXPORT_AGAIN
        ) from error
    if syntax not in _UNCOMPRESSED:
        raise UnreadableFile(
            f"{path} has Transfer Syntax UID (0002,0010) {getattr(syntax, 'name', syntax)}",
            needed="uncompressed pixels",
            remedy="Decompress it first (dcmdjpeg, dcmdrle, dcmconv or gdcmconv --raw).",
        )
    with reading(path, DICOM):
        dataset = pydicom.dcmread(path)
        dataset.decode()
        found = str(dataset.get("Modality", "absent"))
    if found != modality:
        raise WrongModality(
            f"{path} has Modality (0008,0060) {found}",
            needed=modality,
            remedy=f"Choose the {modality} series of this study.",
        )
    return dataset


def peek(path: Path) -> tuple[str, str]:
    """Modality and Series Instance UID of a DICOM file, without its pixels."""
    keywords = ["Modality", "SeriesInstanceUID"]
    with reading(path, DICOM):
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=keywords)
        modality, series = (str(dataset.get(k, "unknown")) for k in keywords)
    return modality, series


def tag_name(keyword: str) -> str:
    """ "Pixel Spacing (0028,0030)" of "PixelSpacing"."""
    tag = pydicom.tag.Tag(keyword)
    return f"{pydicom.datadict.dictionary_description(tag)} ({tag.group:04X},{tag.element:04X})"


def numbers(
    dataset: Dataset, keyword: str, count: int = 1, *, error: type[PhotopeakError] = MissingGeometry
) -> np.ndarray:
    """The `count` finite values of a numeric tag; `error` names the tag when they are not there."""
    try:
        value = dataset.get(keyword)
        array = np.atleast_1d(np.array([] if value is None else value, dtype=float))
    except (ValueError, TypeError):
        array, value = np.array([]), "not a number"
    if array.shape != (count,) or not np.isfinite(array).all():
        raise error(
            f"{tag_name(keyword)} is {'absent' if value is None else value}",
            needed=f"{count} finite number{'s' * (count > 1)}",
            remedy="Export the series again with its geometry and sizes.",
        )
    return array


def pixel_spacing_mm(dataset: Dataset) -> np.ndarray:
    """Positive (row, column) spacing, mm."""
    spacing = numbers(dataset, "PixelSpacing", 2)
    if (spacing <= 0).any():
        raise MissingGeometry(
            f"{tag_name('PixelSpacing')} is {spacing.tolist()}",
            needed="two positive lengths in mm",
            remedy="Export the series again; the pixel size cannot be guessed.",
        )
    return spacing


def plane_directions(item: Dataset) -> np.ndarray:
    """Unit vectors [row direction, column direction, normal], LPS, of Image Orientation (Patient)."""
    row, column = numbers(item, "ImageOrientationPatient", 6).reshape(2, 3)
    lengths = np.linalg.norm([row, column], axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(row @ column) > 0.01:
        raise MissingGeometry(
            f"{tag_name('ImageOrientationPatient')} is {[*row.tolist(), *column.tolist()]}",
            needed="two unit vectors at right angles",
            remedy="Export the series again; the orientation cannot be guessed.",
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    column /= np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)])


def stored_pixels(dataset: Dataset, path: Path) -> np.ndarray:
    """Stored values [frame, row, column], once their sizes are known to agree with the bytes present."""
    rows, columns = (int(numbers(dataset, k, error=UnreadableFile)[0]) for k in ("Rows", "Columns"))
    frames = int(numbers(dataset, "NumberOfFrames", error=UnreadableFile)[0]) if "NumberOfFrames" in dataset else 1
    bits, samples = (int(numbers(dataset, k, error=UnreadableFile)[0]) for k in ("BitsAllocated", "SamplesPerPixel"))
    voxels = rows * columns * frames
    if min(rows, columns, frames) < 1 or voxels > MAX_VOXELS or bits not in (8, 16) or samples != 1:
        raise UnreadableFile(
            f"{path} announces Rows x Columns x Number of Frames {rows}x{columns}x{frames} of {bits} bits",
            needed=f"one sample of 8 or 16 bits a pixel and at most {MAX_VOXELS} voxels",
            remedy=_EXPORT_AGAIN,
        )
    needed, found = voxels * bits // 8, len(dataset.get("PixelData") or b"")
    if found not in (needed, needed + needed % 2):
        raise UnreadableFile(
            f"{path} has {found} bytes of Pixel Data (7FE0,0010)",
            needed=f"{needed} bytes for Rows x Columns x Number of Frames {rows}x{columns}x{frames} of {bits} bits",
            remedy=_EXPORT_AGAIN,
        )
    return dataset.pixel_array.reshape(frames, rows, columns)


def uid_hash(uid: str) -> str:
    """SHA-256 of a UID: tells two objects apart without saying which they are."""
    return hashlib.sha256(str(uid).encode()).hexdigest()


def known(dataset: Dataset, keyword: str) -> str | None:
    """The text of a tag, or None where it is absent or empty."""
    value = dataset.get(keyword)
    return str(value) if value not in (None, "") else None


def positive(dataset: Dataset, keyword: str) -> float | None:
    """The number of a tag, or None where it is absent, empty or 0 (which exporters write for unknown)."""
    value = dataset.get(keyword)
    return float(value) if value not in (None, "") and float(value) > 0 else None
