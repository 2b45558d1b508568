"""Few counts and few views: the plan of their benchmark, and what is measured of one answer to one setting.

Answers are in the counts of the data that they explain, so that those of a tenth of the dose are a tenth as bright.
Images are compared as those of every benchmark here: in the heart, after one least-squares factor. Sums of counts and
the likelihood are of the answer as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.polar import LVSurface, polar_map
from photopeak.cardiac.segments import segment_means
from photopeak.core import Study, Volume
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.evaluate.benchmark import Plan
from photopeak.evaluate.clinical import slope_over_persons
from photopeak.evaluate.patients import UNITS, heart_mask, heart_scores
from photopeak.evaluate.scan_maps import DEFECT_UPTAKE, NORMAL_UPTAKE
from photopeak.evaluate.stats import Interval
from photopeak.metrics.compare import least_squares_factor
from photopeak.simulate.dose import SETTINGS, Setting

STARTED = "MLEM"
"""The row of what every other row begins with."""
COMPARED_ITERATION = 5
"""Of MLEM, whose likelihood an answer should reach; later ones fit the noise."""
LEAST_EXPECTED = 1e-3
"""No bin is taken to expect less than this share of the mean, so that one count where none can be is no infinity."""
FEWEST_PERSONS = 3

TOTAL, HEART_COUNTS, EXPLAINED = "total counts over truth's", "heart counts over truth's", "expected over measured"
Z_VARIATION, LIKELIHOOD = "z variation over truth's", "log-likelihood over MLEM-5"
LOW_DOSE_UNITS: Mapping[str, str] = {
    **UNITS,
    TOTAL: "1",
    HEART_COUNTS: "1",
    EXPLAINED: "1",
    Z_VARIATION: "1",
    LIKELIHOOD: "per 1000 counts",
}


@dataclass(frozen=True)
class LowDosePlan(Plan):
    """A benchmark of every entry on every scan under every setting.

    Parameters
    ----------
    settings : names of `simulate.dose.Setting`, in the order of the tables.
    held_out : of the settings, those that no competitor is trained on.
    scored_scans : one of each person by turns, of so many persons; None for all.
    iterations : of MLEM, which is made once for each scan and setting.
    others : as for Plan.

    Raises
    ------
    BadArgument : settings that cannot be, twice the same, none to train on, or held out of nothing.
    """

    settings: tuple[str, ...] = tuple(map(str, SETTINGS))
    held_out: tuple[str, ...] = ()
    scored_scans: int | None = None
    iterations: int = 50
    uncorrected: ClassVar[str] = STARTED
    quick_keys: ClassVar[frozenset[str]] = (Plan.quick_keys - {"scored_persons"}) | {"settings", "scored_scans"}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("settings", "held_out"):
            object.__setattr__(self, name, tuple(str(Setting.named(one)) for one in getattr(self, name)))
        if self.scored_persons is not None or self.one_scan_each:
            raise BadArgument(
                "scored_persons or one_scan_each", needed="scored_scans", remedy="It is one scan of each of so many."
            )
        foreign = set(self.held_out) - set(self.settings)
        if (
            foreign
            or not self.trained_on
            or len(set(self.settings)) < len(self.settings)
            or self.iterations < COMPARED_ITERATION
        ):
            raise BadArgument(
                f"settings {list(self.settings)}, held_out {list(self.held_out)}, iterations={self.iterations}",
                needed=f"different settings, more of them than are held out, and {COMPARED_ITERATION} iterations",
                remedy='Such as settings = ["5%", "7 views"], held_out = ["7 views"].',
            )

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Settings that competitors are trained on."""
        return tuple(name for name in self.settings if name not in self.held_out)

    @property
    def scored(self) -> Mapping[str, Any]:
        return {"persons": self.scored_scans, "one_scan_each": True}

    def quickly(self) -> Self:
        """As for Plan; settings that are left out are not held out either."""
        kept = self.quick.get("settings", self.settings)
        held_out = tuple(name for name in self.held_out if name in kept)
        return super(LowDosePlan, replace(self, held_out=held_out)).quickly()


def log_likelihood_of(expected: Tensor, counts: Tensor) -> float:
    """Sum over bins [view, row, column] of ``y log(e) - e``, with no e below a thousandth of the mean of y; float64."""
    y = counts.double()
    e = expected.double().clamp(min=LEAST_EXPECTED * float(y.mean()))
    return float((y * e.log() - e).sum())


