"""Coverage is counted right, and a fitted calibration covers patients that it has not seen."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import norm

from photopeak.core import HU, SUV, Grid, Step, Study, Volume
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, MissingInput
from photopeak.evaluate.calibration import (
    BODY,
    HEART,
    LEVELS,
    Calibration,
    Errors,
    calibrate,
    calibrated,
    coverage,
    error_sd_correlation,
    errors_of,
    fit_calibration,
    region_of,
    sharpness,
)
from photopeak.evaluate.pet_scores import body_of


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
    assert found.error.std() == pytest.approx(0.1 * np.sqrt((found.answer**2).mean()), rel=0.1)
    assert np.quantile(found.answer, 0.9) == pytest.approx(1)


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


GRID = Grid.regular((8, 20, 20), (5.0, 4.0, 4.0))


def person(seed: int, *, spread: float = 0.0, count: float = 0.2) -> Study:
    """Water in air; "truth" in SUV, and "pet" that errs by a share of it, with the spread of samples that it states."""
    chance = np.random.default_rng(seed)
    ct = np.full(GRID.shape, -1000.0)
    ct[:, 3:17, 3:17] = 20.0
    suv = chance.uniform(0.5, 4, GRID.shape) * (ct > 0)
    wrong = suv * (1 + count * chance.normal(size=GRID.shape))
    arrays = {"ct": ct, "truth": suv, "pet": wrong, "pet_sd": np.full(GRID.shape, spread)}
    volumes = {name: Volume.from_numpy(a, GRID, HU if name == "ct" else SUV) for name, a in arrays.items()}
    return Study(f"p{seed}", volumes, history=(Step(("pet", "pet_sd"), "noise"),))


def test_a_body_is_judged_in_suv_where_it_is_and_its_scale_counts() -> None:
    study = person(1, spread=0.1)
    doubled = study.add({"pet": study["pet"].with_data(2 * study["truth"].data)}, study.history[-1])
    found = errors_of(doubled, truth="truth", region=BODY)
    body = body_of(study["ct"])
    assert len(found.error) == body.sum() > 1500
    np.testing.assert_allclose(found.error, study["truth"].numpy()[body], rtol=1e-6)
    np.testing.assert_allclose(found.sd, 0.1, rtol=1e-6)
    named = errors_of(
        doubled.add({"a": doubled["pet"], "a_sd": doubled["pet_sd"]}, Step(("a",), "x")),
        of="a",
        truth="truth",
        region=BODY,
    )
    np.testing.assert_array_equal(named.error, found.error)


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_a_calibrated_pet_covers_in_the_body_and_stays_as_it_was_beside_it(spread: float) -> None:
    fitted = calibrate(
        lambda s: person(int(s.name[1:]), spread=spread),
        [person(n) for n in range(4)],
        truth="truth",
        reads=("ct",),
        region=BODY,
    )
    assert fitted.studies == 4
    assert 0.1 < fitted.local < 0.2, "what errs much looks hotter than it is"
    unseen = person(9, spread=spread)
    after = calibrated(unseen, fitted, region=BODY)
    found = errors_of(after, truth="truth", region=BODY)
    assert np.mean(np.abs(found.error) <= 1.96 * found.sd) == pytest.approx(0.95, abs=0.02)
    outside = torch.from_numpy(~body_of(unseen["ct"]))
    assert torch.equal(after["pet_sd"].data[outside], unseen["pet_sd"].data[outside])
    assert torch.equal(after["pet"].data, unseen["pet"].data)
    assert (after.history[-1].by, after.history[-1].settings["studies"]) == ("evaluate.calibration", 4)


def test_a_region_is_that_of_what_is_written_with_an_sd() -> None:
    assert region_of(("ac", "ac_sd")) is HEART
    assert region_of(("pet", "pet_sd", "mu")) is BODY
    assert region_of(("pet",)) is None
    assert region_of(("attention",)) is None


def test_what_no_body_can_be_judged_by_is_named() -> None:
    study, fitted = person(1), fit_calibration(patients(2, 1))
    with pytest.raises(MissingInput, match="ct"):
        calibrated(study.only("pet", "pet_sd"), fitted, region=BODY)
    air = study.add({"ct": study["ct"].with_data(torch.full(GRID.shape, -1000.0))}, study.history[-1])
    with pytest.raises(BadValues, match="a body"):
        calibrated(air, fitted, region=BODY)
    far = Volume(study["ct"].data, Grid.regular(GRID.shape, (5.0, 4.0, 4.0), centre_mm=(40.0, 0.0, 0.0)), HU)
    with pytest.raises(GridMismatch, match="ct"):
        errors_of(study.add({"ct": far}, study.history[-1]), truth="truth", region=BODY)
    for name in ("pet", "pet_sd"):
        with pytest.raises(BadArgument, match="another name"):
            calibrate(lambda s: s, [study], truth=name, reads=("ct",), region=BODY)


def test_thinning_keeps_at_least_so_many_voxels_of_each_kind() -> None:
    (one,) = patients(1, 7)
    assert len(one.thinned(3000).error) == 3000
    few = one.thinned(700)
    np.testing.assert_array_equal(few.answer, one.answer[::4])
    assert len(few.error) == len(few.sd) == 750
