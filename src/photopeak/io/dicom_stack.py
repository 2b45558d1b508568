"""A series of axial slices, one in a file, as one array: ordered by position, without gaps, each with its scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydicom import Dataset

from photopeak.core import Grid, Quantity, Volume
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
    stored_pixels,
    tag_name,
)
from photopeak.io.reading import reading

STEP_TOLERANCE = 0.01
SIDEWAYS_TOLERANCE_MM = 0.1
_GEOMETRY = (("Rows", 1), ("Columns", 1), ("PixelSpacing", 2), ("ImageOrientationPatient", 6))


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices of one series in the order of their positions along the normal of the image plane.

    Parameters
    ----------
    slices : headers [k].
    values : [k, row, column] by each slice's own Rescale Slope and Intercept, float64.
    stored : grid of `values`.
    name : of the folder, for messages.
    """

    slices: tuple[Dataset, ...]
    values: np.ndarray
    stored: Grid
    name: str

    def volume(self, quantity: Quantity, factors: float | np.ndarray = 1.0) -> Volume:
        """The values times `factors` (one number, or one for each slice) on an LPS grid with positive axes."""
        grid = canonical_grid(self.stored)
        scaled = np.empty(self.values.shape, np.float32)
        each = np.broadcast_to(factors, len(self.slices))[:, None, None]
        np.multiply(self.values, each, out=scaled, casting="same_kind")
        data = torch.from_numpy(rearrange(scaled, self.stored, grid))
        return Volume(data, grid, quantity).require_image(name=self.name)


def read_stack(folder: Path, modality: str, *, alike: Sequence[str] = ()) -> Stack:
    """The one series of `folder`.

    Parameters
    ----------
    modality : "CT" or "PT".
    alike : keywords of further elements, beside size and direction, that all slices must agree on.

    Raises
    ------
    WrongModality : another kind of object is among the files, or a localizer or multi-frame object.
    MissingGeometry : slices are missing, repeated, tilted, of several series, or differ in what must be alike.
    UnreadableFile : fewer than two slices, or a damaged one.
    """
    paths = [p for p in sorted(folder.iterdir()) if p.is_file() and is_dicom(p)]
    if len(paths) < 2:
        raise UnreadableFile(
            f"{folder} holds {len(paths)} DICOM files",
            needed=f"a {modality} series of two slices or more",
            remedy="Check the path.",
        )
    with reading(folder, DICOM):
        slices = [open_dicom(path, modality) for path in paths]
        _require_one_series(slices, folder, alike)
        row, column, normal = plane_directions(slices[0])
        positions = np.array([numbers(s, "ImagePositionPatient", 3) for s in slices])
        order = np.argsort(positions @ normal)
        positions = positions[order]
        step_mm = _regular_step(positions, normal, folder)
        row_mm, column_mm = pixel_spacing_mm(slices[0])
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([normal * step_mm, column * row_mm, row * column_mm], axis=1)
        matrix[:3, 3] = positions[0]
        values = np.empty((len(paths), int(slices[0].Rows), int(slices[0].Columns)))
        for place, n in enumerate(order):
            values[place] = _scaled(slices[n], paths[n])[0]
            slices[n] = _without_pixels(slices[n])
    return Stack(tuple(slices[n] for n in order), values, Grid(values.shape, tuple(map(tuple, matrix))), folder.name)


def _require_one_series(slices: list[Dataset], folder: Path, alike: Sequence[str]) -> None:
    """Refuse localizers, multi-frame objects, several series, and slices that differ where they must not."""
    for wrong, tag in (
        (lambda s: "LOCALIZER" in (s.get("ImageType") or []), "Image Type (0008,0008) LOCALIZER"),
        (lambda s: int(s.get("NumberOfFrames") or 1) > 1, "Number of Frames (0028,0008) above 1"),
    ):
        if any(map(wrong, slices)):
            raise WrongModality(
                f"{folder} holds an object with {tag}",
                needed="axial slices, one in a file",
                remedy="Move scout images elsewhere; export the series in classic, single-frame form.",
            )
    series = {str(s.get("SeriesInstanceUID")) for s in slices}
    likeness = {"Series Instance UID (0020,000E)": series}
    for keyword, count in _GEOMETRY:
        values = {tuple((np.round(numbers(s, keyword, count), 4) + 0.0).tolist()) for s in slices}
        likeness[tag_name(keyword)] = {str(v) for v in values}
    likeness |= {tag_name(keyword): {str(known(s, keyword)) for s in slices} for keyword in alike}
    for name, different in likeness.items():
        if len(different) > 1:
            raise MissingGeometry(
                f"{folder} holds slices of {len(different)} different {name}",
                needed="slices of one series, alike in size, direction and the way they were made",
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


def _without_pixels(item: Dataset) -> Dataset:
    """The header alone, so that a series is not held as bytes, as pixels and as values at once."""
    return Dataset({tag: element for tag, element in item.items() if tag != "PixelData"})


def _scaled(item: Dataset, path: Path) -> np.ndarray:
    """One slice [1, row, column] by its own slope and intercept."""
    slope = numbers(item, "RescaleSlope", error=UnreadableFile)[0]
    intercept = numbers(item, "RescaleIntercept", error=UnreadableFile)[0]
    return stored_pixels(item, path) * slope + intercept
