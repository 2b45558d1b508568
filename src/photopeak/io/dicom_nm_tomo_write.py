"""Simulated projections written as a complete NM TOMO or GATED TOMO object, marked as what they are.

Stored counts are whole numbers: what a camera could have counted. Expectations have no place in a raw acquisition.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from photopeak.core import Projections
from photopeak.core.errors import BadArgument, BadValues
from photopeak.io.dicom_nm_modules import MAX_STORED, decimal, set_frames, set_study, simulated_object, store
from photopeak.io.dicom_nm_orbit import angle_of_dicom
from photopeak.io.dicom_scan import SimulatedScan
from photopeak.physics.parallel_hole import ParallelHole

STEP_TOLERANCE_DEG = 1e-3
RR_MS = 1000.0
RAW, GATE = "raw", "gate_"


def write_nm_tomo(
    projections: Projections | Mapping[str, Projections],
    out: Path,
    *,
    patient: str,
    series_description: str = "SIMULATED TOMO",
    facts: Mapping[str, Any] | None = None,
    heads: int = 1,
    frame_ms: float = 25_000.0,
    scan: SimulatedScan | None = None,
) -> Path:
    """Simulated counts as one NM object; the patient is called "SIMULATED^<patient>".

    Parameters
    ----------
    projections : whole counts up to 65535 of a `ParallelHole` with equal angular steps. Several of one camera by name:
        "raw" and further energy windows in their order, or "gate_1" ... of one window (then "raw", if given, must be
        their sum, and is not stored).
    patient, facts : as for `write_nm`.
    heads : detectors that share the views: the first has the first views, and so on.
    frame_ms : duration of a view.
    scan : the visit that the acquisition belongs to; a study of its own if left out.

    Raises
    ------
    BadValues : counts that are no whole numbers, or too many for 16 bits.
    BadArgument : projections that one acquisition cannot hold.
    """
    facts = facts or {}
    frames = _frames_by_name(projections)
    gated = RAW not in frames
    camera = _one_camera(frames, heads)
    windows = [one.window for one in frames.values()][: 1 if gated else None]
    counts = np.stack([_whole(one, name) for name, one in frames.items()])
    dataset = simulated_object(
        patient=patient,
        series_description=series_description,
        kind="GATED TOMO" if gated else "TOMO",
        facts=facts,
        windows=windows,
    )
    set_study(dataset, patient, counts.tobytes())
    if scan is not None:
        scan.enter(dataset)
    _set_orbit(dataset, camera, heads, frame_ms)
    if gated:
        _set_gates(dataset, len(frames))
    vectors = _vectors(len(frames), len(camera.angles_deg), heads, gated=gated)
    for name, values in vectors.items():
        setattr(dataset, name, values.tolist())
    set_frames(dataset, np.flip(counts, axis=2).reshape(-1, *camera.shape), list(vectors))
    record = [patient, series_description, camera.to_dict(), facts, heads, frame_ms, dataset.StudyInstanceUID]
    return store(dataset, Path(out), record)


def _frames_by_name(projections: Projections | Mapping[str, Projections]) -> dict[str, Projections]:
    """What is stored, in its order: "raw" and other windows, or gates alone."""
    given = {RAW: projections} if isinstance(projections, Projections) else dict(projections)
    gates = {name: one for name, one in given.items() if name.startswith(GATE)}
    if not gates and RAW in given:
        return {RAW: given[RAW], **given}
    numbered = [f"{GATE}{n}" for n in range(1, len(gates) + 1)]
    whole = sorted(gates) == sorted(numbered) and set(given) <= {RAW, *gates} and len(gates) > 1
    if whole and len({one.window for one in gates.values()}) == 1:
        summed = np.sum([one.counts.numpy() for one in gates.values()], axis=0)
        if RAW not in given or np.array_equal(summed, given[RAW].counts.numpy()):
            return {name: gates[name] for name in numbered}
    raise BadArgument(
        f"projections {', '.join(given) or 'none'}",
        needed='"raw" and other energy windows, or "gate_1" to "gate_<n>" of one window with their sum as "raw"',
        remedy="Write other projections as a saved study.",
    )


def _one_camera(frames: Mapping[str, Projections], heads: int) -> ParallelHole:
    """The camera of all projections, if a rotation in equal steps describes it."""
    cameras = {one.camera for one in frames.values()}
    camera = cameras.pop()
    if cameras or not isinstance(camera, ParallelHole):
        raise BadArgument(
            f"projections of {1 + len(cameras)} cameras, one a {camera.kind}",
            needed="one parallel_hole",
            remedy="Write each acquisition by itself.",
        )
    views = len(camera.angles_deg)
    if heads < 1 or views % heads:
        raise BadArgument(f"{views} views of {heads} heads", needed="as many for each head", remedy="Change one.")
    steps = np.diff(np.reshape(camera.angles_deg, (heads, -1)), axis=1)
    if steps.size and (np.ptp(steps) > STEP_TOLERANCE_DEG or abs(steps.mean()) < STEP_TOLERANCE_DEG):
        raise BadArgument(
            f"view angles in steps of {steps.min():g} to {steps.max():g} degrees",
            needed="equal steps: DICOM gives a rotation its start and step",
            remedy="Write the full acquisition, or a saved study.",
        )
    return camera


def _whole(one: Projections, name: str) -> np.ndarray:
    counts = one.counts.numpy()
    if counts.max() > MAX_STORED or (counts != np.rint(counts)).any():
        raise BadValues(
            f'"{name}" with counts up to {counts.max():g}, {int((counts != np.rint(counts)).sum())} of them fractions',
            needed=f"whole counts up to {MAX_STORED}, as a camera stores them",
            remedy="Draw Poisson counts first; keep expectations in a saved study.",
        )
    return counts


def _set_orbit(dataset: Dataset, camera: ParallelHole, heads: int, frame_ms: float) -> None:
    """Rotation, detectors and pixel size."""
    angles, radii = np.reshape(camera.angles_deg, (heads, -1)), np.reshape(camera.radii_mm, (heads, -1))
    views = angles.shape[1]
    step = float(np.diff(angles, axis=1).mean()) if views > 1 else 360.0
    turn = Dataset()
    turn.StartAngle, turn.AngularStep = _dicom_angle(angles[0, 0]), decimal(abs(step))
    turn.RotationDirection = "CW" if step > 0 else "CC"
    turn.ScanArc, turn.NumberOfFramesInRotation = decimal(abs(step) * views), views
    turn.ActualFrameDuration = round(frame_ms)
    dataset.RotationInformationSequence, dataset.NumberOfRotations = [turn], 1
    items = []
    for start, orbit in zip(angles[:, 0], radii, strict=True):
        head = Dataset()
        if camera.collimator is not None:
            head.CollimatorGridName = camera.collimator.name
        head.CollimatorType, head.FocalDistance = "PARA", 0
        head.StartAngle = _dicom_angle(start)
        head.RadialPosition = [decimal(r) for r in (orbit if np.ptp(orbit) else orbit[:1])]
        along = math.radians(start)
        head.ImageOrientationPatient = [decimal(v) for v in (math.cos(along), math.sin(along), 0, 0, 0, -1)]
        head.ImagePositionPatient = None
        items.append(head)
    dataset.DetectorInformationSequence, dataset.NumberOfDetectors = items, heads
    dataset.TypeOfDetectorMotion = "STEP AND SHOOT"
    dataset.PixelSpacing = [decimal(camera.pixel_mm)] * 2


def _dicom_angle(angle_deg: float) -> str:
    return decimal(angle_of_dicom(angle_deg) % 360)


def _vectors(frames: int, views: int, heads: int, *, gated: bool) -> dict[str, np.ndarray]:
    """The vectors of frames stored [window or slot, head, view], in the order in which DICOM lists them."""
    slot, head, view = np.indices((frames, heads, views // heads)).reshape(3, -1) + 1
    ones = np.ones_like(view)
    gating = {"RRIntervalVector": ones, "TimeSlotVector": slot} if gated else {}
    windows = ones if gated else slot
    vectors = {"EnergyWindowVector": windows, "DetectorVector": head, "RotationVector": ones}
    return vectors | gating | {"AngularViewVector": view}


def _set_gates(dataset: Dataset, slots: int) -> None:
    """One R-R interval of equal time slots; a simulated heart beats once a second."""
    data, gated = Dataset(), Dataset()
    data.FrameTime = decimal(RR_MS / slots)
    gated.DataInformationSequence = [data]
    dataset.NumberOfRRIntervals, dataset.NumberOfTimeSlots = 1, slots
    dataset.GatedInformationSequence = [gated]
