"""Dates, times and private elements of a PT object: what SUV needs of a header beside numbers."""

import math
import re
from datetime import datetime, timedelta

from pydicom import Dataset

from photopeak.io.suv import Times

START_DATETIME, START_TIME = "RadiopharmaceuticalStartDateTime", "RadiopharmaceuticalStartTime"
GE_PET, GE_SCAN_START = (0x0009, "GEMS_PETD_01"), 0x0D
PHILIPS_PET, PHILIPS_SUV, PHILIPS_BQML = (0x7053, "Philips PET Private Group"), 0x00, 0x09
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)")
_TIME = re.compile(r"(\d\d):?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?")
_MOMENT = re.compile(r"(\d{8})(\d{4,6}(?:\.\d{1,6})?)([+-]\d{4})?")


def private_text(dataset: Dataset, place: tuple[int, str], element: int) -> str:
    """Text of a private element by its creator, whatever block the creator has; empty where it is absent."""
    group, creator = place
    try:
        value = dataset.private_block(group, creator)[element].value
    except KeyError:
        return ""
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else str(value).strip()


def private_factor(dataset: Dataset, element: int) -> float | None:
    """A positive factor of Philips' private group: SUV or Bq/ml for one count; 0 and absent are None."""
    try:
        factor = float(private_text(dataset, PHILIPS_PET, element))
    except ValueError:
        return None
    return factor if math.isfinite(factor) and factor > 0 else None


def joined(date: str, time: str) -> datetime | None:
    """The moment of a DICOM date (DA) and time (TM); None where one is absent or neither."""
    day, clock = _DATE.fullmatch(date.strip()), _TIME.fullmatch(time.strip())
    if day is None or clock is None:
        return None
    year, month, number = map(int, day.groups())
    hour, minute, second = (int(n or 0) for n in clock.groups()[:3])
    microsecond = int((clock[4] or "0").ljust(6, "0"))
    try:
        return datetime(year, month, number, hour, minute, second, microsecond)
    except ValueError:
        return None


def moment(text: str, zone: str = "") -> datetime | None:
    """The local moment of a DICOM date-time (DT).

    One that carries an offset from UTC is turned to `zone`, Timezone Offset From UTC (0008,0201); without `zone` nobody
    knows what the other times of the header mean beside it, and it is None.
    """
    match = _MOMENT.fullmatch(text.strip())
    if match is None or (when := joined(match[1], match[2])) is None:
        return None
    if match[3] is None:
        return when
    here = _offset(zone)
    return None if here is None else when - (_offset(match[3]) or timedelta()) + here


def _offset(text: str) -> timedelta | None:
    match = re.fullmatch(r"([+-])(\d\d)(\d\d)", text.strip())
    if match is None:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -offset if match[1] == "-" else offset


def times_of(slices: tuple[Dataset, ...], acquired: list[datetime]) -> Times:
    """The times of a series whose slices were acquired at `acquired`."""
    first = slices[acquired.index(min(acquired))]
    return Times(
        series=joined(_text(first, "SeriesDate"), _text(first, "SeriesTime")),
        acquired=acquired,
        private=moment(private_text(first, GE_PET, GE_SCAN_START), _text(first, "TimezoneOffsetFromUTC")),
        frame_reference_s=seconds(first, "FrameReferenceTime"),
        duration_s=seconds(first, "ActualFrameDuration"),
    )


def acquired_at(item: Dataset) -> datetime | None:
    """Acquisition Date and Time of a slice."""
    return joined(_text(item, "AcquisitionDate"), _text(item, "AcquisitionTime"))


def injected_at(item: Dataset, tracer: Dataset) -> datetime | None:
    """Radiopharmaceutical Start DateTime (0018,1078), where it is there and its zone is known."""
    return moment(_text(tracer, START_DATETIME), _text(item, "TimezoneOffsetFromUTC"))


def injected_before(when: datetime, tracer: Dataset) -> datetime | None:
    """The last moment before `when` with the time of day of Radiopharmaceutical Start Time (0018,1072)."""
    at = joined(when.strftime("%Y%m%d"), _text(tracer, START_TIME))
    return at if at is None or at <= when else at - timedelta(days=1)


def seconds(item: Dataset, keyword: str) -> float | None:
    """A positive time in ms as seconds; None where it is absent or 0."""
    value = item.get(keyword)
    return float(value) / 1000 if value not in (None, "") and float(value) > 0 else None


def _text(item: Dataset, keyword: str) -> str:
    value = item.get(keyword)
    return "" if value is None else str(value)
