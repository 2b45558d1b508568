"""The rows of a cohort: what passes, what fails, and what cannot be said."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from photopeak.evaluate.bands import Row, counts_of
from photopeak.evaluate.cohort_facts import cohort_rows, reversibility, unevenness
from photopeak.evaluate.scan_facts import ScanFacts

PERSONS = 424
DISEASE = [()] * 11 + [("LAD",)] * 3 + [("LAD", "RCA"), ("RCA",), ("RCA",), ("RCA", "LCX"), ("LCX",), ("LCX",)]


def cohort(persons: int = PERSONS, **changes: object) -> list[ScanFacts]:
    """Persons with stress and rest who are as the published ones are; `changes` are made to every scan."""
    draw = np.random.default_rng(4)
    scans = []
    for number in range(persons):
        male = number % 424 < 323
        age, height, weight = draw.normal(65.4, 10.2), draw.normal(1.62, 0.10), draw.normal(63.2, 10.5)
        arteries = DISEASE[number % len(DISEASE)]
        stays = (0.0, 0.5, 0.0, 1.0)[number // len(DISEASE) % 4]
        for state in ("stress", "rest"):
            missing = (0.3 if state == "stress" else 0.3 * stays) if arteries else 0.0
            nac = np.ones(17)
            nac[9], nac[6] = (0.85, 1.0) if male else (1.0, 0.93)
            nac[:6] -= 0.1 + 0.004 * (weight / height**2 - 24) + draw.normal(0, 0.03)
            bad = draw.random() < 0.28
            shift = draw.normal(0, (8, 8, 15) if bad else (5, 5, 7))
            values = {
                "person": f"p{number}",
                "state": state,
                "sex": "M" if male else "F",
                "age_years": age,
                "height_m": height,
                "weight_kg": weight,
                "dose_mbq": 719.0 if state == "stress" else 421.0,
                "protocol": "two-day" if number % 40 else "stress-rest one-day",
                "nac_segments": tuple(nac),
                "ac_segments": (3.2,) * 17,
                "clean_segments": (1.0,) * 17,
                "truth_segments": (1.3,) * 17,
                "truth_fwhm_mm": 13.0,
                "perfusion_segments": (1 - missing, *(1.0,) * 16),
                "territories": arteries,
                "factor": 3.2 + 0.05 * (weight / height**2 - 24) + draw.normal(0, 0.4),
                "myocardial_counts": 390e3 if state == "stress" else 230e3,
                "scatter_to_primary": 0.33,
                "misregistration_mm": tuple(shift),
            }
            scans.append(ScanFacts(**(values | changes)))
    return scans


def named(rows: Sequence[Row], start: str) -> Row:
    (row,) = [row for row in rows if row.name.startswith(start)]
    return row


def test_a_cohort_like_the_published_one_fails_nowhere() -> None:
    rows = cohort_rows(cohort())
    assert {row.name: row.found for row in rows if row.status != "pass"} == {}
    assert named(rows, "age, mean").n == PERSONS, "persons, not scans"


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ("men", {"sex": "M"}),
        ("age, mean", {"age_years": 70.0}),
        ("age, sd", {"age_years": 65.4}),
        ("height, mean", {"height_m": 1.66}),
        ("weight, sd", {"weight_kg": 63.2}),
        ("AC / NAC in the left ventricle", {"factor": 2.7}),
        ("scatter / primary", {"scatter_to_primary": 0.5}),
        ("left ventricular counts, rest", {"myocardial_counts": 290e3}),
        ("injected dose, stress", {"dose_mbq": 421.0}),
        ("two-day protocol", {"protocol": "stress-rest one-day"}),
        ("AC / truth after partial volume", {"clean_segments": (*(1.0,) * 16, 1.1)}),
        ("NAC mid-inferior / mid-anterior, normal men", {"nac_segments": (1.0,) * 17}),
        ("NAC mid-anterior / mid-inferior, normal women", {"nac_segments": (1.0,) * 17}),
        ("abnormal", {"territories": ()}),
        ("LAD, of abnormal", {"territories": ("RCA",)}),
        ("more than one vessel", {"territories": ("LAD", "RCA")}),
        ("fixed, of abnormal", {"perfusion_segments": (0.7, *(1.0,) * 16), "territories": ("LAD",)}),
        ("scans with a map more than 1 pixel off", {"misregistration_mm": (0.0, 0.0, 0.0)}),
        ("scans with a map off in 2 axes", {"misregistration_mm": (0.0, 0.0, 30.0)}),
    ],
)
def test_each_row_can_fail(row: str, changes: dict[str, object]) -> None:
    assert named(cohort_rows(cohort(**changes)), row).status == "fail"


def test_what_no_scan_says_is_not_available_and_no_failure() -> None:
    rows = cohort_rows([ScanFacts(person=f"p{n}", sex="F", age_years=60.0 + n) for n in range(9)])
    missing = [row for row in rows if not row.name.startswith(("men", "age"))]
    assert {row.status for row in missing} == {"not available"}
    assert all(math.isnan(row.found) for row in missing)
    assert counts_of(rows)["not available"] == len(missing)


def test_few_persons_are_not_judged_and_an_empty_cohort_is_none() -> None:
    rows = cohort_rows(cohort(3, factor=9.0))
    assert named(rows, "AC / NAC").status == "too few"
    assert {row.status for row in cohort_rows([])} == {"not available"}


def test_two_scans_of_one_person_count_once() -> None:
    twice = [ScanFacts(person="p", factor=f) for f in (3.0, 3.4)]
    row = named(cohort_rows(twice), "AC / NAC")
    assert (row.n, row.found) == (1, pytest.approx(3.2))


def test_the_band_of_a_value_narrows_with_the_square_root_of_n() -> None:
    wide, narrow = (named(cohort_rows(cohort(n)), "age, mean").band for n in (106, 424))
    assert wide[1] - wide[0] == pytest.approx(2 * (narrow[1] - narrow[0]))
    assert narrow == pytest.approx((65.4 - 3.3 * 10.2 / 424**0.5, 65.4 + 3.3 * 10.2 / 424**0.5))


@pytest.mark.parametrize(("stays", "kind"), [(0.0, "reversible"), (0.5, "mixed"), (0.9, "fixed")])
def test_reversibility_is_what_stays_at_rest(stays: float, kind: str) -> None:
    stress, rest = (
        ScanFacts(person="p", state=state, perfusion_segments=(*(1.0,) * 15, 1 - missing, 1 - missing))
        for state, missing in (("stress", 0.4), ("rest", 0.4 * stays))
    )
    assert reversibility([rest, stress]) == kind
    assert reversibility([stress]) is None


def test_artefacts_that_grow_with_weight_have_a_correlation_and_a_size() -> None:
    scans = []
    for number in range(60):
        depth = 0.05 + 0.004 * number
        nac = (1 - depth, *(1.0,) * 16)
        scans.append(
            ScanFacts(
                person=f"p{number}", height_m=1.6, weight_kg=50.0 + number, nac_segments=nac, clean_segments=(1.0,) * 17
            )
        )
    rows = cohort_rows(scans)
    sign, size = named(rows, "body mass index against artefact"), named(rows, "artefact size, heaviest")
    assert sign.found > 0.99
    light, heavy = (np.mean([unevenness(s) for s in part]) for part in (scans[:20], scans[-20:]))
    assert size.found == pytest.approx(heavy / light)
    assert size.low < size.found < size.high
