import pytest
import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.diffusion.gaussian import GaussianDiffusion
from photopeak.diffusion.inversion import invert_ddim
from photopeak.diffusion.samplers import Estimate, sample_ddim

DIFFUSION = GaussianDiffusion(1000)


def _normal_prior(mean: float, sd: float) -> Estimate:
    """The best estimate of x_0 where images are normal with this mean and standard deviation, pixel by pixel."""

    def estimate(x_t: Tensor, time: int) -> Tensor:
        abar = float(DIFFUSION.abar[time])
        gain = abar**0.5 * sd**2 / (abar * sd**2 + 1 - abar)
        return mean + gain * (x_t - abar**0.5 * mean)

    return estimate


def _images(mean: float, sd: float) -> Tensor:
    return mean + sd * torch.randn(4, 1, 16, 16, generator=stream(1, 0), dtype=torch.float64)


def _back(estimate: Estimate, noise: Tensor, steps: int) -> Tensor:
    return sample_ddim(estimate, noise, DIFFUSION, steps=steps, generator=stream(0, 0))


def test_images_of_a_known_prior_become_standard_noise() -> None:
    noise = invert_ddim(_normal_prior(0.5, 0.3), _images(0.5, 0.3), DIFFUSION, steps=200)
    assert float(noise.mean()) == pytest.approx(0, abs=0.1)
    assert float(noise.std()) == pytest.approx(1, abs=0.1)


def _there_and_back(steps: int, rounds: int) -> float:
    estimate, images = _normal_prior(0.5, 0.3), _images(0.5, 0.3)
    noise = invert_ddim(estimate, images, DIFFUSION, steps=steps, rounds=rounds)
    return float((_back(estimate, noise, steps) - images).abs().max())


def test_there_and_back_errs_with_the_length_of_a_step() -> None:
    long, short = _there_and_back(100, 1), _there_and_back(400, 1)
    assert 0.01 < short < 0.03
    assert long == pytest.approx(4 * short, rel=0.15)


@pytest.mark.parametrize(("steps", "rounds"), [(20, 8), (100, 4)])
def test_rounds_make_an_inverse(steps: int, rounds: int) -> None:
    assert _there_and_back(steps, rounds) < 0.002


def test_between_two_priors_it_is_the_transport_of_one_to_the_other() -> None:
    images = _images(0.5, 0.3)
    noise = invert_ddim(_normal_prior(0.5, 0.3), images, DIFFUSION, steps=500)
    moved = _back(_normal_prior(-0.2, 0.6), noise, 500)
    torch.testing.assert_close(moved, -0.2 + 2 * (images - 0.5), atol=0.03, rtol=0)


def test_steps_that_cannot_be() -> None:
    with pytest.raises(BadArgument, match="0 sampling steps"):
        invert_ddim(_normal_prior(0.0, 1.0), _images(0.0, 1.0), DIFFUSION, steps=0)
    with pytest.raises(BadArgument, match="rounds=0"):
        invert_ddim(_normal_prior(0.0, 1.0), _images(0.0, 1.0), DIFFUSION, steps=5, rounds=0)
