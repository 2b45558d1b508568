"""Reconstructed nuclear-medicine series: one multi-frame NM object, Image Type RECON TOMO.

Geometry after DICOM PS3.3 C.8.4.15: the first slice is placed by the Detector Information Sequence, slice n lies
(n - 1) x Spacing Between Slices along the normal of the image plane, and that spacing may be negative.
Positions are those of the patient whatever way he lay, so feet-first and prone need no turning.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread

from photopeak.core import BQML, COUNTS, Grid, Quantity, Step, Study, Volume
from photopeak.core.errors import BadArgument, MissingGeometry, UnreadableFile, WrongModality
from photopeak.io.axes import rearrange
from photopeak.io.dicom_file import (
    DICOM,
    known,
    numbers,
    open_dicom,
    pixel_spacing_mm,
    plane_directions,
    positive,
    stored_pixels,
    tag_name,
    uid_hash,
)
from photopeak.io.dicom_nm_slices import image_grid, orientation_of
from photopeak.io.reading import reading

PROJECTIONS = ("TOMO", "GATED TOMO")
AC_WORDS = {"AC", "IRAC", "IRACSC"}
NAC_WORDS = {"NC", "NAC", "IRNC", "IRNCSC"}
_NEGATIONS = {"NO", "NON", "NOT", "WITHOUT"}
_UCUM: dict[str, Quantity] = {"{counts}": COUNTS, "Bq/ml": BQML}
# Code values of SNOMED CT and of the retired SRT scheme that cameras still write (PS3.16 CID 18, 20 and 21).
_ISOTOPES = {
    "72454006": "Tc-99m", "C-163A8": "Tc-99m", "60057003": "Tl-201", "C-138A9": "Tl-201",
    "21572004": "I-123", "C-114A4": "I-123", "56609000": "In-111", "C-145A4": "In-111",
    "2008008": "Ga-67", "C-131A2": "Ga-67",
}  # fmt: skip
_ENTRY = {"102540008": "HF", "F-10470": "HF", "102541007": "FF", "F-10480": "FF"}
_LYING = {"40199007": "S", "F-10340": "S", "1240000": "P", "F-10310": "P"}


def read_nm(path: Path | str, *, as_: str | None = None) -> Study:
    """One reconstructed NM series as a study with one volume, on an LPS grid with positive axes.

    Heart slices, which Slice Progression Direction (0054,0500) tells apart, come on their own oblique grid in display
    order (`dicom_nm_slices.image_grid`), with "sa", "hla" or "vla" as `facts["orientation"]`.

    The volume is "ac" or "nac" when Corrected Image (0028,0051) or Series Description (0008,103E) says so; otherwise
    `as_`, or "image". `facts["named_by"]` records which.

    Parameters
    ----------
    path : the multi-frame DICOM file.
    as_ : the name to use where the header does not decide; an error where the header says otherwise.
    """
    path = Path(path)
    with reading(path, DICOM):
        dataset = open_recon_tomo(path)
        order = slice_order(dataset, path)
        values, quantity = _in_units(stored_pixels(dataset, path)[order].astype(np.float64), dataset)
        stored = stored_grid(dataset)
        grid = image_grid(dataset, stored)
        name, named_by = _volume_name(dataset, path, as_)
        facts = {**nm_facts(dataset), "named_by": named_by}
        identity = facts["dicom"]["sop_sha256"]
    volume = Volume.from_numpy(rearrange(values, stored, grid), grid, quantity).require_image(name=path.name)
    step = Step((name,), "read_nm", (), {"sop_sha256": identity, "named_by": named_by})
    return Study(f"nm-{identity[:8]}", facts=facts).add({name: volume}, step)


def open_recon_tomo(path: Path) -> Dataset:
    """The NM object in `path`, if its Image Type is RECON TOMO of emission data."""
    remedy = "Choose the reconstructed, ungated series; reconstruct projections first (photopeak reconstruct)."
    return open_nm(path, ("RECON TOMO",), remedy=remedy)


def is_projections(path: Path) -> bool:
    """True for an NM file that calls itself TOMO or GATED TOMO."""
    with reading(path, DICOM):
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=["ImageType"])
        return len(dataset.get("ImageType") or []) > 2 and dataset.ImageType[2] in PROJECTIONS


def open_nm(path: Path, kinds: Sequence[str], *, remedy: str) -> Dataset:
    """The NM object in `path`, if the third value of its Image Type is one of `kinds`, of emission data."""
    dataset = open_dicom(path, "NM")
    given = dataset.get("ImageType") or []
    kind = [given] if isinstance(given, str) else list(given)
    found = "\\".join(kind) or "absent"
    if len(kind) < 3 or kind[2] not in kinds or "TRANSMISSION" in kind:
        raise WrongModality(
            f"{path} has {tag_name('ImageType')} {found}",
            needed=f"{' or '.join(kinds)} as the third value, of emission data",
            remedy=remedy,
        )
    return dataset


def slice_order(dataset: Dataset, path: Path) -> np.ndarray:
    """Indices of the stored frames in the order of their Slice Vector."""
    frames, slices = (int(numbers(dataset, k)[0]) for k in ("NumberOfFrames", "NumberOfSlices"))
    vector = numbers(dataset, "SliceVector", frames).astype(int) if frames == slices else np.empty(0)
    if sorted(vector) != list(range(1, slices + 1)):
        raise MissingGeometry(
            f"{path} has Number of Frames (0028,0008) {frames}, Number of Slices (0054,0081) {slices} and "
            f"Slice Vector (0054,0080) {dataset.get('SliceVector')}",
            needed="each slice from 1 to Number of Slices exactly once",
            remedy="Export the whole series again; frames are never taken in file order.",
        )
    return np.argsort(vector)


def stored_grid(dataset: Dataset) -> Grid:
    """The grid of the slices [slice, row, column] as they are stored, in the order of the Slice Vector."""
    place = placed_item(dataset)
    row, column, normal = plane_directions(place)
    row_mm, column_mm = pixel_spacing_mm(dataset)
    slice_mm = numbers(dataset, "SpacingBetweenSlices")[0]
    if slice_mm == 0:
        raise MissingGeometry(
            f"{tag_name('SpacingBetweenSlices')} is 0",
            needed="a length in mm, negative where slices run against the normal",
            remedy="Export the series again; the direction of the slices cannot be guessed.",
        )
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([normal * slice_mm, column * row_mm, row * column_mm], axis=1)
    matrix[:3, 3] = numbers(place, "ImagePositionPatient", 3)
    shape = (int(dataset.NumberOfSlices), int(dataset.Rows), int(dataset.Columns))
    return Grid(shape, tuple(map(tuple, matrix)))


def placed_item(dataset: Dataset) -> Dataset:
    """The item that holds position and orientation: of the Detector Information Sequence, else the object itself."""
    items = [d for d in dataset.get("DetectorInformationSequence") or [] if d.get("ImagePositionPatient")]
    places = {(str(d.ImagePositionPatient), str(d.get("ImageOrientationPatient"))) for d in items}
    if len(places) > 1:
        raise MissingGeometry(
            f"{tag_name('DetectorInformationSequence')} gives {len(places)} different places",
            needed="one position and orientation of the first slice",
            remedy="Export a series of one reconstruction.",
        )
    return items[0] if items else dataset


def _in_units(stored: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, Quantity]:
    """Stored values through Rescale Slope, or through a Real World Value Mapping in a known unit, if there is one."""
    if "RescaleSlope" in dataset:
        slope = numbers(dataset, "RescaleSlope", error=UnreadableFile)[0]
        intercept = numbers(dataset, "RescaleIntercept", error=UnreadableFile)[0]
        return stored * slope + intercept, COUNTS
    for mapping in dataset.get("RealWorldValueMappingSequence") or []:
        units = mapping.get("MeasurementUnitsCodeSequence") or [Dataset()]
        quantity = _UCUM.get(str(units[0].get("CodeValue")))
        if quantity is not None and "RealWorldValueSlope" in mapping:
            slope = numbers(mapping, "RealWorldValueSlope", error=UnreadableFile)[0]
            return stored * slope + numbers(mapping, "RealWorldValueIntercept", error=UnreadableFile)[0], quantity
    return stored, COUNTS


def _volume_name(dataset: Dataset, path: Path, as_: str | None) -> tuple[str, str]:
    """The volume's name, and what decided it."""
    words = set(re.split(r"[^A-Z0-9]+", str(dataset.get("SeriesDescription") or "").upper()))
    is_ac, is_nac = bool(words & AC_WORDS), bool(words & NAC_WORDS)
    if "ATTN" in corrections(dataset):
        name, by = "ac", f"{tag_name('CorrectedImage')} ATTN"
    elif is_ac != is_nac and not words & _NEGATIONS:
        name, by = "ac" if is_ac else "nac", tag_name("SeriesDescription")
    else:
        return (as_, "the caller") if as_ else ("image", "nothing in the header")
    if as_ in ("ac", "nac") and as_ != name:
        raise BadArgument(
            f'{path} is "{name}" by {by}, and was to be read as "{as_}"',
            needed=f'a series that its header does not call "{name}"',
            remedy="Choose the other series of this study; a second correction would be wrong.",
        )
    return name, by