def low_dose_scores(
    study: Study,
    *,
    of: str,
    truths: Sequence[str],
    heart: FoundHeart,
    fraction: float,
    expected: Tensor,
    likelihood_5: float,
    with_maps: bool = False,
) -> dict[str, Any]:
    """Figures of ``study[of]``, reconstructed from ``study.projections["raw"]``, against images of the full dose.

    Parameters
    ----------
    fraction : of the counts of a view, which the answer should have of the truth.
    expected : [view, row, column], what the system makes of the answer in the views that were kept.
    likelihood_5 : `log_likelihood_of` the fifth iteration of MLEM of the same counts.
    with_maps : the polar maps too, for a picture.

    Returns
    -------
    scores : {"scores": {truth: {figure: number}}, "segments": {volume: [17]}, "maps": {volume: [ring][angle]}}, units
        in LOW_DOSE_UNITS.
    """
    answer, counts = study[of], study.projections["raw"].counts
    inside = heart_mask(answer.grid, heart.frame)
    told = float(counts.sum())
    data = {
        EXPLAINED: float(expected.sum()) / told,
        LIKELIHOOD: 1000 * (log_likelihood_of(expected, counts) - likelihood_5) / told,
    }
    scores = {}
    for truth in truths:
        full = fraction * study[truth].data
        scores[truth] = {
            **heart_scores(study, of=of, truth=truth, heart=heart),
            TOTAL: float(answer.data.sum() / full.sum()),
            HEART_COUNTS: float(answer.data[inside].sum() / full[inside].sum()),
            Z_VARIATION: z_variation_ratio(answer, study[truth], inside),
            **data,
        }
    surface, named = LVSurface.of(heart), {"answer": of, **{truth: truth for truth in truths}}
    maps = {name: polar_map(study[volume], surface) for name, volume in named.items()}
    segments = {name: segment_means(values).tolist() for name, values in maps.items()}
    shown = {name: values.tolist() for name, values in maps.items()} if with_maps else {}
    return {"scores": scores, "segments": segments, **({"maps": shown} if shown else {})}


def z_variation_ratio(answer: Volume, truth: Volume, inside: Tensor) -> float:
    """Total variation along z of the answer over that of the truth, after one factor, between voxels of a mask.

    Above 1 the slices of the answer flicker, or are noisy; below 1 their differences are smoothed away.
    """
    pairs = inside[1:] & inside[:-1]
    found, true = (float(one.data.double().diff(dim=0).abs()[pairs].sum()) for one in (answer, truth))
    return abs(least_squares_factor(answer, truth, inside)) * found / true


def defects_of(study: Study) -> dict[str, list[int]]:
    """Indices of the segments with a "defect" and of the "normal" ones of a simulated scan; none of a real one."""
    uptake = study.facts.get("truth", {}).get("segments", ())
    return {
        "defect": [i for i, one in enumerate(uptake) if one < DEFECT_UPTAKE],
        "normal": [i for i, one in enumerate(uptake) if one >= NORMAL_UPTAKE],
    }


def contrast_slope(
    lines: Mapping[str, Mapping[str, Any]],
    defects: Mapping[str, Mapping[str, Sequence[int]]],
    persons: Mapping[str, str],
    truth: str,
    generator: torch.Generator,
) -> Interval | None:
    """Least-squares slope of defect contrast in the answers on that in the truth; 1 keeps it, 0 fills all defects.

    Contrast is how far a defect segment lies below the normal segments of the same scan. None with fewer than 3 persons
    that have defects.

    Parameters
    ----------
    lines : by scan, what `low_dose_scores` gives.
    defects : by scan, of `defects_of`.
    persons : who each scan is of; they are drawn whole.
    """
    pairs: list[tuple[float, float]] = []
    owners: list[str] = []
    for scan, line in lines.items():
        where = defects[scan]
        if where["defect"] and where["normal"]:
            true, found = (_contrasts(line["segments"][name], where) for name in (truth, "answer"))
            pairs += zip(true, found, strict=True)
            owners += [persons[scan]] * len(true)
    if len(set(owners)) < FEWEST_PERSONS:
        return None
    x, y = torch.tensor(pairs, dtype=torch.float64).T
    slope = slope_over_persons(x, y, owners, generator)
    return slope if all(torch.tensor(slope).isfinite()) else None


def _contrasts(segments: Sequence[float], where: Mapping[str, Sequence[int]]) -> list[float]:
    values = torch.tensor(segments, dtype=torch.float64)
    normal = float(values[list(where["normal"])].mean())
    return [1 - value / normal for value in values[list(where["defect"])].tolist()]


def pictured(defects: Mapping[str, Mapping[str, Sequence[int]]]) -> str:
    """The scan of which polar maps are drawn: the first with a defect, or the first.

    Raises
    ------
    MissingInput : there is no scan.
    """
    if not defects:
        raise MissingInput("no scan", needed="one or more to draw", remedy="Score a split that has scans.")
    return next((scan for scan, where in defects.items() if where["defect"] and where["normal"]), next(iter(defects)))
