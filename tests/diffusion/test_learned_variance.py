import pytest
import torch

from photopeak.diffusion.gaussian import GaussianDiffusion
from photopeak.diffusion.learned_variance import variance_loss

DIFFUSION = GaussianDiffusion(100)
X0 = torch.randn((64, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TIMES = torch.randint(100, (64,), generator=torch.Generator().manual_seed(1))


def test_the_posterior_itself_costs_nothing() -> None:
    assert float(variance_loss(DIFFUSION, X0, X0, torch.full_like(X0, -1.0), TIMES)) == pytest.approx(0.0, abs=1e-12)
    assert float(variance_loss(DIFFUSION, X0, X0, torch.ones_like(X0), TIMES)) > 1e-4


def test_it_is_the_divergence_of_two_normals() -> None:
    time, share = 40, 0.3
    abar, beta = DIFFUSION.abar, DIFFUSION.beta
    least = float(beta[time] * (1 - abar[time - 1]) / (1 - abar[time]))
    variance = float(beta[time]) ** 0.65 * least**0.35
    apart = float(abar[time - 1].sqrt() * beta[time] / (1 - abar[time])) * 0.1
    ours, theirs = (
        torch.distributions.Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(v**0.5, dtype=torch.float64))
        for mean, v in ((0.0, least), (apart, variance))
    )
    found = variance_loss(DIFFUSION, X0, X0 - 0.1, torch.full_like(X0, share), torch.full((64,), time))
    assert float(found) == pytest.approx(float(torch.distributions.kl_divergence(ours, theirs)), rel=1e-6)


def test_it_trains_the_variance_alone() -> None:
    estimate = (X0 + 0.5).requires_grad_()
    share = torch.zeros_like(X0).requires_grad_()
    variance_loss(DIFFUSION, X0, estimate, share, TIMES).backward()
    assert estimate.grad is None
    assert share.grad is not None
    # A wrong mean asks for more variance than the posterior has.
    assert float(share.grad.sum()) < 0
