"""A PT series: one file for each slice with its own slope, as SUV by body weight or in Bq/ml.

Units (0054,1001) says what the rescaled numbers are: BQML, GML (SUV already, of the kind that SUV Type names), or CNTS
with a factor in Philips' private group. The arithmetic and the choice of times are `photopeak.io.suv`.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pydicom import Dataset

from photopeak.core import Step, Study
from photopeak.core.errors import BadArgument, BadValues, MissingInput, WrongModality, WrongQuantity
from photopeak.core.units import BQML, SUV
from photopeak.io.dicom_file import DICOM, known, positive, tag_name, uid_hash
from photopeak.io.dicom_pt_times import (
    PHILIPS_BQML,
    PHILIPS_SUV,
    START_DATETIME,
    START_TIME,
    acquired_at,
    injected_at,
    injected_before,
    private_factor,
    times_of,
)
from photopeak.io.dicom_stack import Stack, read_stack
from photopeak.io.reading import reading
from photopeak.io.suv import Administration, Decay, Reference, mean_count_rate_s

Unit = Literal["suv", "bqml"]
ALIKE = ("Units", "DecayCorrection", "SUVType", "PatientWeight", "SeriesDate", "SeriesTime")
DATE_NEEDED_S = 6 * 3600.0
"""A radionuclide of a longer half-life may be scanned a day after its injection: the time of day is not enough."""
BQ_PER_MBQ = 1e6
_EXPORT = "Export the original series, or state it yourself (photopeak.io.dicom_pt.Told)."


@dataclass(frozen=True)
class Told:
    """What the user knows and a header does not say, or says wrongly; None leaves it to the header.

    Where it would change the SUV, numbers that a scanner turned into SUV are not taken: they are made from Bq/ml, or
    refused.

    Parameters
    ----------
    weight_kg, dose_mbq : body weight, and activity at the time of injection.
    decay : "START", "ADMIN" or "NONE", for Decay Correction (0054,1102).
    reference : which time a START series is corrected to: "series", "private" (GE), "frame" or "earliest".
    attenuation_corrected : the images are, although Corrected Image (0028,0051) is silent.
    """

    weight_kg: float | None = None
    dose_mbq: float | None = None
    decay: Decay | None = None
    reference: Reference | None = None
    attenuation_corrected: bool = False

    @property
    def changes_suv(self) -> bool:
        """True with a number or time that SUV is made of."""
        return any(fact is not None for fact in (self.weight_kg, self.dose_mbq, self.decay, self.reference))

    def __post_init__(self) -> None:
        for name, value, meant in (("decay", self.decay, Decay), ("reference", self.reference, Reference)):
            if value is not None and value not in get_args(meant):
                raise BadArgument(f"{name} {value!r}", needed=" or ".join(get_args(meant)), remedy="Use one of these.")


def read_pt(folder: Path | str, *, unit: Unit = "suv", told: Told | None = None) -> Study:
    """The one PT series of a folder as a study with the volume "pet", on an LPS grid with positive axes.

    Parameters
    ----------
    unit : "suv" [g/ml, by body weight], or "bqml", which needs neither weight nor dose.
    told : what the user knows better than the header.

    Raises
    ------
    MissingInput : weight, dose, half-life or a time is absent.
    BadValues : numbers or times that contradict one another.
    WrongQuantity : units that are not SUV by body weight and cannot be turned into it.
    WrongModality : not PT, not attenuation corrected, dynamic or gated.
    MissingGeometry, UnreadableFile : as `dicom_stack.read_stack`.
    """
    if unit not in get_args(Unit):
        raise BadArgument(f"unit {unit!r}", needed=" or ".join(get_args(Unit)), remedy="Use one of these names.")
    told = told or Told()
    stack = read_stack(Path(folder), "PT", alike=ALIKE)
    first = stack.slices[0]
    with reading(Path(folder), DICOM):
        _require_static_and_corrected(first, told)
        factors, how = _factors(stack, unit, told)
    series = uid_hash(first.SeriesInstanceUID)
    facts = {
        "modality": "PT",
        "manufacturer": known(first, "Manufacturer"),
        "camera_model": known(first, "ManufacturerModelName"),
        "sex": known(first, "PatientSex"),
        "weight_kg": told.weight_kg or positive(first, "PatientWeight"),
        "dose_mbq": told.dose_mbq or _dose_mbq(first),
        "suv": how,
    }
    facts = {name: fact for name, fact in facts.items() if fact is not None}
    dicom = {"series_sha256": series}
    if known(first, "FrameOfReferenceUID"):
        dicom["frame_of_reference_sha256"] = uid_hash(first.FrameOfReferenceUID)
    step = Step(("pet",), "read_pt", (), {"series_sha256": series, "unit": unit})
    volume = stack.volume(SUV if unit == "suv" else BQML, factors)
    return Study(f"pt-{series[:8]}", facts={**facts, "dicom": dicom}).add({"pet": volume}, step)


def _require_static_and_corrected(first: Dataset, told: Told) -> None:
    """Refuse dynamic, gated and reprojected series, and such as are not, or do not say that they are, corrected."""
    kind = " ".join(map(str, _several(first, "SeriesType")))
    if {"DYNAMIC", "GATED", "REPROJECTION"} & set(kind.split()):
        raise WrongModality(
            f"{tag_name('SeriesType')} {kind}", needed="a static or whole-body image", remedy="Choose that series."
        )
    corrected = _several(first, "CorrectedImage")
    if "ATTN" not in corrected and (corrected or not told.attenuation_corrected):
        raise WrongModality(
            f"{tag_name('CorrectedImage')} {' '.join(corrected) or 'absent'}",
            needed="ATTN among the corrections: without it the numbers are no concentrations",
            remedy="Choose the attenuation corrected series (or tell: attenuation_corrected=True, if it is absent).",
        )


def _factors(stack: Stack, unit: Unit, told: Told) -> tuple[float | np.ndarray, dict[str, Any]]:
    """What each slice is multiplied with, and how that was found."""
    first = stack.slices[0]
    units = (known(first, "Units") or "absent").strip()
    to_bqml: float | np.ndarray = 1.0
    if units == "GML":
        return _as_they_are(first, unit, told)
    if units == "CNTS":
        scale = _philips(stack, PHILIPS_SUV) if unit == "suv" and not told.changes_suv else None
        if scale is not None:
            return scale, {"from": "CNTS", "by": "Philips private SUV factor (7053,xx00)"}
        if (counts := _philips(stack, PHILIPS_BQML)) is None:
            raise MissingInput(
                f"{tag_name('Units')} CNTS without the factors of Philips' private group (7053,xx00) and (7053,xx09)",
                needed="one of the factors",
                remedy="Export the series with its private elements.",
            )
        to_bqml = counts
    elif units != "BQML":
        raise WrongQuantity(
            f"{tag_name('Units')} {units}", needed="BQML, GML, or CNTS of Philips", remedy="Export it in Bq/ml."
        )
    if unit == "bqml":
        return to_bqml, {"from": units}
    per_bqml, how = _suv_per_bqml(stack, told)
    return to_bqml * per_bqml, {"from": units, **how}


def _as_they_are(first: Dataset, unit: Unit, told: Told) -> tuple[float, dict[str, Any]]:
    """The factor 1, if the numbers are SUV by body weight, which an absent SUV Type means (PS3.3 C.8.9.1)."""
    if told.changes_suv:
        raise BadArgument(
            f"{tag_name('Units')} GML, with another weight, dose, decay or reference told",
            needed="Bq/ml, to make SUV from what is told",
            remedy="Export the series in Bq/ml, or leave the scanner's SUV as it is.",
        )
    kind = known(first, "SUVType") or "BW"
    if kind != "BW" or unit != "suv":
        raise WrongQuantity(
            f"{tag_name('Units')} GML with {tag_name('SUVType')} {kind}, wanted as {unit}",
            needed="SUV by body weight (BW), wanted as suv",
            remedy="Export the series in Bq/ml.",
        )
    return 1.0, {"from": "GML", "by": "SUVbw of the scanner"}


def _philips(stack: Stack, element: int) -> np.ndarray | None:
    """The private factor of each slice; None unless all of them have it."""
    factors = [private_factor(item, element) for item in stack.slices]
    some = [factor for factor in factors if factor is not None]
    return np.array(some) if len(some) == len(factors) else None


def _suv_per_bqml(stack: Stack, told: Told) -> tuple[float | np.ndarray, dict[str, Any]]:
    """SUV of 1 Bq/ml (in each slice, where none is corrected for decay), and the record of how it was found."""
    first = stack.slices[0]
    tracer = _tracer(first)
    given = Administration(
        _stated(first, "PatientWeight", told.weight_kg),
        _stated(tracer, "RadionuclideTotalDose", None if told.dose_mbq is None else told.dose_mbq * BQ_PER_MBQ),
        _stated(tracer, "RadionuclideHalfLife", None),
    )
    decay = told.decay or _decay(first)
    how: dict[str, Any] = {"decay": decay, "half_life_s": given.half_life_s}
    if decay == "ADMIN":
        return given.suv_per_bqml(0.0), how
    acquired = [_required(acquired_at(item), "AcquisitionDate", "AcquisitionTime") for item in stack.slices]
    if decay == "START":
        when, by = times_of(stack.slices, acquired).scan_start(given.half_life_s, told=told.reference)
        after_s = given.require_plausible((when - _injection(first, tracer, given, when)).total_seconds())
        return given.suv_per_bqml(after_s), {**how, "reference": by, "uptake_min": round(after_s / 60, 2)}
    injected = _injection(first, tracer, given, min(acquired))
    later = [
        (when - injected).total_seconds() + mean_count_rate_s(_frame_s(item), given.half_life_s)
        for item, when in zip(stack.slices, acquired, strict=True)
    ]
    uptake = {"reference": "each frame", "uptake_min": round(min(later) / 60, 2)}
    return np.array([given.suv_per_bqml(given.require_plausible(s)) for s in later]), {**how, **uptake}


def _tracer(first: Dataset) -> Dataset:
    return (first.get("RadiopharmaceuticalInformationSequence") or [Dataset()])[0]


def _dose_mbq(first: Dataset) -> float | None:
    dose_bq = positive(_tracer(first), "RadionuclideTotalDose")
    return None if dose_bq is None else dose_bq / BQ_PER_MBQ


def _decay(first: Dataset) -> Decay:
    """Decay Correction, if Corrected Image does not contradict it."""
    said = known(first, "DecayCorrection")
    decay = next((d for d in get_args(Decay) if d == said), None)
    if decay is None:
        raise MissingInput(
            f"{tag_name('DecayCorrection')} {said or 'absent'}", needed="START, ADMIN or NONE", remedy=_EXPORT
        )
    corrected = _several(first, "CorrectedImage")
    if corrected and ("DECY" in corrected) == (decay == "NONE"):
        raise BadValues(
            f"{tag_name('DecayCorrection')} {decay} and {tag_name('CorrectedImage')} {' '.join(corrected)}",
            needed="DECY exactly where decay was corrected for",
            remedy='Say which is right: decay="START", "ADMIN" or "NONE".',
        )
    return decay


def _injection(first: Dataset, tracer: Dataset, given: Administration, scan: datetime) -> datetime:
    """When the tracer was given: the date-time, else the last such time of day before the scan."""
    if (when := injected_at(first, tracer)) is not None:
        return when
    if given.half_life_s > DATE_NEEDED_S:
        return _required(None, START_DATETIME)
    return _required(injected_before(scan, tracer), START_DATETIME, START_TIME)


def _stated(item: Dataset, keyword: str, told: float | None) -> float:
    """A positive number, of the user or of the header."""
    value = told if told is not None else positive(item, keyword)
    if value is None:
        raise MissingInput(f"{tag_name(keyword)} absent or 0", needed="it, for SUV", remedy=_EXPORT)
    return value


def _frame_s(item: Dataset) -> float:
    duration_ms = positive(item, "ActualFrameDuration")
    if duration_ms is None:
        raise MissingInput(
            f"{tag_name('ActualFrameDuration')} absent or 0",
            needed="it, for images that are not corrected for decay",
            remedy="Export the original series.",
        )
    return duration_ms / 1000


def _required(when: datetime | None, *keywords: str) -> datetime:
    if when is None:
        raise MissingInput(
            f"{' and '.join(map(tag_name, keywords))} absent or no time",
            needed="the time, for the decay of the dose",
            remedy="Export the original series, or read it in Bq/ml.",
        )
    return when


def _several(item: Dataset, keyword: str) -> list[str]:
    value = item.get(keyword)
    if value is None or value == "":
        return []
    return [str(value)] if isinstance(value, str) else [str(v) for v in value]
