"""Whether a method's standard deviation says how wrong it is, and what makes it so.

The spread of posterior samples is too small where a network is sure but wrong. What is fitted on validation patients is

    sd^2 = (floor * level)^2 + (spread * sd of samples)^2 + (local * answer)^2,

by Gaussian likelihood, every patient with the same weight; then for each level of coverage the multiple of sd within
which that share of errors lies (a regression form of split-conformal prediction: Lei et al., JASA 113:1094, 2018).
A `Region` says where errors count and in which unit: AC in the heart over its level, PET in the body in SUV.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.stats import norm, spearmanr
from torch import Tensor

from photopeak.core import Grid, Step, Study
from photopeak.core.errors import BadArgument, BadValues, GridMismatch
from photopeak.evaluate.ood import found_heart
from photopeak.evaluate.patients import heart_mask
from photopeak.evaluate.pet_scores import body_of
from photopeak.metrics.compare import least_squares_factor

LEVELS = (0.5, 0.8, 0.95)
LEVEL_QUANTILE = 0.9
SMALLEST, LARGEST = 1e-4, 30.0
VOXELS, MOST_VOXELS = 1500, 100_000
"""Of a patient: that a fit takes, and that are kept at most while others are answered."""


@dataclass(frozen=True)
class Region:
    """Where in a patient, and in which unit, answers of a kind are judged.

    Parameters
    ----------
    answer : name of the volume; its sd is the volume of that name with "_sd".
    inside : the voxels [z, y, x] of a study that count, on a grid.
    level : what errors are relative to, from the answer's values there, after one least-squares factor; None for an
        absolute quantity, which is taken as it is.
    beyond : the calibration is used outside of these voxels too; otherwise the sd there stays as samples gave it.
    """

    answer: str
    inside: Callable[[Study, Grid], Tensor]
    level: Callable[[np.ndarray | Tensor], float] | None
    beyond: bool

    def level_of(self, values: np.ndarray | Tensor) -> float:
        """The unit of errors, from the answer's values inside."""
        return 1.0 if self.level is None else self.level(values)


def heart_level(ac: np.ndarray | Tensor) -> float:
    """The counts of normal uptake: a high quantile of AC in the heart."""
    level = float(np.quantile(np.asarray(ac), LEVEL_QUANTILE))
    if not level > 0:
        raise BadValues("AC without counts in the heart", needed="an image of the heart", remedy="Check the series.")
    return level


def _heart(study: Study, grid: Grid) -> Tensor:
    return heart_mask(grid, found_heart(study).frame)


def _body(study: Study, grid: Grid) -> Tensor:
    study["ct"].grid.require_same(grid, mine="ct", theirs="the answer")
    return torch.from_numpy(body_of(study["ct"]))


HEART = Region("ac", _heart, heart_level, beyond=True)
"""Perfusion is read relative to its maximum: errors over the heart's level, whatever the scale."""
BODY = Region("pet", _body, None, beyond=False)
"""Errors in SUV, where the CT shows a body."""


def region_of(writes: Sequence[str]) -> Region | None:
    """The region of a method that writes these volumes; None for one that gives no standard deviation."""
    return next((one for one in (HEART, BODY) if {one.answer, f"{one.answer}_sd"} <= set(writes)), None)


