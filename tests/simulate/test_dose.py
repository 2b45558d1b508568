import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core import Camera, EnergyWindow, Projections
from photopeak.core.errors import BadArgument, BadValues
from photopeak.physics.pinhole import Pinhole
from photopeak.simulate.dose import SETTINGS, Setting, dropped, poisson, split, thinned


@dataclass(frozen=True)
class Bare(Camera):
    """Views by number, 100 x 200 bins, and no system."""

    numbers: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    kind = "bare"

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        return (len(self.numbers), 100, 200)

    def views(self, indices: Any) -> "Bare":
        return Bare(tuple(self.numbers[i] for i in indices))

    def system(self, grid: Any, mu: Any = None) -> Any:
        raise AssertionError("not needed")

    def to_dict(self) -> dict[str, Any]:
        return {"numbers": self.numbers}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Bare":
        return cls(**record)


def _constant(level: float) -> Projections:
    camera = Bare()
    return Projections(torch.full(camera.projection_shape, float(level)), camera, EnergyWindow(1.0, 2.0))


N = 6 * 100 * 200


@pytest.mark.parametrize("level", [0.3, 5.0, 400.0])
def test_counts_of_chance_have_their_mean_as_variance(level, generator):
    drawn = poisson(_constant(level), generator).counts
    assert torch.equal(drawn, drawn.round())
    assert float(drawn.mean()) == pytest.approx(level, abs=5 * math.sqrt(level / N))
    assert float(drawn.var() / level) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("count", [1, 7, 60, 5000])
@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.5, 0.9])
def test_a_fixed_count_thins_to_a_binomial(count, fraction, generator):
    kept = thinned(_constant(count), fraction, generator).counts.double()
    variance = count * fraction * (1 - fraction)
    assert float(kept.mean()) == pytest.approx(count * fraction, abs=5 * math.sqrt(variance / N))
    assert float(kept.var() / variance) == pytest.approx(1, abs=0.05)
    assert float(kept.min()) >= 0
    assert float(kept.max()) <= count


def test_small_counts_follow_the_binomial_law_exactly(generator):
    kept = thinned(_constant(3), 0.25, generator).counts
    for k in range(4):
        expected = math.comb(3, k) * 0.25**k * 0.75 ** (3 - k)
        assert float((kept == k).double().mean()) == pytest.approx(expected, abs=5 * math.sqrt(expected / N))


@pytest.mark.parametrize("fraction", [0.05, 0.4])
def test_parts_of_poisson_counts_are_poisson_and_independent(fraction, generator):
    kept, rest = (part.counts.double() for part in split(poisson(_constant(20.0), generator), fraction, generator))
    assert float(kept.var() / kept.mean()) == pytest.approx(1, abs=0.03)
    assert float(rest.var() / rest.mean()) == pytest.approx(1, abs=0.03)
    correlation = float(torch.corrcoef(torch.stack([kept.flatten(), rest.flatten()]))[0, 1])
    assert abs(correlation) < 5 / math.sqrt(N)


def test_thinning_has_the_law_of_decimating_a_list(generator):
    """Each event of a list kept by its own coin, then histogrammed: same share of every number of counts."""
    counts = torch.poisson(torch.full((N,), 4.0), generator=generator)
    bins = torch.repeat_interleave(torch.arange(N), counts.long())
    coins = torch.rand(len(bins), generator=generator) < 0.35
    listed = torch.bincount(bins[coins], minlength=N)
    made = thinned(_constant(0.0).with_counts(counts.reshape(6, 100, 200)), 0.35, generator).counts.long().flatten()
    for k in range(6):
        share, other = (float((x == k).double().mean()) for x in (listed, made))
        assert other == pytest.approx(share, abs=7 * math.sqrt(share / N))


@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_the_parts_are_the_whole(seed, fraction):
    generator = torch.Generator().manual_seed(seed)
    camera = Bare((0,))
    whole = Projections(torch.randint(0, 50, camera.projection_shape, generator=generator).float(), camera)
    kept, rest = split(whole, fraction, generator)
    assert torch.equal(kept.counts + rest.counts, whole.counts)
    assert kept.counts.dtype == whole.counts.dtype


def test_the_whole_fraction_is_the_whole(generator):
    whole = poisson(_constant(9.0), generator)
    assert torch.equal(thinned(whole, 1.0, generator).counts, whole.counts)


def test_large_counts_stay_whole_numbers(generator):
    whole = _constant(16_777_215.0)
    kept, rest = split(whole, 0.5, generator)
    assert torch.equal(kept.counts, kept.counts.round())
    assert torch.equal(kept.counts.double() + rest.counts.double(), whole.counts.double())


