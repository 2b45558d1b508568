"""Whether a method's standard deviation says how wrong it is, and what makes it so.

The spread of posterior samples is too small where a network is sure but wrong. What is fitted on validation patients is

    sd^2 = (floor * level)^2 + (spread * sd of samples)^2 + (local * AC)^2,

by Gaussian likelihood, every patient with the same weight; then for each level of coverage the multiple of sd within
which that share of errors lies (a regression form of split-conformal prediction: Lei et al., JASA 113:1094, 2018).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm, spearmanr
from torch import Tensor

from photopeak.core import Step, Study
from photopeak.core.errors import BadArgument, BadValues, GridMismatch
from photopeak.evaluate.ood import found_heart
from photopeak.evaluate.patients import heart_mask
from photopeak.metrics.compare import least_squares_factor

LEVELS = (0.5, 0.8, 0.95)
LEVEL_QUANTILE = 0.9
SMALLEST, LARGEST = 1e-4, 30.0
VOXELS = 1500


@dataclass(frozen=True, eq=False)
class Errors:
    """One patient's errors where they are judged; all relative to the heart's level.

    Parameters
    ----------
    error, sd, ac : [voxel]: estimate less reference, spread of samples (0 for one sample), and the estimate.
    """

    error: np.ndarray
    sd: np.ndarray
    ac: np.ndarray

    def __post_init__(self) -> None:
        if not (self.error.shape == self.sd.shape == self.ac.shape and self.error.ndim == 1 and self.error.size):
            raise BadArgument(
                f"errors {self.error.shape}, sd {self.sd.shape}, ac {self.ac.shape}",
                needed="one of each for every voxel, at least one voxel",
                remedy="Take all from one mask.",
            )
        if not all(np.isfinite(values).all() for values in (self.error, self.sd, self.ac)) or (self.sd < 0).any():
            raise BadValues(
                "errors with NaN or a negative sd", needed="finite numbers", remedy="Mend the patient's result."
            )


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

    def sd(self, samples_sd: np.ndarray, ac: np.ndarray) -> np.ndarray:
        """Standard deviation relative to the heart's level, from spread and AC relative to it; any shape."""
        return np.sqrt(self.floor**2 + (self.spread * samples_sd) ** 2 + (self.local * ac) ** 2)

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


def errors_of(study: Study, *, of: str = "ac", truth: str = "ac_clean", mask: Tensor | None = None) -> Errors:
    """A patient's errors in the heart, after one least-squares factor (perfusion is read relative to its maximum).

    Parameters
    ----------
    of : the estimate; its sd is the volume of that name with "_sd".
    mask : [z, y, x] where; the heart's volume of interest unless given.

    Raises
    ------
    MissingInput, GridMismatch : a volume is not there, or is on another grid.
    """
    estimate, sd, reference = study[of], study[f"{of}_sd"], study[truth]
    estimate.grid.require_same(reference.grid, mine=of, theirs=truth)
    if mask is None:
        mask = heart_mask(estimate.grid, found_heart(study).frame)
    elif mask.shape != estimate.data.shape:
        raise GridMismatch(f"mask {tuple(mask.shape)}", needed=f"{of}'s grid", remedy="Make it on that grid.")
    factor = least_squares_factor(estimate, reference, mask)
    ac, spread, expected = (volume.data[mask].double().numpy() for volume in (estimate, sd, reference))
    level = heart_level(ac)
    return Errors((ac - expected / factor) / level, spread / level, ac / level)


def heart_level(ac: np.ndarray | Tensor) -> float:
    """The counts of normal uptake: a high quantile of AC in the heart."""
    level = float(np.quantile(np.asarray(ac), LEVEL_QUANTILE))
    if not level > 0:
        raise BadValues("AC without counts in the heart", needed="an image of the heart", remedy="Check the series.")
    return level