def corrections(dataset: Dataset) -> list[str]:
    """The values of Corrected Image (0028,0051), such as ATTN and SCAT."""
    found = dataset.get("CorrectedImage") or []
    return [str(value) for value in ([found] if isinstance(found, str) else found) if value]


def nm_facts(dataset: Dataset) -> dict[str, Any]:
    """What is known of acquisition and patient, free of identifiers; unknown entries are absent."""
    detector = next(iter(dataset.get("DetectorInformationSequence") or []), Dataset())
    window = next(iter(dataset.get("EnergyWindowInformationSequence") or []), Dataset())
    limits = next(iter(window.get("EnergyWindowRangeSequence") or []), Dataset())
    lower, upper = (positive(limits, f"EnergyWindow{side}Limit") for side in ("Lower", "Upper"))
    tracer = next(iter(dataset.get("RadiopharmaceuticalInformationSequence") or []), Dataset())
    facts = {
        "modality": "NM",
        "manufacturer": known(dataset, "Manufacturer"),
        "camera_model": known(dataset, "ManufacturerModelName"),
        "collimator": known(detector, "CollimatorGridName"),
        "collimator_type": known(detector, "CollimatorType"),
        "window_kev": [lower, upper] if lower and upper else None,
        "isotope": isotope(dataset),
        "radiopharmaceutical": known(tracer, "Radiopharmaceutical"),
        "patient_position": patient_position(dataset),
        "orientation": orientation_of(dataset),
        "corrected": corrections(dataset) or None,
        "sex": known(dataset, "PatientSex"),
        "height_m": positive(dataset, "PatientSize"),
        "weight_kg": positive(dataset, "PatientWeight"),
    }
    uids = {
        "sop": "SOPInstanceUID",
        "series": "SeriesInstanceUID",
        "study": "StudyInstanceUID",
        "frame_of_reference": "FrameOfReferenceUID",
    }
    hashes = {f"{name}_sha256": uid_hash(dataset[k].value) for name, k in uids.items() if dataset.get(k)}
    return {name: fact for name, fact in facts.items() if fact is not None} | {"dicom": hashes}


def isotope(dataset: Dataset) -> str | None:
    """The radionuclide, such as "Tc-99m", by its code."""
    tracer = next(iter(dataset.get("RadiopharmaceuticalInformationSequence") or []), Dataset())
    return _ISOTOPES.get(_code(tracer, "RadionuclideCodeSequence"))


def patient_position(dataset: Dataset) -> str | None:
    """HFS, HFP, FFS or FFP, from Patient Position or from the codes that NM objects carry in its place."""
    if known(dataset, "PatientPosition"):
        return known(dataset, "PatientPosition")
    orientation = next(iter(dataset.get("PatientOrientationCodeSequence") or []), Dataset())
    entry = _ENTRY.get(_code(dataset, "PatientGantryRelationshipCodeSequence"))
    lying = _LYING.get(_code(orientation, "PatientOrientationModifierCodeSequence"))
    return entry + lying if entry and lying else None


def _code(item: Dataset, keyword: str) -> str:
    codes = item.get(keyword) or [Dataset()]
    return str(codes[0].get("CodeValue"))