def test_same_seed_same_bits():
    whole = _constant(30.0)
    one, same, other = (thinned(whole, 0.2, torch.Generator().manual_seed(s)).counts for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_camera_and_window_stay():
    whole = _constant(3.0)
    kept = thinned(whole, 0.5, torch.Generator().manual_seed(0))
    assert (kept.camera, kept.window) == (whole.camera, whole.window)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, float("nan")])
def test_fractions_that_are_none(fraction, generator):
    with pytest.raises(BadArgument, match="fraction"):
        thinned(_constant(1.0), fraction, generator)


def test_expectations_cannot_be_thinned(generator):
    with pytest.raises(BadValues, match="whole"):
        thinned(_constant(2.5), 0.5, generator)


def test_views_are_dropped_evenly():
    whole = Projections(torch.arange(6.0)[:, None, None].expand(6, 100, 200).clone(), Bare())
    few = dropped(whole, 3)
    assert few.camera.numbers == (0, 2, 4)
    assert few.counts[:, 0, 0].tolist() == [0, 2, 4]
    assert dropped(whole, [5, 1]).camera.numbers == (5, 1)
    assert dropped(whole, 6).camera == whole.camera


@pytest.mark.parametrize("keep", [0, 7, -1, [], [0, 0], [6], [-1]])
def test_views_that_cannot_be_kept(keep):
    with pytest.raises(BadArgument, match="keep"):
        dropped(_constant(1.0), keep)


@pytest.fixture(scope="module")
def pinhole() -> Projections:
    """Ten counts in every pixel of 19 modules."""
    camera = Pinhole.named("dnm_530c")
    return Projections(torch.full(camera.projection_shape, 10.0), camera)


def test_the_settings_are_those_of_the_paper():
    assert [str(setting) for setting in SETTINGS] == [
        *("1%", "5%", "10%", "20%", "50%"),
        *("9 views", "7 views", "5 views", "3 views", "1 view"),
    ]


@pytest.mark.parametrize("setting", [*SETTINGS, Setting(), Setting(0.05, 7), Setting(0.125), Setting(1e-7, 60)])
def test_a_setting_is_read_as_it_is_printed(setting):
    assert Setting.named(str(setting)) == setting


@pytest.mark.parametrize("name", ["", "5", "5 %", "7", "views", "5%,", "5%, ", "7 views, 5%", "5%7 views", "full, 5%"])
def test_names_of_no_setting(name):
    with pytest.raises(BadArgument, match="setting"):
        Setting.named(name)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, float("nan")])
def test_fractions_of_no_setting(fraction):
    with pytest.raises(BadArgument, match="fraction"):
        Setting(fraction)


@pytest.mark.parametrize("views", [0, -3])
def test_a_setting_keeps_a_view(views):
    with pytest.raises(BadArgument, match="views"):
        Setting(views=views)


@pytest.mark.parametrize(("name", "error"), [("0%", "fraction"), ("101%", "fraction"), ("0 views", "views")])
def test_names_of_settings_that_cannot_be(name, error):
    with pytest.raises(BadArgument, match=error):
        Setting.named(name)


@pytest.mark.parametrize("n", [9, 7, 5, 3, 1])
def test_few_views_are_the_middle_of_the_central_row(n, pinhole, generator):
    few = Setting(views=n).applied(pinhole, generator)
    names = [module.name for module in few.camera.modules]
    assert names == [f"C{k}" for k in range(5 - n // 2, 6 + n // 2)]
    assert torch.equal(few.counts, torch.full((n, 32, 32), 10.0))


@pytest.mark.parametrize("n", [2, 8, 11, 19, 20])
def test_views_that_are_no_middle_of_the_central_row(n, pinhole, generator):
    with pytest.raises(BadArgument, match="central row"):
        Setting(views=n).applied(pinhole, generator)


def test_views_of_another_camera_are_spread_evenly(generator):
    few = Setting(views=2).applied(_constant(3), generator)
    assert few.camera.numbers == (0, 3)
    with pytest.raises(BadArgument, match="keep"):
        Setting(views=7).applied(_constant(3), generator)


def test_a_setting_thins_like_thinning(pinhole):
    few = Setting(0.1, 3).applied(pinhole, torch.Generator().manual_seed(5))
    thin = thinned(pinhole, 0.1, torch.Generator().manual_seed(5))
    assert torch.equal(few.counts, thin.views(pinhole.camera.central(3)).counts)
    assert float(thin.counts.mean()) == pytest.approx(1, abs=5 * math.sqrt(0.9 / thin.counts.numel()))


def test_the_full_setting_takes_expectations_too(generator):
    expected = _constant(2.5)
    assert Setting().applied(expected, generator) is expected
    with pytest.raises(BadValues, match="whole"):
        Setting(0.5).applied(expected, generator)
