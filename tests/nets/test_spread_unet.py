import math

import pytest
import torch
from scipy.stats import gennorm

from photopeak.nets.spread_unet import LARGEST_BETA, LEAST_ALPHA, LEAST_BETA, Spread, SpreadUNet


def _spread(mean: float, alpha: float, beta: float) -> Spread:
    return Spread(*(torch.full((1, 1, 1, 1), value, dtype=torch.float64) for value in (mean, alpha, beta)))


def _network() -> SpreadUNet:
    torch.manual_seed(0)
    return SpreadUNet(3, channels=(8, 24), fold=2, features=8)


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.5), (0.3, 1.0), (1.7, 1.3), (0.5, 2.0), (2.0, 3.0)])
def test_likelihood_and_sd_are_scipys(alpha: float, beta: float) -> None:
    at = torch.linspace(-2, 2, 9, dtype=torch.float64)
    theirs = -gennorm.logpdf(at.numpy(), beta, loc=0.25, scale=alpha)
    mine = _spread(0.25, alpha, beta)
    assert mine.surprise(at).flatten().tolist() == pytest.approx(theirs.tolist(), rel=1e-9)
    assert float(mine.sd) == pytest.approx(gennorm.std(beta, scale=alpha), rel=1e-9)


def test_laplace_and_normal_are_among_them() -> None:
    x = torch.tensor([[[[0.7]]]], dtype=torch.float64)
    assert float(_spread(0.0, 0.5, 1.0).surprise(x)) == pytest.approx(0.7 / 0.5 + math.log(2 * 0.5))
    normal = _spread(0.0, 0.5 * math.sqrt(2), 2.0)
    assert float(normal.sd) == pytest.approx(0.5)
    assert float(normal.surprise(x)) == pytest.approx(0.5 * (0.7 / 0.5) ** 2 + math.log(0.5 * math.sqrt(2 * math.pi)))


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_gradients_are_finite_where_the_answer_is_exact(beta: float) -> None:
    parameters = [torch.full((1, 1, 1, 1), value, requires_grad=True) for value in (0.3, 0.01, beta)]
    Spread(*parameters).surprise(torch.full((1, 1, 1, 1), 0.3)).sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in parameters)
    assert float(parameters[1].grad) > 0


def test_the_best_scale_is_that_of_the_errors() -> None:
    errors = torch.from_numpy(gennorm.rvs(1.0, scale=0.2, size=4000, random_state=1)).reshape(1, 1, 1, -1)
    surprise = {a: float(_spread(0.0, a, 1.0).surprise(errors).mean()) for a in (0.1, 0.15, 0.2, 0.25, 0.4)}
    assert min(surprise, key=surprise.__getitem__) == 0.2


def test_answers_have_the_shape_of_the_images_and_stay_in_their_bounds() -> None:
    network = _network()
    images = 100 * torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        spread = network(images)
    assert spread.mean.shape == spread.alpha.shape == spread.beta.shape == spread.sd.shape == (2, 1, 8, 12)
    assert bool((spread.alpha >= LEAST_ALPHA).all())
    assert bool(((spread.beta >= LEAST_BETA) & (spread.beta <= LARGEST_BETA)).all())


def test_it_learns_where_the_noise_is() -> None:
    network, generator = _network(), torch.Generator().manual_seed(2)
    noisy = (torch.arange(16) >= 8).float().expand(4, 1, 16, 16)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(50):
        image = 0.05 * torch.randn(noisy.shape, generator=generator) * (1 + 9 * noisy)
        loss = network(noisy.expand(-1, 3, -1, -1)).surprise(image).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        sd = network(noisy.expand(-1, 3, -1, -1)).sd
    assert float(sd[noisy == 1].mean()) == pytest.approx(0.5, rel=0.35)
    assert float(sd[noisy == 0].mean()) == pytest.approx(0.05, rel=0.5)
