"""A CT series: one file for each slice, placed by its own header."""

from pathlib import Path

import numpy as np
from pydicom import Dataset

from photopeak.core import HU, Grid, Step, Study, Volume
from photopeak.core.errors import MissingGeometry, UnreadableFile, WrongModality
from photopeak.io.axes import canonical_grid, rearrange
from photopeak.io.dicom_file import (
    DICOM,
    is_dicom,
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
from photopeak.io.reading import reading

STEP_TOLERANCE = 0.01
SIDEWAYS_TOLERANCE_MM = 0.1


def read_ct(folder: Path | str) -> Study:
    """The one CT series of a folder as a study with the volume "ct" in HU, on an LPS grid with positive axes.

    Slices are ordered by their position along the normal of the image plane, whatever their names say.
    """
    folder = Path(folder)
    paths = [p for p in sorted(folder.iterdir()) if p.is_file() and is_dicom(p)]
    if len(paths) < 2:
        raise UnreadableFile(
            f"{folder} holds {len(paths)} DICOM files",
            needed="a CT series of two slices or more",
            remedy="Check the path.",
        )
    with reading(folder, DICOM):
        slices = [open_dicom(path, "CT") for path in paths]
        _require_one_series(slices, folder)
        row, column, normal = plane_directions(slices[0])
        positions = np.array([numbers(s, "ImagePositionPatient", 3) for s in slices])
        order = np.argsort(positions @ normal)
        positions = positions[order]
        step_mm = _regular_step(positions, normal, folder)
        row_mm, column_mm = pixel_spacing_mm(slices[0])
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([normal * step_mm, column * row_mm, row * column_mm], axis=1)
        matrix[:3, 3] = positions[0]
        hounsfield = np.concatenate([_hounsfield(slices[n], paths[n]) for n in order])
    stored = Grid(hounsfield.shape, tuple(map(tuple, matrix)))
    grid = canonical_grid(stored)
    volume = Volume.from_numpy(rearrange(hounsfield, stored, grid), grid, HU).require_image(name=folder.name)
    first = slices[order[0]]
    series = uid_hash(first.SeriesInstanceUID)
    facts = {
        "modality": "CT",
        "kvp": positive(first, "KVP"),
        "manufacturer": known(first, "Manufacturer"),
        "camera_model": known(first, "ManufacturerModelName"),
        "sex": known(first, "PatientSex"),
    }
    facts = {name: fact for name, fact in facts.items() if fact is not None}
    dicom = {"series_sha256": series}
    if known(first, "FrameOfReferenceUID"):
        dicom["frame_of_reference_sha256"] = uid_hash(first.FrameOfReferenceUID)
    step = Step(("ct",), "read_ct", (), {"series_sha256": series})
    return Study(f"ct-{series[:8]}", facts={**facts, "dicom": dicom}).add({"ct": volume}, step)


def _require_one_series(slices: list[Dataset], folder: Path) -> None:
    """Refuse localizers, multi-frame objects, several series, and slices that differ in size or direction."""
    for wrong, tag in (
        (lambda s: "LOCALIZER" in (s.get("ImageType") or []), "Image Type (0008,0008) LOCALIZER"),
        (lambda s: int(s.get("NumberOfFrames") or 1) > 1, "Number of Frames (0028,0008) above 1"),
    ):
        if any(map(wrong, slices)):
            raise WrongModality(
                f"{folder} holds an object with {tag}",
                needed="axial slices, one in a file",
                remedy="Move scout images elsewhere; export the series as classic CT.",
            )
    series = {str(s.get("SeriesInstanceUID")) for s in slices}
    likeness = {"Series Instance UID (0020,000E)": series}
    for keyword, count in (("Rows", 1), ("Columns", 1), ("PixelSpacing", 2), ("ImageOrientationPatient", 6)):
        values = {tuple((np.round(numbers(s, keyword, count), 4) + 0.0).tolist()) for s in slices}
        likeness[tag_name(keyword)] = {str(v) for v in values}
    for name, different in likeness.items():
        if len(different) > 1:
            raise MissingGeometry(
                f"{folder} holds slices of {len(different)} different {name}",
                needed="slices of one series, alike in size and direction",
                remedy="Put each series in a folder of its own.",
            )


def _regular_step(positions: np.ndarray, normal: np.ndarray, folder: Path) -> float:
    """The distance between slices at `positions` [slice, (x, y, z)], if it is the same all along."""
    along = positions @ normal
    steps = np.diff(along)
    step_mm = float(np.median(steps))
    worst = int(np.abs(steps - step_mm).argmax())
    if step_mm <= 0 or abs(steps[worst] - step_mm) > STEP_TOLERANCE * step_mm:
        raise MissingGeometry(
            f"{folder} has slices {steps[worst]:.3f} mm apart at Image Position (Patient) (0020,0032) "
            f"{along[worst]:.2f} mm along the normal, and {step_mm:.3f} mm elsewhere",
            needed="every slice once, at one distance",
            remedy="Export the series again: slices are missing, repeated or of mixed distance.",
        )
    sideways = positions - np.outer(along, normal)
    if np.ptp(sideways, axis=0).max() > SIDEWAYS_TOLERANCE_MM:
        raise MissingGeometry(
            f"{folder} has slices shifted sideways by {np.ptp(sideways, axis=0).max():.2f} mm",
            needed="slices stacked along the normal of the image plane (no gantry tilt)",
            remedy="Reformat the series without tilt at the scanner's workstation.",
        )
    return float((along[-1] - along[0]) / (len(along) - 1))


def _hounsfield(item: Dataset, path: Path) -> np.ndarray:
    """One slice [1, row, column] in HU, by its own slope and intercept."""
    slope = numbers(item, "RescaleSlope", error=UnreadableFile)[0]
    intercept = numbers(item, "RescaleIntercept", error=UnreadableFile)[0]
    return stored_pixels(item, path) * slope + intercept
