"""Raw SPECT projections: one multi-frame NM object, Image Type TOMO or GATED TOMO.

Each frame is placed by the vectors of the Multi-frame module (PS3.3 C.8.4.8: energy window, detector, rotation, R-R
interval, time slot, angular view), in whatever order the camera stored them; file order decides nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydicom import Dataset
from pydicom.tag import Tag

from photopeak.core import EnergyWindow, Projections, Step, Study
from photopeak.core.errors import BadArgument, BadValues, MissingGeometry, UnreadableFile, WrongModality
from photopeak.io.dicom_file import (
    DICOM,
    known,
    numbers,
    pixel_spacing_mm,
    positive,
    stored_pixels,
    tag_name,
    uid_hash,
)
from photopeak.io.dicom_nm import PROJECTIONS, isotope, nm_facts, open_nm
from photopeak.io.dicom_nm_orbit import Sweep, lying_as, read_orbit
from photopeak.io.reading import reading
from photopeak.physics.collimators import named_collimator
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.response import Collimator

VECTORS = ("EnergyWindow", "RRInterval", "TimeSlot", "Detector", "Rotation", "AngularView")
WINDOW, _, SLOT, DETECTOR = range(4)
SQUARE = 1e-3
SLACK_DEG = 1e-3
OURS = "photopeak"
# Energy of the line that the photopeak window is set on, keV (NuDat; the mercury X rays of Tl-201 by their mean).
PHOTOPEAK_KEV = {"Tc-99m": 140.5, "Tl-201": 71.0, "I-123": 159.0, "In-111": 171.3, "Ga-67": 93.3}


def read_nm_tomo(
    path: Path | str,
    *,
    window: int | None = None,
    position: str | None = None,
    radius_mm: float | None = None,
    collimator: str | None = None,
) -> Study:
    """One acquisition as a study with projections "raw" (photopeak) and "window_2" ... (its other energy windows).

    A gated acquisition also has "gate_1" ...; its "raw" is their sum. Views run along the rotation.

    Parameters
    ----------
    path : the multi-frame DICOM file.
    window : number of the photopeak's Energy Window Information item, from 1, where the isotope does not decide.
    position : HFS, HFP, FFS or FFP, where the header does not say how the patient lay.
    radius_mm : rotation axis to collimator, instead of Radial Position (0018,1142).
    collimator : a name of `photopeak.physics.collimators`, instead of Collimator/Grid Name (0018,1180).

    Raises
    ------
    WrongModality : not projections of a parallel-hole camera.
    MissingGeometry : a tag that places frames or heads is absent or contradicts another.
    UnreadableFile, BadValues : energy windows or counts that are none.
    """
    path = Path(path)
    with reading(path, DICOM):
        dataset = open_nm(
            path, PROJECTIONS, remedy="Choose the raw projections; a reconstructed series is no acquisition."
        )
        _require_plain_counts(dataset, path)
        index = frame_index(dataset, path)
        windows = _windows(dataset, int(index[:, WINDOW].max()))
        photopeak = _photopeak(dataset, windows, window)
        sweeps = read_orbit(dataset, views_of_sweeps(index), position=position)
        camera, order, warnings = _camera(dataset, sweeps, radius_mm, collimator)
        stored = stored_pixels(dataset, path)[np.lexsort(index.T[::-1])]
        stored = stored.reshape(len(windows), -1, len(order), *camera.shape)
        counts = np.concatenate(_turned(stored, sweeps), axis=2)[:, :, order].astype(np.float32)
        identity = uid_hash(dataset.SOPInstanceUID)
        facts = {**nm_facts(dataset), "acquisition": _acquisition(dataset, sweeps, counts.shape[1], warnings)}
        if lying := lying_as(dataset, position):
            facts["patient_position"] = lying
    seen = _named(torch.from_numpy(counts), camera, windows, photopeak)
    if not bool(seen["raw"].counts.any()):
        raise BadValues(
            f"{path} has no counts in energy window {photopeak + 1}",
            needed="an acquisition",
            remedy="Check that the right series and window were chosen.",
        )
    settings = {
        "sop_sha256": identity,
        "window": photopeak + 1,
        "position": position,
        "radius_mm": radius_mm,
        "collimator": collimator,
    }
    step = Step(tuple(seen), "read_nm_tomo", (), {k: v for k, v in settings.items() if v is not None})
    return Study(f"tomo-{identity[:8]}", projections=seen, facts=facts, history=(step,))


def frame_index(dataset: Dataset, path: Path) -> np.ndarray:
    """The place of each stored frame [frame, VECTORS], from 1, once every place is known to be taken exactly once."""
    frames = int(numbers(dataset, "NumberOfFrames")[0])
    pointer = dataset.get("FrameIncrementPointer") or []
    pointed = {int(tag) for tag in np.atleast_1d(np.array(pointer, dtype=np.int64))}
    ours = {name: int(Tag(f"{name}Vector")) for name in VECTORS}
    if ours["AngularView"] not in pointed or pointed - set(ours.values()):
        raise MissingGeometry(
            f"{path} has {tag_name('FrameIncrementPointer')} {pointer or 'absent'}",
            needed=f"{tag_name('AngularViewVector')}, and no others than {', '.join(VECTORS)}",
            remedy="Export the acquisition as NM TOMO or GATED TOMO; frames are never taken in file order.",
        )
    index = np.stack([_vector(dataset, name, frames, ours[name] in pointed) for name in VECTORS], axis=1)
    _require_whole(index, path)
    return index


def _require_whole(index: np.ndarray, path: Path) -> None:
    """Every window and slot must hold the same angular views once, numbered from 1 for each head and rotation."""
    windows, slots = int(index[:, WINDOW].max()), int(index[:, SLOT].max())
    views = {tuple(row) for row in index[:, DETECTOR:].tolist()}
    found = {tuple(row) for row in index.tolist()}
    numbered = {(*sweep, v) for sweep, n in views_of_sweeps(index).items() for v in range(1, n + 1)}
    expected = windows * slots * len(views)
    whole = index.min() == 1 and len(index) == len(found) == expected and numbered == views
    if not whole or {row[:DETECTOR] for row in found} != {
        (w, 1, s) for w in range(1, windows + 1) for s in range(1, slots + 1)
    }:
        raise MissingGeometry(
            f"{path} has {len(index)} frames at {len(found)} places, of {windows} energy windows of {slots} slots "
            f"of {len(views)} angular views by their vectors (0054,0010) to (0054,0090)",
            needed="each frame once, in one R-R interval, with angular views numbered from 1 for each head",
            remedy="Export the whole acquisition again; missing frames cannot be made up.",
        )


def views_of_sweeps(index: np.ndarray) -> dict[tuple[int, int], int]:
    """Number of angular views of each (detector, rotation) of a frame index."""
    views: dict[tuple[int, int], int] = {}
    for detector, rotation, view in index[:, DETECTOR:].tolist():
        views[detector, rotation] = max(views.get((detector, rotation), 0), view)
    return views


def _vector(dataset: Dataset, name: str, frames: int, pointed: bool) -> np.ndarray:
    """One vector; ones where the object has no use for it."""
    counted = f"NumberOf{name}s"
    announced = None if name == "AngularView" else dataset.get(counted)
    vector = numbers(dataset, f"{name}Vector", frames).astype(int) if pointed else np.ones(frames, dtype=int)
    if announced not in (None, vector.max()):
        raise MissingGeometry(
            f"{tag_name(counted)} is {announced} and {tag_name(f'{name}Vector')} reaches {vector.max()}",
            needed="as many as announced",
            remedy="Export the whole acquisition again.",
        )
    return vector


def _require_plain_counts(dataset: Dataset, path: Path) -> None:
    """Refuse scaled counts, whose noise is not theirs any more, and collimators that are not parallel."""
    for keyword, unscaled in (("RescaleSlope", 1), ("RescaleIntercept", 0)):
        if (given := dataset.get(keyword)) not in (None, unscaled):
            raise BadValues(
                f"{path} has {tag_name(keyword)} {given}", needed="counts as acquired", remedy="Export them unscaled."
            )
    for head in dataset.get("DetectorInformationSequence") or []:
        if known(head, "CollimatorType") not in (None, "PARA", "UNKN"):
            raise WrongModality(
                f"{path} has {tag_name('CollimatorType')} {head.CollimatorType}",
                needed="PARA, parallel holes",
                remedy="No reader for this camera is here yet.",
            )


def _windows(dataset: Dataset, count: int) -> list[EnergyWindow]:
    items = dataset.get("EnergyWindowInformationSequence") or []
    if len(items) < count:
        raise UnreadableFile(
            f"{tag_name('EnergyWindowInformationSequence')} has {len(items)} items",
            needed=f"{count}, one for each energy window of the frames",
            remedy="Export the acquisition with its energy windows.",
        )
    windows = []
    for item in items[:count]:
        ranges = item.get("EnergyWindowRangeSequence") or []
        if len(ranges) != 1:
            raise UnreadableFile(
                f"{tag_name('EnergyWindowRangeSequence')} has {len(ranges)} items",
                needed="one range for each energy window",
                remedy="Export windows that were not added up.",
            )
        lower, upper = (
            float(numbers(ranges[0], f"EnergyWindow{side}Limit", error=UnreadableFile)[0])
            for side in ("Lower", "Upper")
        )
        if not 0 < lower < upper:
            raise UnreadableFile(
                f"{tag_name('EnergyWindowLowerLimit')} {lower:g} to {tag_name('EnergyWindowUpperLimit')} {upper:g} keV",
                needed="a lower limit below an upper one",
                remedy="Export the acquisition with its energy windows.",
            )
        windows.append(EnergyWindow(lower, upper))
    return windows


def _photopeak(dataset: Dataset, windows: list[EnergyWindow], asked: int | None) -> int:
    """Index of the photopeak's window: the one asked for, else the only one that holds the isotope's line."""
    if asked is not None and 1 <= asked <= len(windows):
        return asked - 1
    nuclide = isotope(dataset)
    line = PHOTOPEAK_KEV.get(nuclide or "")
    holding = [n for n, w in enumerate(windows) if line is None or w.lower_kev <= line <= w.upper_kev]
    if asked is not None or len(holding) != 1:
        listed = ", ".join(f"{n} ({w.lower_kev:g}-{w.upper_kev:g} keV)" for n, w in enumerate(windows, start=1))
        raise UnreadableFile(
            f"energy windows {listed} of {nuclide or 'an unknown isotope'}" + (f", asked for {asked}" if asked else ""),
            needed="one window that is known to be the photopeak's",
            remedy="Say which: window=1 (--window 1).",
        )
    return holding[0]


def _camera(
    dataset: Dataset, sweeps: list[Sweep], radius_mm: float | None, collimator: str | None
) -> tuple[ParallelHole, np.ndarray, list[str]]:
    """The camera, the order of its views along the rotation from the first, and what the user should know of it.

    Where the orbit's radius is unknown the camera is ideal in resolution, so that the number in its place (clear of
    the whole image) has no effect.
    """
    row_mm, column_mm = pixel_spacing_mm(dataset)
    if abs(row_mm - column_mm) > SQUARE * column_mm:
        raise MissingGeometry(
            f"{tag_name('PixelSpacing')} is {row_mm:g} x {column_mm:g} mm",
            needed="square pixels",
            remedy="Export the projections without resampling.",
        )
    first = sweeps[0].angles_deg
    sense = -1.0 if len(first) > 1 and first[1] < first[0] else 1.0
    turned = (sense * (np.concatenate([sweep.angles_deg for sweep in sweeps]) - first[0]) + SLACK_DEG) % 360
    order = np.argsort(turned, kind="stable")
    angles = first[0] + sense * (turned - SLACK_DEG)
    holes, warnings = _collimator(dataset, collimator)
    given = [sweep.radii_mm for sweep in sweeps if sweep.radii_mm is not None]
    if radius_mm is not None:
        radii = np.full(len(angles), float(radius_mm))
    elif len(given) == len(sweeps):
        radii = np.concatenate(given)
    else:
        holes, radii = None, np.full(len(angles), dataset.Columns * column_mm)
        warnings.append(f"{tag_name('RadialPosition')} is absent: no resolution is modelled unless a radius is given.")
    place = (tuple(angles[order].tolist()), tuple(radii[order].tolist()))
    camera = ParallelHole(*place, (int(dataset.Rows), int(dataset.Columns)), float(column_mm), holes)
    return camera, order, warnings + _offsets(dataset)


def _collimator(dataset: Dataset, asked: str | None) -> tuple[Collimator | None, list[str]]:
    """The collimator asked for, else the one that all heads name; a warning where that is none that is known."""
    if asked is not None:
        return named_collimator(asked), []
    names = {known(head, "CollimatorGridName") or "absent" for head in dataset.get("DetectorInformationSequence") or []}
    maker = known(dataset, "Manufacturer")
    try:
        if len(names) != 1:
            raise BadArgument(f"collimators {names}", needed="one name", remedy="Choose one.")
        return named_collimator(names.pop(), None if maker == OURS else maker), []
    except BadArgument as error:
        return None, [f"{tag_name('CollimatorGridName')}: {error.given} is not known; no resolution is modelled."]


def _offsets(dataset: Dataset) -> list[str]:
    """Warnings of a rotation axis that may not lie in the middle column."""
    corrected = np.atleast_1d(np.array(dataset.get("CorrectedImage") or [], dtype=str))
    found = []
    for head in dataset.get("DetectorInformationSequence") or []:
        offsets = np.atleast_1d(np.array(head.get("CenterOfRotationOffset") or 0.0, dtype=float))
        if offsets.any() and "COR" not in corrected:
            found.append(f"{tag_name('CenterOfRotationOffset')} is {offsets.tolist()} mm and is not corrected here.")
        if np.any(np.array(head.get("ZoomCenter") or 0.0, dtype=float)):
            found.append(f"{tag_name('ZoomCenter')} is {list(head.ZoomCenter)} mm; the axis is taken as the middle.")
    return found


def _turned(stored: np.ndarray, sweeps: list[Sweep]) -> list[np.ndarray]:
    """Frames [window, slot, view, row, column] of each sweep, rows to the head and columns along (cos phi, sin phi)."""
    ends = np.cumsum([len(sweep.angles_deg) for sweep in sweeps])
    parts = np.split(stored, ends[:-1], axis=2)
    return [
        np.flip(part, tuple(stored.ndim - 2 + axis for axis in sweep.flips))
        for part, sweep in zip(parts, sweeps, strict=True)
    ]


def _acquisition(dataset: Dataset, sweeps: list[Sweep], gates: int, warnings: list[str]) -> dict[str, Any]:
    """Plain facts of the acquisition, what decided its geometry, and warnings."""
    turns = dataset.get("RotationInformationSequence") or [Dataset()]
    facts = {
        "sweeps": len(sweeps),
        "gates": gates if gates > 1 else None,
        "frame_ms": positive(turns[0], "ActualFrameDuration"),
        "table_height_mm": positive(turns[0], "TableHeight"),
        "detector_motion": known(dataset, "TypeOfDetectorMotion"),
        "oriented_by": sweeps[0].oriented_by,
        "warnings": warnings or None,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _named(
    counts: torch.Tensor, camera: ParallelHole, windows: list[EnergyWindow], photopeak: int
) -> Mapping[str, Projections]:
    """Projections by name, of counts [window, slot, view, row, column]; "raw" comes first."""
    summed = {"raw": Projections(counts[photopeak].sum(0), camera, windows[photopeak])}
    for number, window in enumerate(windows):
        if number != photopeak:
            summed[f"window_{number + 1}"] = Projections(counts[number].sum(0), camera, window)
    if counts.shape[1] == 1:
        return summed
    return summed | {
        f"gate_{slot}": Projections(gate, camera, windows[photopeak]) for slot, gate in enumerate(counts[photopeak], 1)
    }
