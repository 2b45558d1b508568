import json
from collections import Counter

import numpy as np
import pytest
import torch

from photopeak.core.errors import BadArgument
from photopeak.simulate.population import Patient, draw_patient, draw_scans


def _draw(seed: int, name: str = "patient") -> Patient:
    return draw_patient(torch.Generator().manual_seed(seed), name=name)


@pytest.fixture(scope="module")
def cohort() -> list[Patient]:
    generator = torch.Generator().manual_seed(424)
    return [draw_patient(generator, name=f"p{n}") for n in range(2000)]


def test_the_seed_decides_the_patient():
    assert _draw(7) == _draw(7)
    assert _draw(7) != _draw(8)


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    _draw(1)
    assert torch.equal(before, torch.get_rng_state())


def test_a_patient_survives_json(cohort):
    assert any(patient.defects for patient in cohort[:50])
    for patient in cohort[:50]:
        assert Patient.from_dict(json.loads(json.dumps(patient.to_dict()))) == patient


@pytest.mark.parametrize("change", [{"shoe_size": 43}, {"sex": None}])
def test_a_record_with_other_keys_is_refused(change):
    record = {**_draw(1).to_dict(), **change}
    if change == {"sex": None}:
        del record["sex"]
    with pytest.raises(BadArgument, match=next(iter(change))):
        Patient.from_dict(record)


@pytest.mark.parametrize(
    ("value", "mean", "mean_band", "sd", "sd_band"),
    [
        ("age_years", 65.4, 1.0, 10.2, 1.0),
        ("height_m", 1.62, 0.01, 0.085, 0.02),
        ("weight_kg", 63.2, 1.5, 10.5, 1.2),
        ("bmi", 24.1, 0.5, 3.5, 0.6),
        ("azimuth_deg", 45.0, 1.0, 5.0, 1.0),
    ],
)
def test_the_cohort_has_the_published_statistics(cohort, value, mean, mean_band, sd, sd_band):
    values = np.array([getattr(patient, value) for patient in cohort])
    assert abs(values.mean() - mean) < mean_band
    assert abs(values.std() - sd) < sd_band


@pytest.mark.parametrize(
    ("true_of", "fraction"),
    [
        (lambda p: p.sex == "M", 323 / 424),
        (lambda p: p.arms_up, 0.9),
        (lambda p: p.hot_gut != "none", 0.3),
        (lambda p: bool(p.defects), 0.45),
        (lambda p: p.stressor == "exercise", 0.5),
    ],
)
def test_the_cohort_has_the_stated_proportions(cohort, true_of, fraction):
    assert abs(np.mean([true_of(patient) for patient in cohort]) - fraction) < 0.04


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("lv_radius_mm", 30, 38),
        ("lv_length_mm", 75, 95),
        ("wall_mm", 9, 11),
        ("apical_thinning", 0.3, 0.4),
        ("azimuth_deg", 35, 55),
        ("elevation_deg", 10, 35),
        ("lung_mu_per_cm", 0.040, 0.048),
        ("bone_mu_per_cm", 0.22, 0.25),
    ],
)
def test_every_patient_is_within_anatomical_limits(cohort, value, low, high):
    values = [getattr(patient, value) for patient in cohort]
    assert low <= min(values) < max(values) <= high


def test_uptake_is_not_negative(cohort):
    assert all(value >= 0 for patient in cohort for _, value in patient.uptake)


@pytest.fixture(scope="module")
def scans() -> list[tuple[Patient, Patient]]:
    generator = torch.Generator().manual_seed(848)
    return [draw_scans(generator, name=f"p{n}") for n in range(2000)]


def test_stress_and_rest_are_one_person(scans):
    of_the_scan = {
        "name", "state", "stressor", "dose_mbq", "breathing_mm", "misregistration_mm", "uptake", "hot_gut", "defects",
        "myocardial_counts",
    }  # fmt: skip
    for stress, rest in scans[:100]:
        one, other = stress.to_dict(), rest.to_dict()
        assert {key for key in one if one[key] != other[key]} <= of_the_scan
        assert (stress.name[:-7], stress.state, rest.state) == (rest.name[:-5], "stress", "rest")


@pytest.mark.parametrize(("place", "dose", "sd", "counts"), [(0, 719, 303, 390e3), (1, 421, 205, 230e3)])
def test_counts_follow_the_dose(scans, place, dose, sd, counts):
    doses = np.array([pair[place].dose_mbq for pair in scans])
    seen = np.array([pair[place].myocardial_counts for pair in scans])
    assert doses.mean() == pytest.approx(dose, rel=0.05)
    assert doses.std() == pytest.approx(sd, rel=0.15)
    assert seen.mean() == pytest.approx(counts, rel=0.05)
    rate = seen / doses / 900
    assert (rate.mean(), rate.std()) == pytest.approx((0.6, 0.1), rel=0.08)


def test_protocols_are_those_of_the_cohort(scans):
    mix = Counter(stress.protocol for stress, _ in scans)
    assert mix["two-day"] / 2000 == pytest.approx(413 / 423, abs=0.01)
    assert 0 < mix["rest-stress one-day"] < mix["stress-rest one-day"]
    for stress, rest in scans:
        if stress.protocol == "stress-rest one-day":
            assert 2 * stress.dose_mbq <= rest.dose_mbq


def test_breathing_is_that_of_people(scans):
    """Pretorius et al.: 1.1 to 37.4 mm, more than 10 mm in 33 %, larger in men."""
    size = {sex: np.array([s.breathing_mm for s, _ in scans if s.sex == sex]) for sex in "MF"}
    both = np.concatenate(list(size.values()))
    assert np.median(both) == pytest.approx(8.0, abs=0.6)
    assert (both > 10).mean() == pytest.approx(0.33, abs=0.05)
    assert both.min() >= 1.1
    assert both.max() <= 37.4
    assert np.median(size["M"]) > np.median(size["F"])


def test_maps_are_out_of_register_as_often_as_reported(scans):
    """J Nucl Med 2009; 50:1471: off by more than a pixel in 73 %, by much or in two directions in 28 %."""
    off = np.abs([scan.misregistration_mm for pair in scans for scan in pair])
    beyond = (off > 6.8).sum(axis=1)
    assert 0.55 < (beyond > 0).mean() < 0.8
    assert 0.2 < ((beyond > 1) | (off > 3 * 6.8).any(axis=1)).mean() < 0.36
    assert off[:, 2].std() > 1.2 * off[:, 0].std()


def test_a_few_have_a_hernia(scans):
    assert 0.015 < np.mean([stress.hernia_mm > 0 for stress, _ in scans]) < 0.05


def test_another_body_type_changes_the_body_alone():
    slim, obese = (draw_scans(torch.Generator().manual_seed(1), name="p", body=body)[0] for body in ("slim", "obese"))
    assert slim.bmi < 20 < 31 < obese.bmi
    assert (slim.sex, slim.height_m, slim.defects) == (obese.sex, obese.height_m, obese.defects)


def test_women_have_the_larger_breasts_and_the_obese_the_wider_chests(cohort):
    breast = {sex: np.mean([p.breast_mm for p in cohort if p.sex == sex]) for sex in "MF"}
    assert breast["F"] > 3 * breast["M"]
    assert np.corrcoef([p.bmi for p in cohort], [p.chest_width_mm for p in cohort])[0, 1] > 0.6
