"""SUV's arithmetic against numbers worked out by hand."""

import math
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core.errors import BadValues
from photopeak.io.suv import Administration, Times, mean_count_rate_s

F18_S = 6586.2
NOON = datetime(2019, 3, 17, 12)


def test_a_half_life_after_the_injection() -> None:
    given_to = Administration(70.0, 350e6, F18_S)
    assert given_to.remaining_bq(F18_S) == pytest.approx(175e6)
    assert given_to.suv_per_bqml(0.0) == pytest.approx(70000 / 350e6)
    assert given_to.suv_per_bqml(F18_S) == pytest.approx(2 * 70000 / 350e6)


@pytest.mark.parametrize(
    ("weight", "dose", "half_life"), [(0, 3e8, F18_S), (70, 370, F18_S), (70, 3e8, 0), (math.nan, 3e8, F18_S)]
)
def test_numbers_that_are_none(weight: float, dose: float, half_life: float) -> None:
    with pytest.raises(BadValues, match=r"\(00"):
        Administration(weight, dose, half_life)


@pytest.mark.parametrize("after_s", [-1.0, 16 * F18_S])
def test_intervals_that_cannot_be(after_s: float) -> None:
    with pytest.raises(BadValues, match="injection"):
        Administration(70, 3e8, F18_S).require_plausible(after_s)


@given(st.floats(1, 7200), st.floats(60, 1e6))
def test_the_moment_of_the_mean_rate(duration: float, half_life: float) -> None:
    """The activity at that moment is the mean over the frame, by the integral in closed form."""
    rate = math.log(2) / half_life
    mean = -math.expm1(-rate * duration) / (rate * duration)
    at = mean_count_rate_s(duration, half_life)
    assert math.exp(-rate * at) == pytest.approx(mean, rel=1e-9)
    assert 0 < at <= duration / 2 * (1 + 1e-6)


def test_which_time_is_the_start() -> None:
    beds = [NOON + timedelta(minutes=m) for m in (6, 0, 3)]
    half_life = F18_S
    assert Times(NOON, beds).scan_start(half_life) == (NOON, "series")
    rounded = NOON + timedelta(seconds=0.4)
    assert Times(rounded, beds).scan_start(half_life) == (rounded, "series")
    later, ge = NOON + timedelta(hours=1), NOON - timedelta(seconds=5)
    assert Times(later, beds).scan_start(half_life) == (NOON, "earliest")
    assert Times(None, beds).scan_start(half_life) == (NOON, "earliest")
    assert Times(later, beds, private=ge).scan_start(half_life) == (ge, "private")
    framed = Times(later, beds, frame_reference_s=100.0, duration_s=180.0)
    start, by = framed.scan_start(half_life)
    assert by == "frame"
    assert (NOON - start).total_seconds() == pytest.approx(100.0 - mean_count_rate_s(180.0, half_life), abs=1e-5)
    assert framed.scan_start(half_life, told="earliest") == (NOON, "earliest")


def test_times_that_contradict_one_another() -> None:
    early = Times(NOON - timedelta(hours=1), [NOON], frame_reference_s=60.0, duration_s=120.0)
    with pytest.raises(BadValues, match=r"\(0008,0031\).*\(0054,1300\)"):
        early.scan_start(F18_S)
    assert early.scan_start(F18_S, told="series")[1] == "series"
    with pytest.raises(BadValues, match="private"):
        early.scan_start(F18_S, told="private")