@dataclass(frozen=True, eq=False)
class Errors:
    """One patient's errors where they are judged; all relative to the region's level.

    Parameters
    ----------
    error, sd, answer : [voxel]: answer less reference, spread of samples (0 for one sample), and the answer.
    """

    error: np.ndarray
    sd: np.ndarray
    answer: np.ndarray

    def __post_init__(self) -> None:
        if not (self.error.shape == self.sd.shape == self.answer.shape and self.error.ndim == 1 and self.error.size):
            raise BadArgument(
                f"errors {self.error.shape}, sd {self.sd.shape}, answer {self.answer.shape}",
                needed="one of each for every voxel, at least one voxel",
                remedy="Take all from one mask.",
            )
        if not all(np.isfinite(values).all() for values in (self.error, self.sd, self.answer)) or (self.sd < 0).any():
            raise BadValues(
                "errors with NaN or a negative sd", needed="finite numbers", remedy="Mend the patient's result."
            )

    def thinned(self, voxels: int) -> "Errors":
        """Every n-th voxel, so many of them or somewhat more: neighbours hardly tell more."""
        step = max(len(self.error) // voxels, 1)
        return Errors(self.error[::step], self.sd[::step], self.answer[::step])


@dataclass(frozen=True)
class Calibration:
    """From the spread of samples to a standard deviation that covers.

    Parameters
    ----------
    floor, spread, local : of the formula above.
    reach : for each level of coverage the half-width of its interval in sd.
    studies : validation scans that it was fitted on.
    """

    floor: float
    spread: float
    local: float
    reach: Mapping[float, float]
    studies: int

    def sd(self, samples_sd: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """Standard deviation relative to the region's level, from spread and answer relative to it; any shape."""
        return np.sqrt(self.floor**2 + (self.spread * samples_sd) ** 2 + (self.local * answer) ** 2)

    @property
    def scale(self) -> float:
        """What `sd` is multiplied by so that the usual ``1.96 sd`` holds 95 %."""
        return self.reach[0.95] / float(norm.ppf(0.975))

    def to_dict(self) -> dict[str, Any]:
        """Plain rounded values for a method's card."""
        values = {name: round(getattr(self, name), 5) for name in ("floor", "spread", "local")}
        reach = {f"{level:g}": round(value, 4) for level, value in self.reach.items()}
        return {**values, "reach": reach, "studies": self.studies}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Calibration":
        reach = {float(level): float(value) for level, value in record["reach"].items()}
        return cls(record["floor"], record["spread"], record["local"], reach, record["studies"])


def errors_of(
    study: Study,
    *,
    of: str | None = None,
    truth: str = "ac_clean",
    mask: Tensor | None = None,
    region: Region = HEART,
) -> Errors:
    """A patient's errors in the region: of the heart after one least-squares factor, of the body in SUV as they are.

    Parameters
    ----------
    of : the estimate, the region's answer unless given; its sd is the volume of that name with "_sd".
    mask : [z, y, x] where; the region's voxels unless given.

    Raises
    ------
    MissingInput, GridMismatch : a volume is not there, or is on another grid.
    """
    of = region.answer if of is None else of
    estimate, sd, reference = study[of], study[f"{of}_sd"], study[truth]
    estimate.grid.require_same(reference.grid, mine=of, theirs=truth)
    if mask is None:
        mask = region.inside(study, estimate.grid)
    elif mask.shape != estimate.data.shape:
        raise GridMismatch(f"mask {tuple(mask.shape)}", needed=f"{of}'s grid", remedy="Make it on that grid.")
    factor = 1.0 if region.level is None else least_squares_factor(estimate, reference, mask)
    answer, spread, expected = (volume.data[mask].double().numpy() for volume in (estimate, sd, reference))
    level = region.level_of(answer)
    return Errors((answer - expected / factor) / level, spread / level, answer / level)


def coverage(patients: Sequence[Errors], calibration: Calibration | None = None) -> dict[float, float]:
    """Share of voxels, mean over patients, in the intervals of nominally 50, 80 and 95 %."""
    shares = {}
    for level in LEVELS:
        reach = norm.ppf(0.5 + level / 2) if calibration is None else calibration.reach[level]
        inside = [np.mean(np.abs(one.error) <= reach * _sd(one, calibration)) for one in _some(patients)]
        shares[level] = float(np.mean(inside))
    return shares


def sharpness(patients: Sequence[Errors], calibration: Calibration | None = None) -> float:
    """Mean width of the 95 % interval, as a share of the region's level: of two that cover, the narrower is better."""
    reach = norm.ppf(0.975) if calibration is None else calibration.reach[0.95]
    return float(np.mean([2 * reach * _sd(one, calibration).mean() for one in _some(patients)]))


def error_sd_correlation(patients: Sequence[Errors], calibration: Calibration | None = None) -> float:
    """Spearman's correlation of absolute error and sd over voxels, mean over patients; 0 where sd never varies."""
    each = []
    for one in _some(patients):
        sd = _sd(one, calibration)
        each.append(float(spearmanr(np.abs(one.error), sd).statistic) if np.ptp(sd) > 0 else 0.0)
    return float(np.mean(each))


def fit_calibration(patients: Sequence[Errors]) -> Calibration:
    """The calibration of validation patients.

    Raises
    ------
    BadArgument : fewer than two patients.
    BadValues : no errors at all, of which nothing can be learnt.
    """
    if len(patients) < 2:
        raise BadArgument(f"{len(patients)} patients", needed="at least 2", remedy="Use the validation split.")
    if not any(one.error.any() for one in patients):
        raise BadValues("errors of exactly 0", needed="estimate and truth", remedy="Check which volumes are compared.")
    fewer = [(one.error, one.sd, one.answer) for one in (one.thinned(VOXELS) for one in patients)]
    squares = [np.stack([np.ones(len(e)), s**2, a**2]) for e, s, a in fewer]
    wrong = [e**2 for e, _, _ in fewer]

    def cost(logs: np.ndarray) -> tuple[float, np.ndarray]:
        weights = np.exp(2 * logs)
        total, slope = 0.0, np.zeros(3)
        for terms, square in zip(squares, wrong, strict=True):
            variance = weights @ terms
            total += float(np.mean(np.log(variance) + square / variance)) / len(squares)
            slope += 2 * weights * (terms * (1 / variance - square / variance**2)).mean(1) / len(squares)
        return total, slope

    limits = [(np.log(SMALLEST), np.log(LARGEST))] * 3
    found = minimize(cost, np.log([0.05, 1.0, 0.05]), jac=True, method="L-BFGS-B", bounds=limits)
    floor, spread, local = (float(value) for value in np.exp(found.x))
    shape = Calibration(floor, spread, local, {}, len(patients))
    ratios = np.concatenate([np.abs(one.error) / shape.sd(one.sd, one.answer) for one in patients])
    weights = np.concatenate([np.full(len(one.error), 1 / len(one.error)) for one in patients])
    return Calibration(floor, spread, local, _quantiles(ratios, weights), len(patients))


def calibrate(
    made: Callable[[Study], Study],
    studies: Iterable[Study],
    *,
    truth: str = "ac_clean",
    reads: Sequence[str] = ("nac",),
    region: Region = HEART,
) -> Calibration:
    """Apply a method to validation studies and fit its calibration.

    Parameters
    ----------
    made : the method with the settings of use (samples, steps) that it will be used with.
    truth : what the answer should be, not called like the answer itself or its sd.
    reads : volumes that it may see, beside all projections.
    region : where and in which unit its answer is judged.

    Raises
    ------
    BadArgument : a truth with the name of the answer.
    """
    names = (region.answer, f"{region.answer}_sd")
    if truth in names:
        raise BadArgument(
            f"truth {truth!r}",
            needed="another name than the answer's",
            remedy=f'Cohort.taking({{"target": "{region.answer}"}}).',
        )
    patients = []
    for study in studies:
        answer = made(replace(study, volumes={name: study[name] for name in reads}))
        answered = study.add({name: answer[name] for name in names}, answer.history[-1])
        patients.append(errors_of(answered, truth=truth, region=region).thinned(MOST_VOXELS))
    return fit_calibration(patients)


def calibrated(study: Study, calibration: Calibration, *, of: str | None = None, region: Region = HEART) -> Study:
    """The study with "<of>_sd" such that ``of +- 1.96 sd`` covers 95 % in the region; `of` is its answer unless given.

    Raises
    ------
    MissingInput, GridMismatch : a volume is not there, or is on another grid.
    """
    of = region.answer if of is None else of
    answer, sd = study[of], study[f"{of}_sd"]
    inside = region.inside(study, answer.grid)
    level = region.level_of(answer.data[inside])
    relative = calibration.sd(sd.numpy() / level, answer.numpy() / level)
    data = sd.data.new_tensor(level * calibration.scale * relative)
    data = data if region.beyond else torch.where(inside, data, sd.data)
    step = Step((f"{of}_sd",), "evaluate.calibration", (of, f"{of}_sd"), calibration.to_dict())
    return study.add({f"{of}_sd": sd.with_data(data)}, step)


def _sd(one: Errors, calibration: Calibration | None) -> np.ndarray:
    return one.sd if calibration is None else calibration.sd(one.sd, one.answer)


def _some(patients: Sequence[Errors]) -> Sequence[Errors]:
    if not patients:
        raise BadArgument("no patients", needed="at least 1", remedy="Give the errors of a split.")
    return patients


def _quantiles(ratios: np.ndarray, weights: np.ndarray) -> dict[float, float]:
    order = np.argsort(ratios)
    cumulated = np.cumsum(weights[order]) / weights.sum()
    places = np.minimum(np.searchsorted(cumulated, LEVELS), len(order) - 1)
    return {level: float(ratios[order[place]]) for level, place in zip(LEVELS, places, strict=True)}
