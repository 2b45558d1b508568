"""Where the heads of a rotating camera stood for each view, from the tags of a TOMO object.

Start Angle (0054,0200) is zero at the patient's back and grows toward his left (PS3.3 C.8.4.11 and C.8.4.12; CW
lowers it). It belongs to the patient, not to the gantry. Photopeak's view angle is zero at anterior and grows toward
the left: 180 degrees minus DICOM's. How rows and columns of the images lie is certain where Image Orientation
(Patient) says so; the usual display, seen from the detector with the head up, is taken only for head-first supine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from photopeak.core.errors import BadArgument, MissingGeometry
from photopeak.io.dicom_file import numbers, plane_directions, tag_name
from photopeak.io.dicom_nm import patient_position

ORIENTATION_TOLERANCE_DEG = 5.0
POSITIONS = ("HFS", "HFP", "FFS", "FFP")
_SENSE = {"CW": -1, "CC": 1}


@dataclass(frozen=True)
class Sweep:
    """The views of one head in one rotation, in the order of their Angular View Vector.

    Parameters
    ----------
    angles_deg : [view], from anterior toward the patient's left.
    radii_mm : [view], rotation axis to head; None where the header does not say.
    flips : axes (0 rows, 1 columns) along which a stored frame is turned into photopeak's order.
    oriented_by : what decided the flips.
    """

    angles_deg: np.ndarray
    radii_mm: np.ndarray | None
    flips: tuple[int, ...]
    oriented_by: str


def read_orbit(dataset: Dataset, views: dict[tuple[int, int], int], *, position: str | None) -> list[Sweep]:
    """A Sweep for each (detector, rotation), both counted from 1, in this order.

    Parameters
    ----------
    views : number of views of each (detector, rotation) that the frames belong to.
    position : how the patient lay, where the header does not say; an error where it says otherwise.
    """
    detectors = _items(dataset, "DetectorInformationSequence", max(d for d, _ in views))
    rotations = _items(dataset, "RotationInformationSequence", max(r for _, r in views))
    _require_one_table_position(rotations)
    lying = lying_as(dataset, position)
    sweeps: list[Sweep] = []
    oriented: dict[int, tuple[tuple[int, ...], str]] = {}
    for (detector, rotation), count in sorted(views.items()):
        head, turn = detectors[detector - 1], rotations[rotation - 1]
        sharing = sum(r == rotation for _, r in views)
        start = _start_deg(head, turn, detector=detector, alone=sharing == 1, rotations=len(rotations))
        angles = _angles_deg(turn, start, count, heads=sharing)
        if detector not in oriented:
            oriented[detector] = _orientation(head, float(angles[0]), lying)
        flips, by = oriented[detector]
        sweeps.append(Sweep(angles, _radii_mm(head, turn, count), flips, by))
    return sweeps


def lying_as(dataset: Dataset, position: str | None) -> str | None:
    """HFS, HFP, FFS or FFP by the header, else by the caller."""
    if position is not None and position not in POSITIONS:
        raise BadArgument(f"position {position!r}", needed=" or ".join(POSITIONS), remedy="Use one of these.")
    found = patient_position(dataset)
    if position is not None and found is not None and found != position:
        raise BadArgument(
            f"position {position!r} of a patient who lay {found} by {tag_name('PatientOrientationCodeSequence')}",
            needed="what the header says",
            remedy="Leave it out.",
        )
    return found or position


def angle_of_dicom(start_deg: float) -> float:
    """Photopeak's view angle, -180 to 180 degrees, of a DICOM angle; its own inverse up to whole turns."""
    return -math.remainder(start_deg - 180, 360)


def _items(dataset: Dataset, keyword: str, needed: int) -> Sequence[Dataset]:
    items: Sequence[Dataset] = dataset.get(keyword) or []
    if len(items) < needed:
        raise MissingGeometry(
            f"{tag_name(keyword)} has {len(items)} items",
            needed=f"{needed}, one for each that the frames belong to",
            remedy="Export the acquisition with its geometry; angles are never guessed.",
        )
    return items


def _require_one_table_position(rotations: Sequence[Dataset]) -> None:
    places = {float(r.get("TableTraverse") or 0) for r in rotations}
    if len(places) > 1:
        raise MissingGeometry(
            f"{tag_name('TableTraverse')} is {sorted(places)} mm in one object",
            needed="one table position",
            remedy="Export each bed position as its own series.",
        )


