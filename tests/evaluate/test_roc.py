"""Areas under ROC curves, against counting by hand and against chance."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.evaluate.roc import areas, roc_curve

TRUTH = torch.tensor([True] * 4 + [False] * 4)


@given(st.lists(st.integers(0, 5), min_size=8, max_size=8))
def test_area_is_the_share_of_pairs_in_order(values: list[int]) -> None:
    ill, well = np.array(values[:4]), np.array(values[4:])
    by_hand = ((ill[:, None] > well) + 0.5 * (ill[:, None] == well)).mean()
    found = areas(torch.tensor([values]), TRUTH)
    assert found.auc[0] == pytest.approx(by_hand)
    false, true = roc_curve(torch.tensor(values), TRUTH)
    assert np.trapezoid(true, false) == pytest.approx(by_hand)
    low, high = found.interval()[1:]
    assert 0 <= low <= by_hand <= high <= 1


def test_covariance_by_hand() -> None:
    # Shares of the other kind outranked: ill 1, 1/2; well 1, 1/2. Their variances are 1/8 each, over 2 cases each.
    found = areas(torch.tensor([[3.0, 1.0, 0.0, 2.0]]), torch.tensor([True, True, False, False]))
    assert found.auc[0] == pytest.approx(0.75)
    assert found.covariance[0, 0] == pytest.approx(1 / 8)


def test_intervals_cover_the_true_area(generator: torch.Generator) -> None:
    truth = torch.arange(60) < 30
    expected = 0.5 * math.erfc(-1.2 / 2)  # two Gaussians 1.2 apart
    hits = 0
    for _ in range(200):
        scores = torch.randn(1, 60, generator=generator) + 1.2 * truth
        low, high = areas(scores, truth).interval()[1:]
        hits += low <= expected <= high
    assert 180 <= hits <= 199


def test_paired_test_holds_its_level_and_sees_a_difference(generator: torch.Generator) -> None:
    truth = torch.arange(80) < 40
    small = found = 0
    for _ in range(100):
        shared = torch.randn(80, generator=generator)
        own = torch.randn(3, 80, generator=generator)
        scores = shared + own + torch.tensor([[1.0], [1.0], [2.5]]) * truth
        compared = areas(scores, truth)
        small += compared.pvalue(0, 1) < 0.05
        found += compared.pvalue(0, 2) < 0.05
    assert small <= 12
    assert found >= 80


def test_a_method_is_no_better_than_itself_nor_than_a_rescaled_self() -> None:
    scores = torch.tensor([0.3, 2.0, 5.0, 1.0, 0.1, 0.2, 3.0, 0.4])
    compared = areas(torch.stack([scores, 10 * scores]), TRUTH)
    assert compared.pvalue(0, 1) == 1.0


def test_a_perfect_reader_of_few_cases_is_not_certain() -> None:
    found = areas(torch.arange(8, 0, -1.0)[None], TRUTH).interval()
    assert found.estimate == 1
    assert found.low == pytest.approx(1 - 3 / 4)


def test_what_has_no_area() -> None:
    with pytest.raises(ShapeMismatch):
        areas(torch.zeros(8), TRUTH)
    with pytest.raises(ShapeMismatch):
        areas(torch.zeros(1, 8), TRUTH.long())
    with pytest.raises(BadValues):
        areas(torch.full((1, 8), math.nan), TRUTH)
    with pytest.raises(BadArgument, match="at least 2"):
        areas(torch.zeros(1, 8), torch.arange(8) < 1)
