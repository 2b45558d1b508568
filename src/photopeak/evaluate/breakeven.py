"""Break-even misregistration: how far a CT must be out of place until CT-AC is as wrong as an answer without CT.

CT-AC with a map in register is nearly right; it gets worse with every millimetre between map and heart, which a method
that sees no CT does not. Above the break-even shift the CT-free answer is the better one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.polar import LVSurface, polar_map
from photopeak.cardiac.segments import segment_means
from photopeak.core import Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.evaluate.patients import heart_mask
from photopeak.evaluate.stats import Interval
from photopeak.metrics.nrmse import nrmse
from photopeak.metrics.segment_error import segment_error
from photopeak.simulate.motion import displaced

Reconstruct = Callable[[Study, Volume], Volume]
"""Makes CT-AC of a study's projections with an attenuation map (1/cm)."""
Wrongness = Callable[[Volume], float]

SHIFTS_MM = (0.0, 3.2, 6.4, 12.8, 19.2)
DIRECTIONS: Mapping[str, tuple[int, int, int]] = {
    "left": (1, 0, 0),
    "posterior": (0, 1, 0),
    "head": (0, 0, 1),
    "right": (-1, 0, 0),
    "anterior": (0, -1, 0),
    "feet": (0, 0, -1),
}
"""Where the map goes, LPS."""


@dataclass(frozen=True, eq=False)
class ShiftCurve:
    """How wrong CT-AC of one scan is with its map out of place.

    Parameters
    ----------
    shifts_mm : [shift], from 0 up.
    errors : [direction, shift], %.
    """

    shifts_mm: np.ndarray
    errors: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Over directions [shift], %."""
        return np.asarray(self.errors.mean(axis=0))


def heart_nrmse(reference: Volume, heart: FoundHeart) -> Wrongness:
    """NRMSE in the heart, %, after one least-squares factor."""
    mask = heart_mask(reference.grid, heart.frame)
    return lambda volume: nrmse(volume, reference, mask, scaled=True)


def heart_segments(reference: Volume, heart: FoundHeart) -> Wrongness:
    """Mean absolute error of the 17 segments, % of the maximum."""
    surface = LVSurface.of(heart)
    expected = segment_means(polar_map(reference, surface))
    return lambda volume: segment_error(segment_means(polar_map(volume, surface)), expected)


def alternating(person: int) -> tuple[str, ...]:
    """One direction along each axis, for the next person the opposite ones: both ways at half the cost."""
    directions = tuple(DIRECTIONS)
    return directions[3:] if person % 2 else directions[:3]


def shift_curve(
    study: Study,
    mu: Volume,
    reconstruct: Reconstruct,
    wrongness: Wrongness,
    *,
    shifts_mm: Sequence[float] = SHIFTS_MM,
    directions: Sequence[str] = tuple(DIRECTIONS),
) -> ShiftCurve:
    """Errors of CT-AC with the map moved along each direction.

    Parameters
    ----------
    mu : the map in register.
    reconstruct : how the site makes CT-AC from the projections of `study`.
    wrongness : against the truth, the same that the CT-free answer is judged by.
    """
    shifts = np.asarray(shifts_mm, dtype=float)
    if len(shifts) < 2 or shifts[0] != 0 or not (np.diff(shifts) > 0).all():
        raise BadArgument(f"shifts {list(shifts_mm)} mm", needed="0 and growing ones", remedy="(0, 6.4, 12.8)")
    unknown = set(directions) - set(DIRECTIONS)
    if unknown or not directions:
        raise BadArgument(
            f"directions {', '.join(sorted(unknown)) or 'none'}",
            needed=", ".join(DIRECTIONS),
            remedy="Choose of these.",
        )
    still = wrongness(reconstruct(study, mu))
    errors = [[still] for _ in directions]
    for row, direction in zip(errors, directions, strict=True):
        for shift in shifts[1:]:
            x, y, z = shift * np.array(DIRECTIONS[direction])
            row.append(wrongness(reconstruct(study, displaced(mu, (float(x), float(y), float(z))))))
    return ShiftCurve(shifts, np.array(errors))


def break_even_mm(shifts_mm: np.ndarray, errors: np.ndarray, answer_error: float) -> float:
    """The shift at which a curve of errors [shift] first reaches that of the answer, linear between shifts.

    0 if the answer is no worse than CT-AC in register; infinity if CT-AC stays better at every shift tried.
    """
    if errors.shape != shifts_mm.shape or not np.isfinite([*errors, answer_error]).all():
        raise BadArgument(
            f"errors {errors.tolist()} and {answer_error:g}",
            needed=f"{len(shifts_mm)} finite numbers, and one",
            remedy="Give an error for each shift.",
        )
    reached = np.flatnonzero(errors >= answer_error)
    if not len(reached):
        return float("inf")
    if (after := int(reached[0])) == 0:
        return 0.0
    low, high = errors[after - 1], errors[after]
    share = (answer_error - low) / (high - low)
    return float(shifts_mm[after - 1] + share * (shifts_mm[after] - shifts_mm[after - 1]))


def cohort_break_even(
    curves: Sequence[ShiftCurve], answer_errors: Sequence[float], *, generator: torch.Generator, draws: int = 2000
) -> Interval:
    """Break-even of the mean curve and mean error of a method over persons, with the interval of persons redrawn, mm.

    Parameters
    ----------
    curves, answer_errors : one for each person, in the same order.
    """
    if len(curves) != len(answer_errors) or len(curves) < 2:
        raise BadArgument(
            f"{len(curves)} curves and {len(answer_errors)} errors",
            needed="one of each for two persons or more",
            remedy="Pair them by person.",
        )
    shifts, means = curves[0].shifts_mm, np.stack([curve.mean for curve in curves])
    answers = np.asarray(answer_errors, dtype=float)
    drawn = torch.randint(len(curves), (draws, len(curves)), generator=generator).numpy()
    found = np.array([break_even_mm(shifts, means[d].mean(0), float(answers[d].mean())) for d in drawn])
    # Order statistics, since between a number and infinity there is no quantile.
    low, high = np.quantile(found, [0.025, 0.975], method="nearest")
    return Interval(break_even_mm(shifts, means.mean(0), float(answers.mean())), float(low), float(high))
