"""What SUV needs of a PT header, and no more: weight, dose, half-life, times of day, and dates moved into the past.

Times pass as they are and dates move alike for all scans of a person, so that every interval stays exact (PS3.15,
Retain Longitudinal Temporal Information with Modified Dates). The copy that holds them lives as long as its reading;
none of them goes into a cohort except as an interval. Points and colons of ACR-NEMA's dates and times are left out.
"""

import math
import re
from datetime import datetime, timedelta

from pydicom import Dataset

from photopeak.io.dicom_pt_times import (
    GE_PET,
    GE_SCAN_START,
    PHILIPS_BQML,
    PHILIPS_PET,
    PHILIPS_SUV,
    START_DATETIME,
    START_TIME,
    private_factor,
    private_text,
)

TRACER = "RadiopharmaceuticalInformationSequence"
_NUMBERS = ("PatientWeight", "FrameReferenceTime")
_DOSE = ("RadionuclideTotalDose", "RadionuclideHalfLife")
_TIMES = ("SeriesTime", "AcquisitionTime")
_DATES = ("SeriesDate", "AcquisitionDate")
_CLOCK, _MOMENT = re.compile(r"\d{2,6}(\.\d{1,6})?"), re.compile(r"(\d{8})(\d{4,6}(?:\.\d{1,6})?(?:[+-]\d{4})?)")


def pass_suv(original: Dataset, clean: Dataset, days: int) -> None:
    """Add to `clean`, an allow-listed copy of a PT object, what SUV needs of `original`; dates go back by `days`."""
    for keyword in _NUMBERS:
        _number(original, clean, keyword)
    for keyword in _TIMES:
        _matching(original, clean, keyword, _CLOCK)
    _matching(original, clean, "TimezoneOffsetFromUTC", re.compile(r"[+-]\d{4}"))
    for keyword in _DATES:
        if (moved := _moved(_text(original, keyword).replace(".", ""), days)) is not None:
            setattr(clean, keyword, moved)
    source, target = original.get(TRACER) or [], clean.get(TRACER) or []
    if source and target:
        for keyword in _DOSE:
            _number(source[0], target[0], keyword)
        _matching(source[0], target[0], START_TIME, _CLOCK)
        if match := _MOMENT.fullmatch(_text(source[0], START_DATETIME)):
            moved = _moved(match[1], days)
            if moved is not None:
                setattr(target[0], START_DATETIME, moved + match[2])
    _private(original, clean, days)


def _private(original: Dataset, clean: Dataset, days: int) -> None:
    """The factors of Philips and the scan start of GE, below their creators."""
    factors = {e: f for e in (PHILIPS_SUV, PHILIPS_BQML) if (f := private_factor(original, e)) is not None}
    for element, factor in factors.items():
        clean.private_block(*PHILIPS_PET, create=True).add_new(element, "DS", f"{factor:.10g}")
    match = _MOMENT.fullmatch(private_text(original, GE_PET, GE_SCAN_START))
    if match and (moved := _moved(match[1], days)) is not None:
        clean.private_block(*GE_PET, create=True).add_new(GE_SCAN_START, "DT", moved + match[2])


def _number(source: Dataset, target: Dataset, keyword: str) -> None:
    try:
        value = float(source.get(keyword))
    except (TypeError, ValueError):
        return
    if math.isfinite(value):
        setattr(target, keyword, source.get(keyword))


def _matching(source: Dataset, target: Dataset, keyword: str, pattern: re.Pattern[str]) -> None:
    if pattern.fullmatch(text := _text(source, keyword).replace(":", "")):
        setattr(target, keyword, text)


def _moved(date: str, days: int) -> str | None:
    try:
        return (datetime.strptime(date, "%Y%m%d") - timedelta(days=days)).strftime("%Y%m%d")
    except (ValueError, OverflowError):
        return None


def _text(item: Dataset, keyword: str) -> str:
    value = item.get(keyword)
    return str(value).strip() if isinstance(value, str) else ""
