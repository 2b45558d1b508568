"""What a cardiologist asks of an attenuation correction, per image of a cohort.

Is it biased against CT-AC (Bland and Altman, Lancet 1986; 1:307)? Are defects found (areas of the TPD-like index, after
DeLong)? Do they keep their contrast? Are there defects in normal hearts? Persons are the unit of every interval: they
are drawn whole where they have two scans, and areas take one scan of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from photopeak.cardiac.perfusion import NORMAL_SUM, NormalLimits, perfusion_deficit, segment_scores, summed_score
from photopeak.core.errors import BadArgument
from photopeak.evaluate.bands import NORMAL_95
from photopeak.evaluate.roc import Areas, areas
from photopeak.evaluate.scan_maps import ScanMaps
from photopeak.evaluate.stats import Interval, bootstrap_interval
from photopeak.metrics.compare import best_factor

DRAWS = 2000
POOLED = "all"
SEX_SPECIFIC = ("nac",)
"""Images whose normal limits are made for each sex: attenuation differs; after correction the sexes are alike."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """Bland and Altman's comparison of segments of an image with those of the reference.

    Parameters
    ----------
    mean, difference : [scan, 17], of both and between them, % of the reference's maximum segment.
    bias : mean difference with its interval over persons.
    low, high : 95 % limits of agreement.
    slope : of the difference on the mean (proportional bias), percentage points for each, with its interval.
    absolute : mean absolute difference, with its interval.
    """

    mean: Tensor
    difference: Tensor
    bias: Interval
    low: float
    high: float
    slope: Interval
    absolute: Interval


@dataclass(frozen=True, eq=False)
class Findings:
    """What one image says about the hearts of a cohort.

    Parameters
    ----------
    image : its name.
    scans, normal_scans, stress_scans : how many of each.
    agreement : of its segments with the reference.
    deficits : TPD-like index [stress scan], %.
    area : under the ROC curve of that index for scans with a defect.
    contrast_slope : of the contrast of defect segments on that in the reference; None without enough of them.
    true_slope : the same on the true contrast, below 1 in any image since blur fills defects.
    defect_segments : how many there are.
    false_defects : segments that score 1 or more for each normal scan.
    normalcy : share of normal scans whose summed score is below 4, %.
    """

    image: str
    scans: int
    normal_scans: int
    stress_scans: int
    agreement: Agreement
    deficits: Tensor
    area: Interval
    contrast_slope: Interval | None
    true_slope: Interval | None
    defect_segments: int
    false_defects: Interval
    normalcy: Interval


@dataclass(frozen=True, eq=False)
class Clinical:
    """Findings of all images of the same scans.

    Parameters
    ----------
    reference : image that agreement and contrast are measured against.
    present : bool [stress scan], the scan has a defect.
    areas : of the images, in the order of `findings`, for paired tests.
    """

    reference: str
    findings: Mapping[str, Findings]
    present: Tensor
    areas: Areas


Limits = Mapping[str, Mapping[str, NormalLimits]]


def normal_limits(normals: Sequence[ScanMaps], images: Sequence[str]) -> Limits:
    """Limits by image and by sex ("M", "F", or "all" where the sexes are pooled) from scans without a defect.

    Raises
    ------
    BadArgument : a scan has a defect, or there are too few of a sex.
    """
    ill = [scan.person for scan in normals if not scan.is_normal]
    if ill:
        raise BadArgument(f"normals with a defect: {ill[0]}", needed="normal scans", remedy="Keep those without any.")
    made: dict[str, dict[str, NormalLimits]] = {}
    for image in images:
        groups: dict[str, list[Tensor]] = {}
        for scan in normals:
            groups.setdefault(_group(scan, image), []).append(scan[image])
        made[image] = {group: NormalLimits.of(torch.stack(maps)) for group, maps in groups.items()}
    return made


def limits_for(scan: ScanMaps, image: str, limits: Limits) -> NormalLimits:
    """The limits that a scan's image is read with."""
    group = _group(scan, image)
    if group not in limits.get(image, {}):
        raise BadArgument(
            f'"{image}" of {scan.person}, read with limits of {", ".join(limits.get(image, {})) or "no group"}',
            needed=f"limits of {group}",
            remedy="Add normal scans of that group.",
        )
    return limits[image][group]


