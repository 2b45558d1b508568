"""Scores and the TPD-like index, against hearts whose answer is known."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.cardiac.perfusion import (
    LIMIT_SD,
    NormalLimits,
    deficit_extent,
    perfusion_deficit,
    relative_uptake,
    segment_scores,
    sum_class,
    summed_difference,
    summed_score,
    wall_share,
)
from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch

RINGS, ANGLES = 24, 72


@pytest.fixture
def limits(generator: torch.Generator) -> NormalLimits:
    return NormalLimits.of(100 + 4 * torch.randn(40, RINGS, ANGLES, generator=generator))


def heart_with(uptake: float, half_width_deg: float = 60) -> torch.Tensor:
    """Uniform but for a sector about the anterior wall."""
    polar = torch.full((RINGS, ANGLES), 100.0)
    angle = torch.arange(ANGLES) * 360 / ANGLES
    polar[:, torch.minimum(angle, 360 - angle) < half_width_deg] *= uptake
    return polar


@given(st.floats(0.01, 1e5))
def test_relative_uptake_knows_no_scale(factor: float) -> None:
    polar = heart_with(0.5)
    torch.testing.assert_close(relative_uptake(factor * polar), relative_uptake(polar))


def test_one_hot_spot_does_not_rule_the_map() -> None:
    polar = heart_with(1.0)
    polar[20, 36] = 1000
    assert float(relative_uptake(polar)[0, 0]) == pytest.approx(100)


def test_limits_lie_three_mean_deviations_below(generator: torch.Generator) -> None:
    normal = 100 + 5 * torch.randn(200000, generator=generator, dtype=torch.float64)
    assert pytest.approx(3 * float((normal - 100).abs().mean()), rel=0.01) == LIMIT_SD * 5


def test_the_wall_is_divided_whole() -> None:
    share = wall_share(RINGS, ANGLES)
    assert float(share.sum()) == pytest.approx(1)
    assert bool((share[1:, 0] >= share[:-1, 0]).all())
    assert float(share[-1, 0]) == pytest.approx(float(share[18, 0]))


@pytest.mark.parametrize(("uptake", "score"), [(1.0, 0), (0.8, 1), (0.6, 2), (0.4, 3), (0.1, 4)])
def test_scores_rise_as_uptake_falls(limits: NormalLimits, uptake: float, score: int) -> None:
    scores = segment_scores(heart_with(uptake), limits)
    assert int(scores[0]) == score
    assert int(scores[3]) == 0
    assert summed_score(scores) == int(scores.sum())


def test_an_empty_sector_counts_with_its_whole_extent(limits: NormalLimits) -> None:
    expected = 100 * float(wall_share(RINGS, ANGLES)[:, heart_with(0.0)[0] == 0].sum())
    assert perfusion_deficit(heart_with(0.0), limits) == pytest.approx(expected)
    assert deficit_extent(heart_with(0.0), limits) == pytest.approx(expected)


def test_half_way_to_no_uptake_counts_half(limits: NormalLimits) -> None:
    flat = NormalLimits(
        torch.full((RINGS, ANGLES), 100.0), torch.full((RINGS, ANGLES), 20 / LIMIT_SD), limits.segment_mean,
        limits.segment_sd, 8,
    )  # fmt: skip
    # Between the limit at 80 and nothing at 30 lies 55.
    assert perfusion_deficit(heart_with(0.55), flat) == pytest.approx(perfusion_deficit(heart_with(0.0), flat) / 2)


@given(st.floats(0, 0.95), st.floats(0, 0.95))
def test_less_uptake_is_never_a_smaller_deficit(a: float, b: float) -> None:
    limits = NormalLimits.of(100 + 4 * torch.randn(20, RINGS, ANGLES, generator=torch.Generator().manual_seed(1)))
    low, high = sorted((a, b))
    assert perfusion_deficit(heart_with(low), limits) >= perfusion_deficit(heart_with(high), limits)


def test_normals_have_next_to_no_deficit(limits: NormalLimits, generator: torch.Generator) -> None:
    new = 100 + 4 * torch.randn(30, RINGS, ANGLES, generator=generator)
    assert max(perfusion_deficit(one, limits) for one in new) < 0.3
    beyond = sum(deficit_extent(one, limits) for one in new) / len(new)
    assert beyond == pytest.approx(100 * 0.5 * math.erfc(LIMIT_SD / math.sqrt(2)), abs=1.0)


def test_sums_and_their_words() -> None:
    stress, rest = torch.zeros(17, dtype=torch.int64), torch.zeros(17, dtype=torch.int64)
    stress[[0, 6]] = torch.tensor([3, 2])
    rest[[0, 3]] = torch.tensor([1, 2])
    assert summed_difference(stress, rest) == 4
    assert [sum_class(total) for total in (0, 3, 4, 8, 9, 13, 14, 68)] == [
        "normal", "normal", "mild", "mild", "moderate", "moderate", "severe", "severe",
    ]  # fmt: skip


def test_what_cannot_be_scored(limits: NormalLimits) -> None:
    with pytest.raises(BadArgument, match="7 normal scans"):
        NormalLimits.of(torch.ones(7, RINGS, ANGLES))
    with pytest.raises(ShapeMismatch):
        NormalLimits.of(torch.ones(RINGS, ANGLES))
    with pytest.raises(BadValues, match="without counts"):
        relative_uptake(torch.zeros(RINGS, ANGLES))
    with pytest.raises(BadValues, match="NaN"):
        perfusion_deficit(torch.full((RINGS, ANGLES), math.nan), limits)
    with pytest.raises(ShapeMismatch, match="normal limits"):
        perfusion_deficit(torch.ones(RINGS, 2 * ANGLES), limits)
    with pytest.raises(BadArgument, match="grades"):
        segment_scores(heart_with(1.0), limits, grades=(0.5, 0.7, 0.3))
    with pytest.raises(BadArgument, match="17"):
        summed_score(torch.zeros(16))
    wide = NormalLimits.of(torch.rand(10, RINGS, ANGLES, generator=torch.Generator().manual_seed(0)) + 0.01)
    with pytest.raises(BadValues, match="unlike"):
        perfusion_deficit(heart_with(1.0), wide)
