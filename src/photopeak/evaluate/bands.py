"""A fact that was found in a cohort, and the band that it should be in.

A published value is met when a cohort of this size would be as far from it less than once in a thousand times: the band
is the value and 3.3 standard errors on either side (of a mean, a standard deviation or a proportion). A published range
is for the estimate itself; where it is one of proportions, chance widens its ends too. Fewer than 8 are not judged.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Status = Literal["pass", "fail", "too few", "not available"]

STANDARD_ERRORS = 3.3
NORMAL_95 = 1.96
FEWEST, FEWEST_TO_CORRELATE = 8, 40


@dataclass(frozen=True)
class Row:
    """One fact of a cohort.

    Parameters
    ----------
    name, unit : what it is.
    n : persons (or scans, where the name says so) that it was found in; 0 where the cohort cannot answer.
    found, low, high : estimate and 95 % interval.
    band : within which `found` passes.
    source : of the band.
    fewest : smaller `n` is not judged.
    """

    name: str
    unit: str
    n: int
    found: float
    low: float
    high: float
    band: tuple[float, float]
    source: str
    fewest: int = FEWEST

    @property
    def status(self) -> Status:
        if self.n == 0:
            return "not available"
        if self.n < self.fewest:
            return "too few"
        return "pass" if self.band[0] <= self.found <= self.band[1] else "fail"


def counts_of(rows: Sequence[Row]) -> Mapping[Status, int]:
    """How many rows have each status."""
    return {status: sum(row.status == status for row in rows) for status in get_args(Status)}


def mean_row(name: str, unit: str, values: Sequence[float], band: tuple[float, float], source: str) -> Row:
    """The mean of persons beside a range."""
    if not values:
        return unanswered(name, unit, band, source)
    mean, error = float(np.mean(values)), _standard_error(values)
    return Row(name, unit, len(values), mean, mean - NORMAL_95 * error, mean + NORMAL_95 * error, band, source)


def mean_and_sd_rows(name: str, unit: str, values: Sequence[float], mean: float, sd: float, source: str) -> list[Row]:
    """Mean and standard deviation of persons beside published ones."""
    n = len(values)
    if n < 2:
        return [unanswered(f"{name}, {what}", unit, (value, value), source)
                for what, value in (("mean", mean), ("sd", sd))]  # fmt: skip
    off = STANDARD_ERRORS * sd / math.sqrt(n)
    found, off_sd = float(np.std(values, ddof=1)), STANDARD_ERRORS * sd / math.sqrt(2 * (n - 1))
    error = NORMAL_95 * found / math.sqrt(2 * (n - 1))
    return [
        mean_row(f"{name}, mean", unit, values, (mean - off, mean + off), source),
        Row(f"{name}, sd", unit, n, found, found - error, found + error, (sd - off_sd, sd + off_sd), source),
    ]


def share_row(name: str, values: Sequence[float], share: float, source: str) -> Row:
    """A proportion beside a published one; `values` are 0 and 1."""
    return share_in_range_row(name, values, (share, share), source)


def share_in_range_row(name: str, values: Sequence[float], limits: tuple[float, float], source: str) -> Row:
    """A proportion beside a published one (or a range of them), with the tolerance of chance at either end."""
    if not values:
        return unanswered(name, "1", limits, source)
    n = len(values)
    low, high = (
        p + sign * STANDARD_ERRORS * math.sqrt(p * (1 - p) / n) for p, sign in zip(limits, (-1, 1), strict=True)
    )
    found = float(np.mean(values))
    return Row(name, "1", n, found, *_wilson(found, n), (max(low, 0.0), min(high, 1.0)), source)


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (1927)."""
    z2 = NORMAL_95**2 / n
    middle, reach = (
        (share + z2 / 2) / (1 + z2),
        NORMAL_95 / (1 + z2) * math.sqrt(share * (1 - share) / n + z2 / (4 * n)),
    )
    return middle - reach, middle + reach


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def unanswered(name: str, unit: str, band: tuple[float, float], source: str) -> Row:
    """A row that the cohort has no answer to."""
    return Row(name, unit, 0, math.nan, math.nan, math.nan, band, source)


def correlation_row(name: str, pairs: np.ndarray, band: tuple[float, float], source: str) -> Row:
    """Pearson's r of [person, 2], with Fisher's interval."""
    if len(pairs) < 4 or not pairs.std(axis=0).all():
        return unanswered(name, "r", band, source)
    r, reach = float(np.corrcoef(pairs.T)[0, 1]), NORMAL_95 / math.sqrt(len(pairs) - 3)
    low, high = (math.tanh(math.atanh(min(r, 1 - 1e-12)) + sign * reach) for sign in (-1, 1))
    return Row(name, "r", len(pairs), r, low, high, band, source, FEWEST_TO_CORRELATE)


def heavy_over_light_row(name: str, pairs: np.ndarray, band: tuple[float, float], source: str) -> Row:
    """Mean of the second value in the upper third of the first over that in the lower third."""
    third = len(pairs) // 3
    ordered = pairs[pairs[:, 0].argsort()]
    light, heavy = ordered[:third, 1], ordered[len(pairs) - third :, 1]
    if not third or not light.all():
        return unanswered(name, "1", band, source)
    ratio = float(heavy.mean() / light.mean())
    spread = NORMAL_95 * ratio * math.hypot(*(part.std() / part.mean() / math.sqrt(third) for part in (light, heavy)))
    return Row(name, "1", len(pairs), ratio, ratio - spread, ratio + spread, band, source, FEWEST_TO_CORRELATE)