def coverage(patients: Sequence[Errors], calibration: Calibration | None = None) -> dict[float, float]:
    """Share of voxels, mean over patients, in the intervals of nominally 50, 80 and 95 %."""
    shares = {}
    for level in LEVELS:
        reach = norm.ppf(0.5 + level / 2) if calibration is None else calibration.reach[level]
        inside = [np.mean(np.abs(one.error) <= reach * _sd(one, calibration)) for one in _some(patients)]
        shares[level] = float(np.mean(inside))
    return shares


def sharpness(patients: Sequence[Errors], calibration: Calibration | None = None) -> float:
    """Mean width of the 95 % interval, as a share of the heart's level: of two that cover, the narrower is better."""
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
    squares = [np.stack([np.ones(len(e)), s**2, a**2]) for e, s, a in map(_thinned, patients)]
    wrong = [_thinned(one)[0] ** 2 for one in patients]

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
    ratios = np.concatenate([np.abs(one.error) / shape.sd(one.sd, one.ac) for one in patients])
    weights = np.concatenate([np.full(len(one.error), 1 / len(one.error)) for one in patients])
    return Calibration(floor, spread, local, _quantiles(ratios, weights), len(patients))


def calibrate(
    made: Callable[[Study], Study],
    studies: Iterable[Study],
    *,
    truth: str = "ac_clean",
    reads: Sequence[str] = ("nac",),
) -> Calibration:
    """Apply a method to validation studies and fit its calibration.

    Parameters
    ----------
    made : the method with the settings of use (samples, steps) that it will be used with.
    truth : what the answer should be, not called "ac" or "ac_sd" like the answer itself.
    reads : volumes that it may see, beside all projections.

    Raises
    ------
    BadArgument : a truth with the name of the answer.
    """
    if truth in ("ac", "ac_sd"):
        raise BadArgument(
            f"truth {truth!r}", needed="another name than the answer's", remedy='Cohort.taking({"target": "ac"}).'
        )
    patients = []
    for study in studies:
        answer = made(replace(study, volumes={name: study[name] for name in reads}))
        volumes = {name: answer[name] for name in ("ac", "ac_sd")}
        patients.append(errors_of(study.add(volumes, answer.history[-1]), truth=truth))
    return fit_calibration(patients)


def calibrated(study: Study, calibration: Calibration, *, of: str = "ac") -> Study:
    """The study with "<of>_sd" such that ``of +- 1.96 sd`` covers 95 % in the heart."""
    ac, sd = study[of], study[f"{of}_sd"]
    level = heart_level(ac.data[heart_mask(ac.grid, found_heart(study).frame)])
    relative = calibration.sd(sd.numpy() / level, ac.numpy() / level)
    data = sd.data.new_tensor(level * calibration.scale * relative)
    step = Step((f"{of}_sd",), "evaluate.calibration", (of, f"{of}_sd"), calibration.to_dict())
    return study.add({f"{of}_sd": sd.with_data(data)}, step)


def _sd(one: Errors, calibration: Calibration | None) -> np.ndarray:
    return one.sd if calibration is None else calibration.sd(one.sd, one.ac)


def _some(patients: Sequence[Errors]) -> Sequence[Errors]:
    if not patients:
        raise BadArgument("no patients", needed="at least 1", remedy="Give the errors of a split.")
    return patients


def _thinned(one: Errors) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every n-th voxel, VOXELS of them or somewhat more: neighbours hardly tell more."""
    step = max(len(one.error) // VOXELS, 1)
    return one.error[::step], one.sd[::step], one.ac[::step]


def _quantiles(ratios: np.ndarray, weights: np.ndarray) -> dict[float, float]:
    order = np.argsort(ratios)
    cumulated = np.cumsum(weights[order]) / weights.sum()
    places = np.minimum(np.searchsorted(cumulated, LEVELS), len(order) - 1)
    return {level: float(ratios[order[place]]) for level, place in zip(LEVELS, places, strict=True)}
