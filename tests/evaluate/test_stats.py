import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.evaluate.stats import (
    bootstrap_interval,
    by_person,
    holm,
    paired_wilcoxon,
    ratio_interval,
)


def test_interval_of_a_large_sample_is_the_normal_one(generator):
    values = 5 + 2 * torch.randn(400, generator=generator, dtype=torch.float64)
    mean, low, high = bootstrap_interval(values, generator=generator)
    half = 1.96 * float(values.std()) / math.sqrt(400)
    assert mean == pytest.approx(float(values.mean()))
    assert (low, high) == (pytest.approx(mean - half, abs=0.1 * half), pytest.approx(mean + half, abs=0.1 * half))


def test_intervals_cover_at_their_level(generator):
    hits = 0
    for _ in range(200):
        _, low, high = bootstrap_interval(
            torch.randn(40, generator=generator), generator=generator, level=0.8, draws=500
        )
        hits += low <= 0 <= high
    assert 140 <= hits <= 178


def test_same_seed_same_interval():
    one, two = (bootstrap_interval([1.0, 2.0, 4.0], generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert one == two


def test_ratio_is_paired_over_patients(generator):
    b = 1 + torch.rand(30, generator=generator, dtype=torch.float64)
    ratio, low, high = ratio_interval(0.5 * b, b, generator=generator)
    assert (ratio, low, high) == pytest.approx((0.5, 0.5, 0.5))
    shuffled = 0.5 * b[torch.randperm(30, generator=generator)]
    ratio, low, high = ratio_interval(shuffled, b, generator=generator)
    assert ratio == pytest.approx(0.5)
    assert low < 0.48 < 0.52 < high


def test_wilcoxon_by_hand():
    # Five patients, all worse: 2 of the 2^5 equally likely sign patterns are this extreme.
    assert paired_wilcoxon([2.0, 4.0, 6.0, 8.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 32)
    assert paired_wilcoxon([1.0, 2.0], [1.0, 2.0]) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_raw_and_bonferroni(p: list[float]):
    adjusted = holm(p)
    assert all(raw <= new <= min(1, len(p) * raw) for raw, new in zip(p, adjusted, strict=True))
    order = sorted(range(len(p)), key=lambda i: p[i])
    assert all(adjusted[i] <= adjusted[j] for i, j in pairwise(order))


@pytest.mark.parametrize(
    ("values", "level", "error"),
    [
        ([1.0], 0.95, BadArgument),
        ([[1.0, 2.0]], 0.95, BadArgument),
        ([1.0, math.nan], 0.95, BadValues),
        ([1.0, 2.0], 95, BadArgument),
    ],
)
def test_intervals_of_nothing(values, level, error, generator):
    with pytest.raises(error):
        bootstrap_interval(values, generator=generator, level=level)


def test_pairs_that_are_none(generator):
    with pytest.raises(ShapeMismatch, match="3 and 2 patients"):
        paired_wilcoxon([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(BadValues, match="denominators"):
        ratio_interval([1.0, 2.0], [0.0, 1.0], generator=generator)
    with pytest.raises(BadArgument, match="p values"):
        holm([0.5, math.nan])


def test_scans_of_one_person_count_once() -> None:
    scores = {"nac": {"a_stress": {"e": 1.0}, "a_rest": {"e": 3.0}, "b_rest": {"e": 5.0}}}
    persons = {"a_stress": "a", "a_rest": "a", "b_rest": "b"}
    assert by_person(scores, persons) == {"nac": {"a": {"e": 2.0}, "b": {"e": 5.0}}}
