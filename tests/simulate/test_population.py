import json

import numpy as np
import pytest
import torch

from photopeak.core.errors import BadArgument
from photopeak.simulate.population import Patient, draw_patient


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
        (lambda p: p.arms_up, 0.75),
        (lambda p: p.hot_gut != "none", 0.3),
        (lambda p: bool(p.defects), 0.45),
        (lambda p: p.state == "stress", 0.5),
    ],
)
def test_the_cohort_has_the_stated_proportions(cohort, true_of, fraction):
    assert abs(np.mean([true_of(patient) for patient in cohort]) - fraction) < 0.04


def test_territories_and_multivessel_disease(cohort):
    ill = [patient.defects for patient in cohort if patient.defects]
    assert abs(np.mean([len(defects) > 1 for defects in ill]) - 0.2) < 0.05
    first = [defects[0].territory for defects in ill]
    for territory, fraction in {"LAD": 0.45, "RCA": 0.30, "LCX": 0.25}.items():
        assert abs(first.count(territory) / len(first) - fraction) < 0.06
    assert all(len({d.territory for d in defects}) == len(defects) for defects in ill)


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


def test_defects_and_uptake_are_within_limits(cohort):
    for patient in cohort:
        assert all(value >= 0 for _, value in patient.uptake)
        for defect in patient.defects:
            assert 0.2 <= defect.uptake <= 0.85
            assert 0.3 <= defect.transmural <= 1
            assert 20 < defect.radius_deg < 62


@pytest.mark.parametrize(("state", "counts"), [("stress", 390e3), ("rest", 230e3)])
def test_counts_follow_the_dose(cohort, state, counts):
    values = [patient.myocardial_counts for patient in cohort if patient.state == state]
    assert abs(np.mean(values) / counts - 1) < 0.05


def test_women_have_the_larger_breasts_and_the_obese_the_wider_chests(cohort):
    breast = {sex: np.mean([p.breast_mm for p in cohort if p.sex == sex]) for sex in "MF"}
    assert breast["F"] > 3 * breast["M"]
    assert np.corrcoef([p.bmi for p in cohort], [p.chest_width_mm for p in cohort])[0, 1] > 0.6