def _start_deg(head: Dataset, turn: Dataset, *, detector: int, alone: bool, rotations: int) -> float:
    """Where a head stands at the start of a rotation: heads that turn together each have a Start Angle of their own."""
    if alone:
        return float(numbers(turn, "StartAngle")[0])
    if rotations > 1:
        raise MissingGeometry(
            f"{tag_name('RotationVector')} has {rotations} rotations that several heads share",
            needed="one rotation of several heads, or a rotation for each head",
            remedy="Export each rotation as its own series.",
        )
    if "StartAngle" not in head:
        raise MissingGeometry(
            f"{tag_name('StartAngle')} is absent from item {detector} of {tag_name('DetectorInformationSequence')}",
            needed="a start angle for each of the heads that share a rotation",
            remedy="Export again with the angle of each head; the angle between heads is not guessed.",
        )
    return float(numbers(head, "StartAngle")[0])


def _angles_deg(turn: Dataset, start_deg: float, views: int, *, heads: int) -> np.ndarray:
    sense = _SENSE.get(str(turn.get("RotationDirection")))
    if sense is None:
        raise MissingGeometry(
            f"{tag_name('RotationDirection')} is {turn.get('RotationDirection', 'absent')}",
            needed="CW or CC",
            remedy="Export the acquisition with its geometry; the direction is never guessed.",
        )
    step = float(numbers(turn, "AngularStep")[0])
    announced = turn.get("NumberOfFramesInRotation")
    if step <= 0 or announced not in (None, views):
        raise MissingGeometry(
            f"{tag_name('AngularStep')} is {step:g} and {tag_name('NumberOfFramesInRotation')} is {announced}",
            needed=f"a positive step, and the {views} views that the vectors give each head",
            remedy="Export the whole acquisition again.",
        )
    _require_arc(turn, step, views, heads)
    return angle_of_dicom(start_deg) - sense * step * np.arange(views)


def _require_arc(turn: Dataset, step: float, views: int, heads: int) -> None:
    """Scan Arc, where it is given, must be what steps make of it: between views or around them, of one head or all."""
    arc = turn.get("ScanArc")
    possible = [step * n for n in (views, views - 1, heads * views)]
    if arc is not None and min(abs(float(arc) - one) for one in possible) > 0.5 * step:
        raise MissingGeometry(
            f"{tag_name('ScanArc')} is {float(arc):g} degrees, for {views} views of {tag_name('AngularStep')} {step:g}",
            needed="arc and steps that agree",
            remedy="Export the whole acquisition again.",
        )


def _radii_mm(head: Dataset, turn: Dataset, views: int) -> np.ndarray | None:
    """Radial Position of each view: of the head, else of the rotation; one value stands for all views."""
    source = next((item for item in (head, turn) if item.get("RadialPosition") not in (None, "")), None)
    if source is None:
        return None
    given = np.atleast_1d(np.asarray(source.RadialPosition)).size
    radii = numbers(source, "RadialPosition", given)
    if given not in (1, views) or (radii <= 0).any():
        raise MissingGeometry(
            f"{tag_name('RadialPosition')} has {given} values from {radii.min():g} mm",
            needed=f"one positive length, or {views}, one for each view",
            remedy="Export the acquisition with its orbit.",
        )
    return np.broadcast_to(radii, views).copy()


def _orientation(head: Dataset, angle_deg: float, lying: str | None) -> tuple[tuple[int, ...], str]:
    """How to turn frames so that rows run to the head and columns along (cos phi, sin phi)."""
    if not head.get("ImageOrientationPatient"):
        if lying != "HFS":
            raise MissingGeometry(
                f"{tag_name('ImageOrientationPatient')} is absent and the patient's position is {lying or 'unknown'}",
                needed="the orientation of the images, or a patient known to lie head first, supine",
                remedy='If he did, say position="HFS" (--position HFS); otherwise left and right are not certain.',
            )
        return (0,), "head-first supine, seen from the detector with the head up"
    row, column, inward = plane_directions(head)
    phi = math.radians(angle_deg)
    along, away = np.array([math.cos(phi), math.sin(phi), 0.0]), np.array([math.sin(phi), -math.cos(phi), 0.0])
    least = math.cos(math.radians(ORIENTATION_TOLERANCE_DEG))
    if min(-(inward @ away), abs(row @ along), abs(column[2])) < least:
        stands = -math.degrees(math.atan2(inward[0], inward[1]))
        raise MissingGeometry(
            f"{tag_name('ImageOrientationPatient')} {[*row.round(3).tolist(), *column.round(3).tolist()]} is seen from "
            f"{stands:.1f} degrees and {tag_name('StartAngle')} says {angle_deg:.1f} (0 anterior, 90 left)",
            needed="an upright image seen from where the head starts",
            remedy="Export again: one of the two tags is wrong, and left and right hang on it.",
        )
    flips = ((0,) if column[2] < 0 else ()) + ((1,) if row @ along < 0 else ())
    return flips, tag_name("ImageOrientationPatient")
