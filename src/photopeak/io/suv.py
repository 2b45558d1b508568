"""The arithmetic of the standardised uptake value, without any file.

SUVbw = concentration [Bq/ml] x weight [g] / dose [Bq], concentration and dose at one moment (Kinahan and Fletcher,
Semin Ultrasound CT MR 2010; 31:496). Which moment the concentrations of an image are of is what Decay Correction
(0054,1102) says: the start of the scan, the injection, or each frame's own time. Where the start of the scan is to be
found follows the QIBA profile of FDG PET/CT (its vendor-neutral account of the computation), since scanners and
workstations write other things into Series Time than the standard asks for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from photopeak.core.errors import BadValues

Decay = Literal["START", "ADMIN", "NONE"]
Reference = Literal["series", "private", "frame", "earliest"]
ROUNDING_S = 1.0
"""Series and Acquisition Time of one moment may differ by as much."""
SLACK_S = 60.0
"""By which Series Time and Frame Reference Time may disagree, beside the length of a frame."""
LONGEST_HALF_LIVES = 10.0
"""Less than 1/1000 of the dose is left then: nobody scans so late, so a date must be wrong. For F-18 it is 18 h, less
than the day that seems to pass where a time of injection is a little later than that of the scan."""
G_PER_KG = 1000.0


@dataclass(frozen=True)
class Administration:
    """Who was given what.

    Parameters
    ----------
    weight_kg : body weight, 0.2 to 500 kg.
    dose_bq : activity at the time of injection, 10 kBq to 100 GBq.
    half_life_s : of the radionuclide.

    Raises
    ------
    BadValues : a number that cannot be the quantity it is given as, such as a dose in MBq.
    """

    weight_kg: float
    dose_bq: float
    half_life_s: float

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("Patient's Weight (0010,1030)", self.weight_kg, 0.2, 500.0),
            ("Radionuclide Total Dose (0018,1074)", self.dose_bq, 1e4, 1e11),
            ("Radionuclide Half Life (0018,1075)", self.half_life_s, 1.0, 1e8),
        ):
            if not low <= value <= high:
                raise BadValues(
                    f"{name} {value:g}",
                    needed=f"{low:g} to {high:g} (kg, Bq, s)",
                    remedy="Correct the header, or state weight and dose yourself (weight_kg, dose_mbq).",
                )

    def remaining_bq(self, after_s: float) -> float:
        """Activity `after_s` seconds after the injection."""
        return self.dose_bq * 2.0 ** (-after_s / self.half_life_s)

    def suv_per_bqml(self, after_s: float) -> float:
        """SUVbw [g/ml] of 1 Bq/ml that was there `after_s` seconds after the injection."""
        return self.weight_kg * G_PER_KG / self.remaining_bq(after_s)

    def require_plausible(self, after_s: float) -> float:
        """`after_s`, if a scan can be so long after an injection."""
        if not 0 <= after_s <= LONGEST_HALF_LIVES * self.half_life_s:
            raise BadValues(
                f"an injection {after_s / 60:.1f} min before the time that the image is decay corrected to",
                needed=f"0 to {LONGEST_HALF_LIVES * self.half_life_s / 60:.0f} min ({LONGEST_HALF_LIVES:g} half-lives)",
                remedy="Check Radiopharmaceutical Start DateTime (0018,1078) or Time (0018,1072) against Series and "
                "Acquisition Date and Time; a tool that changed some of the dates leaves such a header.",
            )
        return after_s


def mean_count_rate_s(duration_s: float, half_life_s: float) -> float:
    """When in a frame the count rate is the frame's average, in seconds from its start.

    t = ln(x / (1 - exp(-x))) / lambda with x = lambda T; a little before the middle.
    """
    rate = math.log(2.0) / half_life_s
    x = rate * duration_s
    return math.log(x / -math.expm1(-x)) / rate if x > 1e-8 else duration_s / 2


@dataclass(frozen=True)
class Times:
    """What the header of a series says of its times.

    Parameters
    ----------
    series : Series Date and Time.
    acquired : Acquisition Date and Time of each slice: the start of its frame (bed position).
    private : GE's own scan start, (0009,xx0D) of "GEMS_PETD_01".
    frame_reference_s : Frame Reference Time of the slice acquired first, None where it is absent or 0.
    duration_s : Actual Frame Duration of that slice, None where it is absent.
    """

    series: datetime | None
    acquired: Sequence[datetime]
    private: datetime | None = None
    frame_reference_s: float | None = None
    duration_s: float | None = None

    def by_frame(self, half_life_s: float) -> datetime | None:
        """The scan's start from the first frame: its start, and its average moment counted from the scan's start."""
        if self.frame_reference_s is None or self.duration_s is None:
            return None
        mean_s = mean_count_rate_s(self.duration_s, half_life_s)
        return min(self.acquired) + timedelta(seconds=mean_s - self.frame_reference_s)

    def scan_start(self, half_life_s: float, *, told: Reference | None = None) -> tuple[datetime, Reference]:
        """The moment that a series with Decay Correction START is corrected to, and what decided it.

        Series Time unless it is later than the first acquisition, as it is in series that were made or edited
        afterwards; then GE's private scan start, the frame's reference time, and last the earliest acquisition.

        Raises
        ------
        BadValues : `told` asks for a time that is not there; or Series Time and Frame Reference Time, which the
            standard defines as counted from it, disagree by more than a frame and a minute.
        """
        found: dict[Reference, datetime | None] = {
            "series": self.series,
            "private": self.private,
            "frame": self.by_frame(half_life_s),
            "earliest": min(self.acquired),
        }
        if told is not None:
            if (chosen := found[told]) is None:
                raise BadValues(
                    f"no time of the kind {told!r} in the header",
                    needed=", ".join(k for k, when in found.items() if when is not None),
                    remedy="Choose one of these as the reference.",
                )
            return chosen, told
        if self.series is not None and (self.series - min(self.acquired)).total_seconds() <= ROUNDING_S:
            self._require_agreement(self.series, found["frame"])
            return self.series, "series"
        later: tuple[Reference, ...] = ("private", "frame", "earliest")
        return next((when, kind) for kind in later if (when := found[kind]) is not None)

    def _require_agreement(self, series: datetime, by_frame: datetime | None) -> None:
        if by_frame is None:
            return
        apart_s = abs((series - by_frame).total_seconds())
        if apart_s > (self.duration_s or 0.0) + SLACK_S:
            raise BadValues(
                f"Series Time (0008,0031) and Frame Reference Time (0054,1300) disagree by {apart_s:.0f} s on when "
                "the scan began",
                needed="one moment that the image is decay corrected to",
                remedy='Say which one is right (reference="series", "frame" or "earliest").',
            )
