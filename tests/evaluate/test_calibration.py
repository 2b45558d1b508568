"""Coverage is counted right, and a fitted calibration covers patients that it has not seen."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import norm

from photopeak.core import Step, Study
from photopeak.core.errors import BadArgument, BadValues, GridMismatch
from photopeak.evaluate.calibration import (
    LEVELS,
    Calibration,
    Errors,
    calibrate,
    calibrated,
    coverage,
    error_sd_correlation,
    errors_of,
    fit_calibration,
    sharpness,
)


def patients(count: int, seed: int, *, floor: float = 0.0, spread: float = 1.0, local: float = 0.0) -> list[Errors]:
    """Normal errors whose sd has the three parts."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        sd, ac = rng.uniform(0.01, 0.1, 3000), rng.uniform(0, 1.2, 3000)
        true = np.sqrt(floor**2 + (spread * sd) ** 2 + (local * ac) ** 2)
        made.append(Errors(true * rng.normal(size=3000), sd, ac))
    return made


def test_a_right_sd_covers_as_it_says_and_its_width_is_known() -> None:
    right = patients(8, 1)
    assert coverage(right) == pytest.approx({level: level for level in LEVELS}, abs=0.01)
    assert sharpness(right) == pytest.approx(2 * norm.ppf(0.975) * 0.055, rel=0.03)
    assert 0.2 < error_sd_correlation(right) < 0.6


def test_an_sd_that_is_too_small_covers_too_little_and_is_mended_for_unseen_patients() -> None:
    kind = {"floor": 0.05, "spread": 2.0, "local": 0.1}
    fitted = fit_calibration(patients(12, 2, **kind))
    assert (fitted.floor, fitted.spread, fitted.local) == pytest.approx((0.05, 2.0, 0.1), rel=0.15)
    unseen = patients(12, 3, **kind)
    assert coverage(unseen)[0.95] < 0.7
    assert coverage(unseen, fitted) == pytest.approx({level: level for level in LEVELS}, abs=0.015)
    assert fitted.scale == pytest.approx(1, abs=0.05)


def test_heavy_tails_are_covered_too() -> None:
    def heavy(seed: int) -> list[Errors]:
        rng = np.random.default_rng(seed)
        return [Errors(0.05 * rng.standard_t(2, 2000), np.full(2000, 0.05), np.ones(2000)) for _ in range(10)]

    fitted = fit_calibration(heavy(4))
    assert coverage(heavy(5), fitted) == pytest.approx({level: level for level in LEVELS}, abs=0.02)
    assert fitted.reach[0.95] / fitted.reach[0.5] > 4, "a normal has 2.9"


def test_a_constant_sd_has_no_correlation_with_the_error() -> None:
    assert error_sd_correlation([Errors(np.arange(5.0), np.ones(5), np.ones(5))]) == 0


def test_a_card_gives_the_same_calibration() -> None:
    fitted = fit_calibration(patients(4, 6, floor=0.03))
    again = Calibration.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again.sd(np.array(0.1), np.array(1.0)) == pytest.approx(fitted.sd(np.array(0.1), np.array(1.0)), rel=1e-3)
    assert again.reach == pytest.approx(fitted.reach, abs=1e-4)


def answered(patient: Study, noise: float = 0.1) -> Study:
    ac = patient["ac_clean"]
    generator = torch.Generator().manual_seed(3)
    wrong = ac.data * (1 + noise * torch.randn(ac.data.shape, generator=generator))
    volumes = {"ac": ac.with_data(2 * wrong), "ac_sd": ac.with_data(0.02 * ac.data)}
    return patient.add(volumes, Step(("ac", "ac_sd"), "noise"))


def test_errors_are_relative_and_do_not_know_the_scale(patient: Study) -> None:
    found = errors_of(answered(patient))
    assert found.error.std() == pytest.approx(0.1 * np.sqrt((found.ac**2).mean()), rel=0.1)
    assert np.quantile(found.ac, 0.9) == pytest.approx(1)


def test_a_calibrated_volume_covers(patient: Study) -> None:
    study = answered(patient)
    fitted = calibrate(answered, [patient, patient], reads=("nac", "ac_clean"))
    before, after = errors_of(study), errors_of(calibrated(study, fitted))
    assert np.mean(np.abs(before.error) <= 1.96 * before.sd) < 0.5
    assert np.mean(np.abs(after.error) <= 1.96 * after.sd) == pytest.approx(0.95, abs=0.01)
    assert torch.equal(calibrated(study, fitted)["ac"].data, study["ac"].data)


def test_bad_input_is_named(patient: Study) -> None:
    with pytest.raises(BadArgument, match="at least 1"):
        coverage([])
    with pytest.raises(BadArgument, match="at least 2"):
        fit_calibration(patients(1, 1))
    with pytest.raises(BadArgument, match="one of each"):
        Errors(np.ones(3), np.ones(2), np.ones(3))
    with pytest.raises(BadValues, match="negative"):
        Errors(np.ones(3), -np.ones(3), np.ones(3))
    with pytest.raises(BadValues, match="exactly 0"):
        fit_calibration([Errors(np.zeros(3), np.ones(3), np.ones(3))] * 2)
    with pytest.raises(GridMismatch, match="mask"):
        errors_of(answered(patient), mask=torch.ones(2, 2, 2, dtype=torch.bool))
