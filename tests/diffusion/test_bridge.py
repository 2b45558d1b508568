import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core.errors import BadArgument
from photopeak.diffusion.bridge import BrownianBridge

BRIDGE = BrownianBridge(500, 1.0)
PAIRS = [(499, 374), (499, 0), (374, 250), (250, 249), (125, 3), (1, 0)]


def _images(seed: int = 3, count: int = 3) -> torch.Tensor:
    return torch.randn((count, 4, 1, 5, 6), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _at(bridge: BrownianBridge, x0: torch.Tensor, y: torch.Tensor, time: int, noise: torch.Tensor) -> torch.Tensor:
    return bridge.at(x0, y, torch.full((len(x0),), time), noise)


def test_schedule_runs_from_the_image_to_the_given_one():
    m, delta = BRIDGE.m, BRIDGE.delta
    assert m.dtype == delta.dtype == torch.float64
    assert (float(m[0]), float(m[-1]), len(m)) == (0.001, 0.999, 500)
    assert bool((m.diff() > 0).all())
    assert float(delta.max()) == pytest.approx(0.5, abs=1e-5)
    assert float(BrownianBridge(500, 2.0).delta.max()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("time", [0, 10, 250, 499])
def test_at_has_the_mean_and_variance_of_the_bridge(time):
    x0, y, noise = _images()
    mean = _at(BRIDGE, x0, y, time, torch.zeros_like(x0))
    m = BRIDGE.m[time]
    assert torch.allclose(mean, (1 - m) * x0 + m * y, rtol=1e-12)
    assert torch.allclose(_at(BRIDGE, x0, y, time, noise) - mean, BRIDGE.delta[time].sqrt() * noise, atol=1e-12)


def test_each_item_has_its_own_time():
    x0, y, noise = _images()
    times = torch.tensor([0, 100, 350, 499])
    together = BRIDGE.at(x0, y, times, noise)
    alone = torch.cat([BRIDGE.at(x0[n : n + 1], y[n : n + 1], times[n : n + 1], noise[n : n + 1]) for n in range(4)])
    assert torch.equal(together, alone)
    assert BRIDGE.at(x0.float(), y.float(), times, noise.float()).dtype == torch.float32


@pytest.mark.parametrize("time", [1, 250, 498])
def test_predicting_the_step_or_the_image_is_the_same(time):
    x0, y, noise, guess = _images(count=4)
    x_t = _at(BRIDGE, x0, y, time, noise)
    step = BRIDGE.m[time] * (y - x0) + BRIDGE.delta[time].sqrt() * noise
    assert torch.allclose(step - (x_t - guess), guess - x0, atol=1e-12)


def _printed(x_t: torch.Tensor, y: torch.Tensor, x0: torch.Tensor, t: int, n: int, sign: float) -> torch.Tensor:
    """Reverse mean as BBDM and PADM print it, with the sign before c_eps left open."""
    m_t, m_n, d_t, d_n = BRIDGE.m[t], BRIDGE.m[n], BRIDGE.delta[t], BRIDGE.delta[n]
    left = (1 - m_t) / (1 - m_n)
    between = d_t - d_n * left**2
    c_x = d_n / d_t * left + between / d_t * (1 - m_n)
    c_y = m_n - m_t * left * d_n / d_t
    c_e = (1 - m_n) * between / d_t
    return c_x * x_t + c_y * y + sign * c_e * (x_t - x0)


@pytest.mark.parametrize(("t", "n"), PAIRS)
def test_back_with_eta_1_is_the_printed_step_with_a_minus(t, n):
    x_t, y, x0, noise = _images(count=4)
    mean = BRIDGE.back(x_t, x0, y, time=t, earlier=n, noise=torch.zeros_like(noise))
    assert torch.allclose(mean, _printed(x_t, y, x0, t, n, -1), rtol=1e-12, atol=1e-12)
    # The nearer the step ends to x_0 the larger c_eps, so the plus is off by a multiple of x_t - x_0.
    plus = _printed(x_t, y, x0, t, n, 1)
    assert float((mean - plus).norm() / mean.norm()) > (1e-3 if t - n == 1 and t > 100 else 0.1)

    injected = BRIDGE.back(x_t, x0, y, time=t, earlier=n, noise=noise) - mean
    left = (1 - BRIDGE.m[t]) / (1 - BRIDGE.m[n])
    between = BRIDGE.delta[t] - BRIDGE.delta[n] * left**2
    variance = between * BRIDGE.delta[n] / BRIDGE.delta[t]
    assert torch.allclose(injected, variance.sqrt() * noise, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("t", "n"), PAIRS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("variance", [1.0, 0.25])
def test_a_step_from_the_marginal_with_the_true_image_ends_in_the_marginal(t, n, eta, variance):
    bridge = BrownianBridge(500, variance)
    x0, y, unit = _images()
    unit = torch.ones_like(unit)
    zero = torch.zeros_like(unit)

    def back(start: torch.Tensor, injected: torch.Tensor) -> torch.Tensor:
        return bridge.back(_at(bridge, x0, y, t, start), x0, y, time=t, earlier=n, noise=injected, eta=eta)

    mean = back(zero, zero)
    assert torch.allclose(mean, _at(bridge, x0, y, n, zero), atol=1e-12)
    # The step is linear in both noises, so its response to one unit of each gives the variance exactly.
    kept, added = back(unit, zero) - mean, back(zero, unit) - mean
    assert torch.allclose(kept**2 + added**2, bridge.delta[n] * unit, rtol=1e-9)
    assert bool((added == 0).all()) == (eta == 0)


def test_without_noise_the_bridge_is_a_straight_line():
    bridge = BrownianBridge(10, 0.0)
    x0, y, noise = _images()
    line = (1 - bridge.m[4]) * x0 + bridge.m[4] * y
    assert torch.allclose(_at(bridge, x0, y, 4, noise), line, atol=1e-12)
    assert torch.allclose(bridge.back(y, x0, y, time=9, earlier=4, noise=noise), line, atol=1e-12)


@pytest.mark.parametrize("T", [2, 3, 5, 16, 41])
def test_times_descend_from_the_last_to_the_first(T):
    bridge = BrownianBridge(T)
    assert bridge.times(1) == [T - 1]
    for count in range(2, T + 1):
        times = bridge.times(count)
        assert (times[0], times[-1], len(times)) == (T - 1, 0, count)
        assert times == sorted(set(times), reverse=True)
    assert bridge.times(T) == list(range(T))[::-1]


@given(st.data())
def test_times_descend_whatever_the_numbers(data):
    T = data.draw(st.integers(2, 1000))
    count = data.draw(st.integers(2, T))
    times = BrownianBridge(T).times(count)
    assert (times[0], times[-1], len(times)) == (T - 1, 0, count)
    assert times == sorted(set(times), reverse=True)


@pytest.mark.parametrize("count", [0, -1, 11])
def test_numbers_of_steps_that_cannot_be(count):
    with pytest.raises(BadArgument, match=f"{count} sampling steps"):
        BrownianBridge(10).times(count)


@pytest.mark.parametrize(("steps", "variance"), [(1, 1.0), (0, 1.0), (500, -0.1)])
def test_bridges_that_cannot_be(steps, variance):
    with pytest.raises(BadArgument, match=f"bridge of {steps} steps"):
        BrownianBridge(steps, variance)
