import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core.errors import BadArgument
from photopeak.diffusion.gaussian import GaussianDiffusion, Schedule

SCHEDULES: list[Schedule] = ["linear", "cosine"]
PAIRS = [(999, 749), (999, 0), (500, 250), (250, 249), (1, 0)]


def _images(seed: int = 3, count: int = 2) -> torch.Tensor:
    return torch.randn((count, 4, 1, 5, 6), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _at(diffusion: GaussianDiffusion, x0: torch.Tensor, time: int, noise: torch.Tensor) -> torch.Tensor:
    return diffusion.at(x0, torch.full((len(x0),), time), noise)


def test_the_linear_schedule_is_that_of_ddpm():
    diffusion = GaussianDiffusion()
    beta = diffusion.beta
    assert beta.dtype == torch.float64
    assert (float(beta[0]), float(beta[-1]), len(beta)) == (1e-4, 0.02, 1000)
    # The product of (1 - beta), by hand: exp of the sum of logarithms.
    assert float(diffusion.abar[-1]) == pytest.approx(float(torch.log1p(-beta).sum().exp()), rel=1e-12)
    assert float(diffusion.abar[-1]) == pytest.approx(4.036e-5, rel=1e-3)


def test_the_cosine_schedule_is_a_squared_cosine():
    abar = GaussianDiffusion(1000, "cosine").abar
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    f = torch.cos((t + 0.008) / 1.008 * torch.pi / 2) ** 2 / torch.cos(torch.tensor(0.008 / 1.008 * torch.pi / 2)) ** 2
    assert torch.allclose(abar[:-1], f[:-1].double(), rtol=1e-6)
    assert 0 < float(abar[-1]) < 1e-5


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("T", [2, 5, 30, 100, 1000, 2000])
def test_every_schedule_falls_from_image_to_noise(T, schedule):
    diffusion = GaussianDiffusion(T, schedule)
    beta, abar = diffusion.beta, diffusion.abar
    assert bool(((beta > 0) & (beta < 1)).all())
    assert bool((abar.diff() < 0).all())
    assert 0 < float(abar[-1]) < 2e-3
    if T >= 100:
        assert float(abar[0]) > 0.998


@pytest.mark.parametrize("time", [0, 10, 500, 999])
def test_at_has_the_mean_and_variance_of_the_diffusion(time):
    diffusion = GaussianDiffusion()
    x0, noise = _images()
    abar = diffusion.abar[time]
    mean = _at(diffusion, x0, time, torch.zeros_like(noise))
    assert torch.allclose(mean, abar.sqrt() * x0, rtol=1e-12)
    assert torch.allclose(_at(diffusion, x0, time, noise) - mean, (1 - abar).sqrt() * noise, atol=1e-12)


def test_each_item_has_its_own_time():
    diffusion = GaussianDiffusion()
    x0, noise = _images()
    times = torch.tensor([0, 100, 650, 999])
    alone = torch.cat([diffusion.at(x0[n : n + 1], times[n : n + 1], noise[n : n + 1]) for n in range(4)])
    assert torch.equal(diffusion.at(x0, times, noise), alone)
    assert diffusion.at(x0.float(), times, noise.float()).dtype == torch.float32


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("time", [0, 10, 500, 999])
def test_image_and_noise_are_two_names_of_one_estimate(time, schedule):
    diffusion = GaussianDiffusion(1000, schedule)
    x0, noise = _images()
    x_t = _at(diffusion, x0, time, noise)
    assert torch.allclose(diffusion.noise(x_t, x0, time), noise, atol=1e-9)
    assert torch.allclose(diffusion.clean(x_t, noise, time), x0, atol=1e-9)


@pytest.mark.parametrize(("t", "n"), PAIRS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_step_from_the_marginal_with_the_true_image_ends_in_the_marginal(t, n, eta, schedule):
    diffusion = GaussianDiffusion(1000, schedule)
    x0, unit = _images()
    unit = torch.ones_like(unit)
    zero = torch.zeros_like(unit)

    def back(start: torch.Tensor, injected: torch.Tensor) -> torch.Tensor:
        return diffusion.back(_at(diffusion, x0, t, start), x0, time=t, earlier=n, noise=injected, eta=eta)

    mean = back(zero, zero)
    assert torch.allclose(mean, _at(diffusion, x0, n, zero), atol=1e-10)
    # The step is linear in both noises, so its response to one unit of each gives the variance exactly.
    kept, added = back(unit, zero) - mean, back(zero, unit) - mean
    assert torch.allclose(kept**2 + added**2, (1 - diffusion.abar[n]) * unit, rtol=1e-8)
    assert bool((added == 0).all()) == (eta == 0)


def test_a_single_step_with_eta_1_is_the_posterior_of_ddpm():
    diffusion, time = GaussianDiffusion(), 400
    x0, noise = _images()
    x_t = _at(diffusion, x0, time, noise)
    beta, abar, earlier = diffusion.beta[time], diffusion.abar[time], diffusion.abar[time - 1]
    mean = earlier.sqrt() * beta / (1 - abar) * x0 + (1 - beta).sqrt() * (1 - earlier) / (1 - abar) * x_t

    def back(injected: torch.Tensor) -> torch.Tensor:
        return diffusion.back(x_t, x0, time=time, earlier=time - 1, noise=injected, eta=1.0)

    assert torch.allclose(back(torch.zeros_like(x0)), mean, atol=1e-10)
    variance = (1 - earlier) / (1 - abar) * beta
    assert torch.allclose(back(torch.ones_like(x0)) - mean, variance.sqrt() * torch.ones_like(x0), rtol=1e-8)


@pytest.mark.parametrize("T", [2, 3, 5, 16, 41])
def test_times_descend_from_the_last_to_the_first(T):
    diffusion = GaussianDiffusion(T)
    assert diffusion.times(1) == [T - 1]
    for count in range(2, T + 1):
        times = diffusion.times(count)
        assert (times[0], times[-1], len(times)) == (T - 1, 0, count)
        assert times == sorted(set(times), reverse=True)
    assert diffusion.times(T) == list(range(T))[::-1]


@given(st.data())
def test_times_descend_whatever_the_numbers(data):
    T = data.draw(st.integers(2, 1000))
    count = data.draw(st.integers(2, T))
    times = GaussianDiffusion(T).times(count)
    assert (times[0], times[-1], len(times)) == (T - 1, 0, count)
    assert times == sorted(set(times), reverse=True)


@pytest.mark.parametrize("count", [0, -1, 11])
def test_numbers_of_steps_that_cannot_be(count):
    with pytest.raises(BadArgument, match=f"{count} sampling steps"):
        GaussianDiffusion(10).times(count)


@pytest.mark.parametrize("arguments", [(1, "linear"), (0, "cosine"), (1000, "quadratic")])
def test_diffusions_that_cannot_be(arguments):
    with pytest.raises(BadArgument, match=f"diffusion of {arguments[0]} steps"):
        GaussianDiffusion(*arguments)
