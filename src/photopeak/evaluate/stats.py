"""What a table may say about patients: means with intervals, paired tests, and the number of patients.

The unit of every statistic here is the patient, never the slice or the batch. Intervals are percentile bootstrap
(Efron & Tibshirani 1993, chapter 13); several comparisons are corrected after Holm (1979, Scand J Stat 6:65-70).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import wilcoxon
from torch import Tensor

from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch

Values = Sequence[float] | np.ndarray | Tensor


class Interval(NamedTuple):
    """A statistic of the sample and the interval around it."""

    estimate: float
    low: float
    high: float


def by_person(
    scores: Mapping[str, Mapping[str, Mapping[str, float]]], persons: Mapping[str, str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Means over the scans of each person, since scans of one person are not independent.

    Parameters
    ----------
    scores : by method, scan and figure; every scan of a person has the same figures.
    persons : who each scan is of.
    """
    return {label: _means(rows, persons) for label, rows in scores.items()}


def bootstrap_interval(
    values: Values, *, generator: torch.Generator, level: float = 0.95, draws: int = 5000
) -> Interval:
    """Mean over patients and its bootstrap interval.

    Parameters
    ----------
    values : [patient], one number for each.
    generator : CPU generator that draws the patients.
    level : coverage of the interval, between 0 and 1.
    draws : resamples of the patients.
    """
    x = _per_patient(values)
    return _interval(x.mean(), x[_resamples(len(x), draws, generator)].mean(dim=1), level)


def ratio_interval(
    a: Values, b: Values, *, generator: torch.Generator, level: float = 0.95, draws: int = 5000
) -> Interval:
    """``mean(a) / mean(b)`` and its bootstrap interval, the same patients drawn for both; arguments as above."""
    x, y = _paired(a, b)
    if bool((y <= 0).any()):
        raise BadValues(
            "denominators of zero or below", needed="positive values", remedy="Swap or shift the quantities."
        )
    drawn = _resamples(len(x), draws, generator)
    return _interval(x.mean() / y.mean(), x[drawn].mean(dim=1) / y[drawn].mean(dim=1), level)


def paired_wilcoxon(a: Values, b: Values) -> float:
    """Two-sided p of Wilcoxon's signed-rank test over patients; 1 where no patient differs."""
    x, y = _paired(a, b)
    if torch.equal(x, y):
        return 1.0
    return float(wilcoxon(x.numpy(), y.numpy()).pvalue)


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given: each may be compared with the family's level."""
    p = np.asarray(pvalues, dtype=float)
    if not ((p >= 0) & (p <= 1)).all():
        raise BadArgument(f"p values {list(pvalues)}", needed="numbers from 0 to 1", remedy="Pass p values.")
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return [float(v) for v in adjusted]


def _means(rows: Mapping[str, Mapping[str, float]], persons: Mapping[str, str]) -> dict[str, dict[str, float]]:
    scans: dict[str, list[Mapping[str, float]]] = {}
    for name, row in rows.items():
        scans.setdefault(persons[name], []).append(row)
    return {
        person: {figure: sum(row[figure] for row in those) / len(those) for figure in those[0]}
        for person, those in scans.items()
    }


def _per_patient(values: Values) -> Tensor:
    x = torch.as_tensor(values, dtype=torch.float64).detach().cpu()
    if x.ndim != 1 or len(x) < 2:
        raise BadArgument(
            f"values of shape {tuple(x.shape)}",
            needed="one number for each of two patients or more",
            remedy="Add patients.",
        )
    if not torch.isfinite(x).all():
        raise BadValues(
            f"{int((~torch.isfinite(x)).sum())} values that are NaN or infinite",
            needed="a number for every patient",
            remedy="Mend the patient's result; do not leave the patient out.",
        )
    return x


def _paired(a: Values, b: Values) -> tuple[Tensor, Tensor]:
    x, y = _per_patient(a), _per_patient(b)
    if len(x) != len(y):
        raise ShapeMismatch(
            f"{len(x)} and {len(y)} patients", needed="the same patients in both", remedy="Pair them by name first."
        )
    return x, y


def _resamples(patients: int, draws: int, generator: torch.Generator) -> Tensor:
    """Indices [draw, patient] of patients drawn with replacement."""
    return torch.randint(patients, (draws, patients), generator=generator)


def _interval(estimate: Tensor, drawn: Tensor, level: float) -> Interval:
    if not 0 < level < 1:
        raise BadArgument(f"level {level:g}", needed="a coverage between 0 and 1", remedy="Say 0.95 for 95 %.")
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.quantile(drawn, tails)
    return Interval(float(estimate), float(low), float(high))