def agreement(scans: Sequence[ScanMaps], image: str, reference: str, generator: torch.Generator) -> Agreement:
    """Segments of an image beside the reference's, after one least-squares factor for each scan."""
    expected = torch.stack([scan.segments(reference) for scan in scans])
    found = torch.stack([scan.segments(image) for scan in scans])
    factors = torch.tensor([best_factor(a, b) for a, b in zip(found, expected, strict=True)], dtype=torch.float64)
    peaks = expected.amax(dim=1, keepdim=True)
    found, expected = 100 * factors[:, None] * found / peaks, 100 * expected / peaks
    mean, difference = (found + expected) / 2, found - expected
    persons = [scan.person for scan in scans]
    reach = NORMAL_95 * float(difference.std())
    return Agreement(
        mean,
        difference,
        mean_over_persons(difference.mean(1), persons, generator),
        float(difference.mean()) - reach,
        float(difference.mean()) + reach,
        slope_over_persons(mean, difference, persons, generator),
        mean_over_persons(difference.abs().mean(1), persons, generator),
    )


def contrasts(scans: Sequence[ScanMaps], image: str, limits: Limits) -> Tensor:
    """Contrast [defect segment] of all scans in turn: how far below the normal segments of the same scan it lies.

    Every segment is divided by its normal mean first, so that what is uneven in all hearts is no contrast. Scans
    without a normal segment have nothing to compare with, and are left out as they are by `true_contrasts`.
    """
    found = []
    for scan in _comparable(scans):
        relative = scan.segments(image) / limits_for(scan, image, limits).segment_mean
        found.append(1 - relative[list(scan.defect_segments)] / relative[list(scan.normal_segments)].mean())
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)


def true_contrasts(scans: Sequence[ScanMaps]) -> tuple[Tensor, list[str]]:
    """True contrast [defect segment] and whose it is, in the order of `contrasts`."""
    pairs = [
        (1 - scan.truth_segments[i] / np.mean([scan.truth_segments[j] for j in scan.normal_segments]), scan.person)
        for scan in _comparable(scans)
        for i in scan.defect_segments
    ]
    return torch.tensor([c for c, _ in pairs], dtype=torch.float64), [person for _, person in pairs]


def assess(
    scans: Sequence[ScanMaps], limits: Limits, *, reference: str, images: Sequence[str], generator: torch.Generator
) -> Clinical:
    """All findings of all images on the same scans.

    Parameters
    ----------
    reference : image of CT-AC; its own row shows what the reference itself can do.
    generator : draws the persons of intervals.

    Raises
    ------
    BadArgument : no normal scans, or too few stress scans with or without a defect.
    """
    stress = _stress(scans)
    normal = [scan for scan in scans if scan.is_normal]
    if len({scan.person for scan in normal}) < 2:
        raise BadArgument(
            f"{len(normal)} normal scans", needed="those of two persons or more", remedy="Assess more persons."
        )
    present = torch.tensor([not scan.is_normal for scan in stress])
    deficits = torch.stack([_deficits(stress, image, limits) for image in images])
    found = areas(deficits, present)
    expected, owners = contrasts(scans, reference, limits), true_contrasts(scans)
    findings = {}
    for row, image in enumerate(images):
        contrast = contrasts(scans, image, limits)
        false, sums = _in_normals(normal, image, limits)
        whose = [scan.person for scan in normal]
        findings[image] = Findings(
            image=image,
            scans=len(scans),
            normal_scans=len(normal),
            stress_scans=len(stress),
            agreement=agreement(scans, image, reference, generator),
            deficits=deficits[row],
            area=found.interval(row),
            contrast_slope=_slope(expected, contrast, owners[1], generator),
            true_slope=_slope(owners[0], contrast, owners[1], generator),
            defect_segments=len(contrast),
            false_defects=mean_over_persons(false, whose, generator),
            normalcy=mean_over_persons(100 * (sums < NORMAL_SUM).double(), whose, generator),
        )
    return Clinical(reference, findings, present, found)


