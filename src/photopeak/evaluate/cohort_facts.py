"""A cohort beside the published facts: each row has what was found, in how many, and the band it should be in.

The unit is the person; of two scans the mean is taken. How a band is made of a published value: `evaluate.bands`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np

from photopeak.cardiac.segments import SEGMENTS
from photopeak.evaluate.bands import (
    Row,
    correlation_row,
    heavy_over_light_row,
    mean_and_sd_rows,
    mean_row,
    share_in_range_row,
    share_row,
    unanswered,
)
from photopeak.evaluate.scan_facts import ScanFacts

Of = Callable[[ScanFacts], float | None]

NORMAL_UPTAKE = 0.99
PIXEL_MM = 6.4
REVERSIBLE_BELOW, FIXED_ABOVE = 0.25, 0.75

TABLE_2 = "PADM (arXiv 2511.06948), Table 2"
NUCLEAR = "own noiseless simulations and Yang 2021"
MIX = "assumed mix of a perfusion laboratory"
THIN_AND_OBESE = "own bands; anterior / inferior was 1.14 in a thin man, 1.11 in an average, 1.47 in an obese one"
JNM_2009 = "0.73 and 0.28 in J Nucl Med 50:1471 (248 studies), whose pixel is taken for 6.4 mm"


def cohort_rows(scans: Iterable[ScanFacts]) -> list[Row]:
    """Every row that there is, in order; rows that the cohort cannot answer have n = 0."""
    scans = list(scans)
    return [*population_rows(scans), *image_rows(scans), *dose_rows(scans), *disease_rows(scans), *map_rows(scans)]


def by_person(scans: Iterable[ScanFacts]) -> dict[str, list[ScanFacts]]:
    """Scans of each person."""
    found: dict[str, list[ScanFacts]] = {}
    for scan in scans:
        found.setdefault(scan.person, []).append(scan)
    return found


def is_normal(scan: ScanFacts) -> bool:
    """Without a perfusion defect, as far as the truth is known."""
    return scan.perfusion_segments is not None and min(scan.perfusion_segments) >= NORMAL_UPTAKE


def population_rows(scans: Sequence[ScanFacts]) -> list[Row]:
    """Sex, age, height and weight."""
    men = _per_person(scans, lambda s: None if s.sex not in ("M", "F") else float(s.sex == "M"))
    rows = [share_row("men", men, 323 / 424, TABLE_2)]
    for name, unit, of, mean, sd in (
        ("age", "years", lambda s: s.age_years, 65.4, 10.2),
        ("height", "m", lambda s: s.height_m, 1.62, 0.10),
        ("weight", "kg", lambda s: s.weight_kg, 63.2, 10.5),
    ):
        rows += mean_and_sd_rows(name, unit, _per_person(scans, of), mean, sd, TABLE_2)
    return rows


def image_rows(scans: Sequence[ScanFacts]) -> list[Row]:
    """What attenuation, its correction and scatter do to the images."""
    normal = [scan for scan in scans if is_normal(scan)]
    men, women = ([scan for scan in normal if scan.sex == sex] for sex in "MF")
    inferior, anterior = SEGMENTS.index("mid inferior"), SEGMENTS.index("mid anterior")
    return [
        mean_row(
            "NAC mid-inferior / mid-anterior, normal men",
            "1",
            _per_person(men, lambda s: _ratio(s, inferior, anterior)),
            (0.80, 0.93),
            NUCLEAR,
        ),
        mean_row(
            "NAC mid-anterior / mid-inferior, normal women",
            "1",
            _per_person(women, lambda s: _ratio(s, anterior, inferior)),
            (0.88, 0.98),
            NUCLEAR,
        ),
        _worst_segment(normal),
        mean_row("AC / NAC in the left ventricle", "1", _per_person(scans, lambda s: s.factor), (2.8, 3.9), NUCLEAR),
        mean_row(
            "scatter / primary through the heart",
            "1",
            _per_person(scans, lambda s: s.scatter_to_primary),
            (0.25, 0.45),
            "0.30 to 0.40 in the heart region, up to 0.5 in the obese, at 140.5 keV ± 10 %",
        ),
        *_artefact_rows(scans),
    ]


def dose_rows(scans: Sequence[ScanFacts]) -> list[Row]:
    """Injected activity, counts and protocols."""
    rows = []
    for state, kilocounts, dose_mbq in (("stress", 390.0, 719.0), ("rest", 230.0, 421.0)):
        some = [scan for scan in scans if scan.state == state]
        counts = _per_person(some, lambda s: None if s.myocardial_counts is None else s.myocardial_counts / 1e3)
        rows += [
            mean_row(
                f"left ventricular counts, {state}",
                "10³",
                counts,
                (0.8 * kilocounts, 1.2 * kilocounts),
                "0.6 cps/MBq (Imbert, J Nucl Med 2012) in 15 min ± 20 %",
            ),
            mean_row(
                f"injected dose, {state}",
                "MBq",
                _per_person(some, lambda s: s.dose_mbq),
                (0.8 * dose_mbq, 1.2 * dose_mbq),
                "J Nucl Med Technol 2024, tc.123.266836 ± 20 %",
            ),
        ]
    two_day = _per_person(scans, lambda s: None if s.protocol is None else float(s.protocol == "two-day"))
    return [*rows, share_row("two-day protocol", two_day, 413 / 423, "PADM (arXiv 2511.06948), section on data")]


def disease_rows(scans: Sequence[ScanFacts]) -> list[Row]:
    """How many persons have defects, where, and whether they go away at rest."""
    persons = by_person(scan for scan in scans if scan.territories is not None and scan.perfusion_segments is not None)
    places = {person: _territories(own) for person, own in persons.items()}
    abnormal = {person: own for person, own in persons.items() if places[person]}
    kinds = [kind for own in abnormal.values() if (kind := reversibility(own)) is not None]
    first = {person: places[person][0] for person in abnormal}
    rows = [share_in_range_row("abnormal", [float(bool(own)) for own in places.values()], (0.40, 0.50), MIX)]
    for artery, share in (("LAD", 0.45), ("RCA", 0.30), ("LCX", 0.25)):
        rows.append(share_row(f"{artery}, of abnormal", [float(one == artery) for one in first.values()], share, MIX))
    several = [float(len(places[person]) > 1) for person in abnormal]
    rows.append(share_row("more than one vessel, of abnormal", several, 0.20, MIX))
    for kind, share in (("reversible", 0.50), ("fixed", 0.25), ("mixed", 0.25)):
        rows.append(share_row(f"{kind}, of abnormal", [float(one == kind) for one in kinds], share, MIX))
    return rows


def reversibility(scans: Sequence[ScanFacts]) -> Literal["reversible", "fixed", "mixed"] | None:
    """Whether what is missing at stress is there at rest: at least 75 % of it, at most 25 %, or something between."""
    missing = {s.state: sum(1 - u for u in s.perfusion_segments) for s in scans if s.perfusion_segments is not None}
    if not {"stress", "rest"} <= set(missing) or missing["stress"] <= 0:
        return None
    stays = missing["rest"] / missing["stress"]
    return "reversible" if stays < REVERSIBLE_BELOW else "fixed" if stays > FIXED_ABOVE else "mixed"


def map_rows(scans: Sequence[ScanFacts]) -> list[Row]:
    """How far the attenuation maps lie from the emission."""
    shifts = [np.abs(scan.misregistration_mm) for scan in scans if scan.misregistration_mm is not None]
    off = [(shift > PIXEL_MM).sum() for shift in shifts]
    far = [float(axes > 1 or shift.max() > 3 * PIXEL_MM) for axes, shift in zip(off, shifts, strict=True)]
    return [
        share_in_range_row(
            "scans with a map more than 1 pixel off", [float(n > 0) for n in off], (0.63, 0.83), JNM_2009
        ),
        share_in_range_row("scans with a map off in 2 axes, or by 3 pixels", far, (0.20, 0.36), JNM_2009),
    ]


def unevenness(scan: ScanFacts) -> float | None:
    """Size of the attenuation artefact: coefficient of variation over segments of NAC over perfect AC."""
    if scan.nac_segments is None or scan.clean_segments is None:
        return None
    ratio = np.divide(scan.nac_segments, scan.clean_segments)
    return float(ratio.std() / ratio.mean())


def segment_errors(scans: Sequence[ScanFacts]) -> np.ndarray:
    """Perfect AC over truth after partial volume, one factor per scan taken out: [person, segment]."""
    rows = []
    for own in by_person(scans).values():
        ratios = [
            np.divide(s.clean_segments, s.truth_segments)
            for s in own
            if s.clean_segments is not None and s.truth_segments is not None
        ]
        if ratios:
            rows.append(np.mean([ratio / ratio.mean() for ratio in ratios], axis=0))
    return np.array(rows).reshape(-1, len(SEGMENTS))


def _worst_segment(normal: Sequence[ScanFacts]) -> Row:
    errors = segment_errors(normal)
    name, band = "AC / truth after partial volume, worst segment of normals", (0.94, 1.06)
    if not len(errors):
        return unanswered(name, "1", band, NUCLEAR)
    worst = int(np.abs(errors.mean(0) - 1).argmax())
    return mean_row(f"{name} ({SEGMENTS[worst]})", "1", errors[:, worst].tolist(), band, NUCLEAR)


def _artefact_rows(scans: Sequence[ScanFacts]) -> list[Row]:
    """Heavier persons lose more counts, and have larger artefacts: the sign, and how much."""
    loss = _per_person_pairs(scans, lambda s: s.bmi, lambda s: s.factor)
    artefact = _per_person_pairs(scans, lambda s: s.bmi, unevenness)
    return [
        correlation_row(
            "body mass index against AC / NAC", loss, (0.30, 0.95), "own band; attenuation grows with size"
        ),
        correlation_row("body mass index against artefact size", artefact, (0.05, 0.80), THIN_AND_OBESE),
        heavy_over_light_row("artefact size, heaviest third / lightest third", artefact, (1.02, 2.0), THIN_AND_OBESE),
    ]


def _territories(scans: Sequence[ScanFacts]) -> tuple[str, ...]:
    """Territories of a person's defects, each once, as drawn at stress, or in whatever scan there is."""
    ordered = sorted(scans, key=lambda s: s.state != "stress")
    return tuple(dict.fromkeys(place for scan in ordered for place in scan.territories or ()))


def _ratio(scan: ScanFacts, above: int, below: int) -> float | None:
    return None if scan.nac_segments is None else scan.nac_segments[above] / scan.nac_segments[below]


def _per_person(scans: Sequence[ScanFacts], of: Of) -> list[float]:
    """Mean over the scans of each person that have an answer."""
    found: dict[str, list[float]] = {}
    for scan in scans:
        if (value := of(scan)) is not None:
            found.setdefault(scan.person, []).append(float(value))
    return [sum(values) / len(values) for values in found.values()]


def _per_person_pairs(scans: Sequence[ScanFacts], a: Of, b: Of) -> np.ndarray:
    """Means of two values over the scans of each person that have both: [person, 2]."""
    complete = [scan for scan in scans if a(scan) is not None and b(scan) is not None]
    return np.array([_per_person(complete, a), _per_person(complete, b)]).T.reshape(-1, 2)
