"""The out-of-domain score: usual scans are near 1, strange ones far, and the quantiles hold for unseen persons."""

import json
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.evaluate.ood import ANATOMY, Population, features, found_heart, population, shrunk_covariance

NAMES = [f"feature {number}" for number in range(12)]


def table(scans: int, seed: int) -> list[dict[str, float]]:
    """Correlated normal features."""
    mix = np.random.default_rng(0).normal(size=(12, 12))
    values = np.random.default_rng(seed).normal(size=(scans, 12)) @ mix
    return [dict(zip(NAMES, row.tolist(), strict=True)) for row in values]


def fitted(scans: int = 200, seed: int = 1) -> Population:
    return population(table(scans, seed), [str(number // 2) for number in range(scans)])


def test_the_quantiles_hold_for_scans_that_it_has_not_seen() -> None:
    usual = fitted()
    distances = np.array([usual.distance(one) for one in table(2000, 5)])
    assert 0.01 < (distances > usual.quantile_95).mean() < 0.10
    assert (distances > usual.quantile_99).mean() < 0.04
    assert np.median(distances) == pytest.approx(0.9, abs=0.15)


def test_a_strange_value_is_far_and_named() -> None:
    usual = fitted()
    strange = dict(zip(NAMES, usual.mean.tolist(), strict=True)) | {"feature 3": usual.mean[3] + 9 * usual.sd[3]}
    assert usual.distance(strange) > 2 * usual.quantile_99
    assert usual.strangest(strange, 1) == ["feature 3 +9.0 sd"]


def test_correlation_counts_not_only_each_feature_by_itself() -> None:
    rng = np.random.default_rng(2)
    first = rng.normal(size=400)
    pairs = [{"a": a, "b": b} for a, b in zip(first, first + 0.1 * rng.normal(size=400), strict=True)]
    usual = population(pairs, [str(number) for number in range(400)])
    assert usual.distance({"a": 1.5, "b": 1.5}) < usual.quantile_99 < usual.distance({"a": 1.5, "b": -1.5})


def test_only_anatomy_refuses_and_what_goes_with_it_is_known() -> None:
    rng = np.random.default_rng(4)
    names = [*ANATOMY, "grain"]
    people = [dict(zip(names, rng.normal(size=12).tolist(), strict=True)) for _ in range(200)]
    usual = population(people, [str(number) for number in range(200)])
    middle = dict(zip(names, usual.mean.tolist(), strict=True))
    grainy, mirrored = middle | {"grain": 30.0}, middle | {"azimuth": 15.0}
    assert usual.distance(grainy) > 4 * usual.quantile_99
    assert usual.anatomical_distance(grainy) < 0.1
    assert usual.refuses(mirrored)
    assert not usual.refuses(grainy)
    assert not any(usual.refuses(person) for person in people)


def test_a_card_gives_the_same_distances() -> None:
    usual = fitted()
    card = json.loads(json.dumps(usual.to_dict()))
    one = table(1, 9)[0]
    assert Population.from_dict(card).distance(one) == pytest.approx(usual.distance(one), rel=5e-3)
    assert len(json.dumps(card)) < 10_000


def test_shrinkage_is_whole_for_noise_and_little_for_many_scans() -> None:
    rng = np.random.default_rng(3)
    few = rng.normal(size=(10, 30))
    assert np.linalg.cond(shrunk_covariance(few)) < 10
    spread = np.diag(np.linspace(0.2, 3, 6))
    many = rng.normal(size=(20_000, 6)) @ spread
    assert shrunk_covariance(many) == pytest.approx(spread**2, abs=0.2)


def test_features_do_not_know_the_unit_of_counts(patient: Study) -> None:
    nac, heart = patient["nac"], found_heart(patient)
    found = features(nac, heart)
    scaled = features(nac.with_data(1000 * nac.data), heart)
    assert scaled == pytest.approx(found, rel=1e-4, abs=1e-5)
    assert all(np.isfinite(value) for value in found.values())


def test_features_see_noise_and_mirrors(patient: Study) -> None:
    nac, heart = patient["nac"], found_heart(patient)
    generator = torch.Generator().manual_seed(0)
    noisy = nac.data + 0.2 * float(nac.data.max()) * torch.rand(nac.data.shape, generator=generator)
    plain, rough, mirrored = (features(v, heart) for v in (nac, nac.with_data(noisy), nac.with_data(nac.data.flip(2))))
    assert rough["grain"] > plain["grain"] + 0.3
    assert mirrored["left over right"] != pytest.approx(plain["left over right"], abs=0.05)


@pytest.mark.parametrize(
    ("found", "persons"),
    [(table(20, 1), list("abcdefghijklmnopqrst")), (table(60, 1), ["one"] * 60), (table(60, 1), ["one"])],
)
def test_too_few_scans_or_persons_are_refused(found: list[Mapping[str, float]], persons: list[str]) -> None:
    with pytest.raises(BadArgument, match="persons"):
        population(found, persons)


def test_features_of_another_version_are_refused() -> None:
    with pytest.raises(BadArgument, match="new one"):
        fitted().distance(dict.fromkeys(NAMES, 0.0) | {"new one": 0.0})