def mean_over_persons(values: Tensor, persons: Sequence[str], generator: torch.Generator) -> Interval:
    """Mean over persons of values [scan], whose scans are averaged first, and its interval."""
    own: dict[str, list[float]] = {}
    for person, value in zip(persons, values.tolist(), strict=True):
        own.setdefault(person, []).append(value)
    return bootstrap_interval([float(np.mean(v)) for v in own.values()], generator=generator, draws=DRAWS)


def slope_over_persons(x: Tensor, y: Tensor, persons: Sequence[str], generator: torch.Generator) -> Interval:
    """Least-squares slope of y on x [case] or [case, value], with the interval of persons drawn whole."""
    names = sorted(set(persons))
    place = torch.tensor([names.index(person) for person in persons])
    x, y = x.double().reshape(len(persons), -1), y.double().reshape(len(persons), -1)
    terms = torch.stack([torch.ones_like(x), x, y, x * x, x * y]).sum(-1)
    sums = torch.zeros(5, len(names), dtype=torch.float64).index_add_(1, place, terms)
    drawn = torch.randint(len(names), (DRAWS, len(names)), generator=generator)
    slopes = _slopes(sums[:, drawn].sum(-1))
    low, high = torch.nanquantile(slopes, torch.tensor([0.025, 0.975], dtype=torch.float64))
    return Interval(float(_slopes(sums.sum(-1))), float(low), float(high))


def _slopes(sums: Tensor) -> Tensor:
    """Slopes from sums [5, ...] of 1, x, y, x x and x y; NaN where x does not vary."""
    n, x, y, xx, xy = sums
    spread = n * xx - x * x
    return torch.where(spread > 1e-12 * n * xx, (n * xy - x * y) / spread, torch.nan)


def _slope(x: Tensor, y: Tensor, persons: Sequence[str], generator: torch.Generator) -> Interval | None:
    """None where there are too few persons, or where x is the same everywhere."""
    found = slope_over_persons(x, y, persons, generator) if len(set(persons)) > 2 else None
    return None if found is None or not np.isfinite(found).all() else found


def _group(scan: ScanMaps, image: str) -> str:
    return str(scan.sex) if image in SEX_SPECIFIC else POOLED


def _comparable(scans: Sequence[ScanMaps]) -> list[ScanMaps]:
    return [scan for scan in scans if scan.defect_segments and scan.normal_segments]


def _stress(scans: Sequence[ScanMaps]) -> list[ScanMaps]:
    """One scan of each person: that under stress, where defects show."""
    stress = [scan for scan in scans if scan.state == "stress"]
    if len({scan.person for scan in stress}) < len(stress):
        raise BadArgument("two stress scans of one person", needed="one of each", remedy="Leave one out.")
    return stress


def _deficits(scans: Sequence[ScanMaps], image: str, limits: Limits) -> Tensor:
    values = [perfusion_deficit(scan[image], limits_for(scan, image, limits)) for scan in scans]
    return torch.tensor(values, dtype=torch.float64)


def _in_normals(normal: Sequence[ScanMaps], image: str, limits: Limits) -> tuple[Tensor, Tensor]:
    """Segments that score [scan] and summed scores [scan] of normal scans."""
    scores = [segment_scores(scan[image], limits_for(scan, image, limits)) for scan in normal]
    counts = torch.tensor([int((one > 0).sum()) for one in scores], dtype=torch.float64)
    return counts, torch.tensor([summed_score(one) for one in scores], dtype=torch.float64)
