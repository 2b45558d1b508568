"""Perfusion beside normal limits: scores of the 17 segments, their sums, and a TPD-like index.

Limits are the mean and the standard deviation of normal scans, point by point of the polar map (Slomka et al., J Nucl
Cardiol 2005; 12:66, whose total perfusion deficit the index resembles; it is not that of any commercial program). The
limit lies 3 mean absolute deviations below the mean, which is 2.39 standard deviations where normals are Gaussian.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from photopeak.cardiac.segments import SEGMENTS, segment_means
from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch

HOT_QUANTILE = 0.9
LIMIT_SD = 3 * math.sqrt(2 / math.pi)
NO_UPTAKE = 0.3
GRADES = (0.70, 0.50, NO_UPTAKE)
FEWEST_NORMALS = 8
WORST_SCORE = 4
SHOULDER = 0.68
NORMAL_SUM, MILD_SUM, MODERATE_SUM = 4, 9, 14


def relative_uptake(polar: Tensor) -> Tensor:
    """Polar maps [..., ring, angle] in per cent of their own upper decile.

    The maximum would follow noise, and liver or gut that touches the wall.

    Raises
    ------
    BadValues : NaN, or no counts in the wall.
    """
    if not torch.isfinite(polar).all():
        raise BadValues("a polar map with NaN or infinity", needed="finite numbers", remedy="Mend the image.")
    hot = torch.quantile(polar.flatten(-2).double(), HOT_QUANTILE, dim=-1)[..., None, None]
    if not bool((hot > 0).all()):
        raise BadValues("a polar map without counts", needed="uptake in the wall", remedy="Check where the heart is.")
    return 100 * polar.double() / hot


@dataclass(frozen=True, eq=False)
class NormalLimits:
    """What normal hearts look like in one kind of image.

    Parameters
    ----------
    mean, sd : Tensor [ring, angle], relative uptake of normal scans, %.
    segment_mean, segment_sd : Tensor [17], the same of segment means, %.
    n : normal scans.
    """

    mean: Tensor
    sd: Tensor
    segment_mean: Tensor
    segment_sd: Tensor
    n: int

    @classmethod
    def of(cls, polar: Tensor) -> "NormalLimits":
        """Limits from the polar maps [scan, ring, angle] of normal scans, at least 8."""
        if polar.ndim != 3:
            raise ShapeMismatch(
                f"normal maps of shape {tuple(polar.shape)}", needed="[scan, ring, angle]", remedy="Stack the maps."
            )
        if len(polar) < FEWEST_NORMALS:
            raise BadArgument(
                f"{len(polar)} normal scans",
                needed=f"at least {FEWEST_NORMALS} for each set of limits",
                remedy="Add normal scans, or pool the sexes.",
            )
        uptake = relative_uptake(polar)
        segments = torch.stack([segment_means(one) for one in uptake])
        return cls(uptake.mean(0), uptake.std(0), segments.mean(0), segments.std(0), len(polar))

    @property
    def lower(self) -> Tensor:
        """The limit itself [ring, angle], %."""
        return self.mean - LIMIT_SD * self.sd

    @property
    def segment_lower(self) -> Tensor:
        """The limit of segment means [17], %."""
        return self.segment_mean - LIMIT_SD * self.segment_sd


def segment_scores(polar: Tensor, limits: NormalLimits, grades: Sequence[float] = GRADES) -> Tensor:
    """Scores [17] of a polar map [ring, angle]: 0 normal, 1 slight, 2 moderate, 3 severe, 4 no uptake.

    A segment above its normal limit has 0. Below, it has 1, and one more for each grade that it does not reach.

    Parameters
    ----------
    grades : falling fractions of the normal mean; what is left at 30 % is blur from around.
    """
    if len(grades) != WORST_SCORE - 1 or not 1 > grades[0] > grades[1] > grades[2] > 0:
        raise BadArgument(
            f"grades {tuple(grades)}", needed="three fractions that fall from below 1", remedy="(0.7, 0.5, 0.3)"
        )
    segments = segment_means(_like(relative_uptake(polar), limits))
    reached = segments / limits.segment_mean
    below = torch.stack([reached < grade for grade in grades]).sum(0)
    return torch.where(segments < limits.segment_lower, 1 + below, 0)


def summed_score(scores: Tensor) -> int:
    """SSS of a stress scan's scores [17], SRS of a rest scan's: 0 to 68; below 4 is normal."""
    return int(_scores(scores).sum())


def summed_difference(stress: Tensor, rest: Tensor) -> int:
    """SDS: what stress scores [17] have more than those at rest, segment by segment; a better segment takes nothing."""
    return int((_scores(stress) - _scores(rest)).clamp(min=0).sum())


def sum_class(total: int) -> str:
    """The usual word for a summed stress score: normal below 4, mild to 8, moderate to 13, then severe."""
    limits = ((NORMAL_SUM, "normal"), (MILD_SUM, "mild"), (MODERATE_SUM, "moderate"))
    return next((word for limit, word in limits if total < limit), "severe")


def perfusion_deficit(polar: Tensor, limits: NormalLimits) -> float:
    """TPD-like index of a polar map [ring, angle]: extent times severity below the normal limit, % of the wall.

    Severity rises from 0 at the limit to 4 at 30 % of the normal mean; 100 is a ventricle without uptake.
    """
    uptake = _like(relative_uptake(polar), limits)
    none = NO_UPTAKE * limits.mean
    if bool((limits.lower <= none).any()):
        raise BadValues(
            f"normals so unlike that a limit of {float(limits.lower.min()):.0f} % is no uptake",
            needed="limits above 30 % of the normal mean",
            remedy="Check that the normal scans are normal, and found.",
        )
    severity = (WORST_SCORE * (limits.lower - uptake) / (limits.lower - none)).clamp(0, WORST_SCORE)
    return float(100 * (wall_share(*polar.shape) * severity).sum() / WORST_SCORE)


def deficit_extent(polar: Tensor, limits: NormalLimits) -> float:
    """Share of the wall below the normal limit, %."""
    below = _like(relative_uptake(polar), limits) < limits.lower
    return float(100 * wall_share(*polar.shape)[below].sum())


def wall_share(rings: int, angles: int) -> Tensor:
    """Share of the wall's area [ring, angle] at each point of a polar map; sums to 1.

    A half ellipsoid from the apex to the shoulder, where two thirds of the rings lie, and a cylinder from there on.
    """
    from_apex = (torch.arange(rings, dtype=torch.float64) + 0.5) / rings / SHOULDER
    around = torch.sin(from_apex.clamp(max=1) * math.pi / 2)[:, None].expand(rings, angles)
    return around / around.sum()


def _like(uptake: Tensor, limits: NormalLimits) -> Tensor:
    if uptake.shape != limits.mean.shape:
        raise ShapeMismatch(
            f"a polar map of shape {tuple(uptake.shape)}",
            needed=f"{tuple(limits.mean.shape)} [ring, angle], as the normal limits",
            remedy="Sample both on surfaces of one kind.",
        )
    return uptake


def _scores(scores: Tensor) -> Tensor:
    if tuple(scores.shape) != (len(SEGMENTS),) or not bool(((scores >= 0) & (scores <= WORST_SCORE)).all()):
        raise BadArgument(
            f"scores {scores.tolist()}", needed="17 numbers from 0 to 4", remedy="Make them with segment_scores."
        )
    return scores
