import itertools

import pytest
import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.diffusion.bridge import BrownianBridge
from photopeak.diffusion.gaussian import GaussianDiffusion
from photopeak.diffusion.samplers import sample_bridge, sample_ddim

BRIDGE = BrownianBridge(8, 1.0)
DIFFUSION = GaussianDiffusion(8)


def _pair() -> tuple[Tensor, Tensor]:
    x0, y = torch.randn((2, 3, 1, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x0, y


def _seed(n: int) -> torch.Generator:
    return torch.Generator().manual_seed(n)


@pytest.mark.parametrize("steps", range(1, 9))
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_perfect_estimate_ends_in_the_image(steps, eta):
    x0, y = _pair()
    made = sample_bridge(lambda x, time: x0, y, BRIDGE, steps=steps, generator=_seed(0), eta=eta)
    assert torch.equal(made, x0)


def test_the_walk_starts_at_y_and_asks_at_the_times_of_the_bridge():
    x0, y = _pair()
    asked: list[tuple[Tensor, int]] = []

    def estimate(x: Tensor, time: int) -> Tensor:
        asked.append((x, time))
        return x0

    sample_bridge(estimate, y, BRIDGE, steps=4, generator=_seed(0), eta=0.0)
    assert [time for _, time in asked] == BRIDGE.times(4)
    assert torch.equal(asked[0][0], y)
    distances = [float((x - x0).norm()) for x, _ in asked]
    assert distances[-1] < 0.2 * distances[0]


def test_the_walk_passes_through_the_marginals():
    y, x0 = torch.full((20_000,), 3.0, dtype=torch.float64), torch.zeros(20_000, dtype=torch.float64)
    seen: dict[int, Tensor] = {}

    def estimate(x: Tensor, time: int) -> Tensor:
        seen[time] = x
        return x0

    bridge = BrownianBridge(500, 1.0)
    sample_bridge(estimate, y, bridge, steps=5, generator=_seed(2))
    for time in bridge.times(5)[1:]:
        assert float(seen[time].mean()) == pytest.approx(3 * float(bridge.m[time]), abs=0.03)
        assert float(seen[time].var()) == pytest.approx(float(bridge.delta[time]), rel=0.05)


def test_the_generator_alone_decides():
    _, y = _pair()

    def sample(seed: int) -> Tensor:
        return sample_bridge(lambda x, time: 0.5 * x, y, BRIDGE, steps=5, generator=_seed(seed))

    assert torch.equal(sample(4), sample(4))
    assert not torch.allclose(sample(4), sample(5), atol=1e-3)


def test_without_eta_nothing_is_random():
    _, y = _pair()
    one, other = (
        sample_bridge(lambda x, time: 0.5 * x, y, BRIDGE, steps=5, generator=_seed(n), eta=0.0) for n in (1, 2)
    )
    assert torch.equal(one, other)


def test_every_estimate_is_updated():
    x0, y = _pair()
    updated: list[Tensor] = []

    def update(image: Tensor) -> Tensor:
        updated.append(image)
        return image.clamp(min=0)

    made = sample_bridge(lambda x, time: x0, y, BRIDGE, steps=3, generator=_seed(0), update=update)
    assert torch.equal(made, x0.clamp(min=0))
    assert len(updated) == 3

    # An update also steers the walk: what the network sees afterwards is drawn toward the updated image.
    last: list[Tensor] = []

    def estimate(x: Tensor, time: int) -> Tensor:
        last.append(x)
        return x0

    sample_bridge(estimate, y, BRIDGE, steps=8, generator=_seed(0), eta=0.0, update=lambda image: image + 100)
    assert float(last[-1].mean()) > 90


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_a_bridge_without_variance_works(steps):
    x0, y = _pair()
    made = sample_bridge(lambda x, time: x0, y, BrownianBridge(8, 0.0), steps=steps, generator=_seed(0))
    assert torch.equal(made, x0)


@pytest.mark.parametrize("steps", [0, 9])
def test_numbers_of_steps_that_cannot_be(steps):
    _, y = _pair()
    with pytest.raises(BadArgument, match="sampling steps"):
        sample_bridge(lambda x, time: x, y, BRIDGE, steps=steps, generator=_seed(0))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_walk_passes_through_the_marginals_for_every_eta(eta):
    y, x0 = torch.full((20_000,), 3.0, dtype=torch.float64), torch.zeros(20_000, dtype=torch.float64)
    bridge = BrownianBridge(500, 1.0)
    start = bridge.at(x0, y, torch.full((20_000,), 499), torch.randn(20_000, generator=_seed(3), dtype=torch.float64))
    x, times = start, bridge.times(6)
    generator = _seed(2)
    for time, earlier in itertools.pairwise(times):
        noise = torch.randn(20_000, generator=generator, dtype=torch.float64)
        x = bridge.back(x, x0, y, time=time, earlier=earlier, noise=noise, eta=eta)
        assert float(x.mean()) == pytest.approx(3 * float(bridge.m[earlier]), abs=0.03)
        assert float(x.var()) == pytest.approx(float(bridge.delta[earlier]), rel=0.05)


@pytest.mark.parametrize("steps", range(1, 9))
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_with_a_perfect_estimate_ends_in_the_image(steps, eta):
    x0, noise = _pair()
    made = sample_ddim(lambda x, time: x0, noise, DIFFUSION, steps=steps, generator=_seed(0), eta=eta)
    assert torch.equal(made, x0)


@pytest.mark.parametrize("steps", range(1, 9))
def test_ddim_with_the_perfect_noise_ends_in_the_image(steps):
    """eps-prediction: without injected noise the noise of the start stays that of every step."""
    x0, noise = _pair()
    start = DIFFUSION.at(x0, torch.full((3,), 7), noise)
    made = sample_ddim(
        lambda x, time: DIFFUSION.clean(x, noise, time), start, DIFFUSION, steps=steps, generator=_seed(0)
    )
    assert torch.allclose(made, x0, atol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_passes_through_the_marginals(eta):
    diffusion, x0 = GaussianDiffusion(1000), torch.full((20_000,), 2.0, dtype=torch.float64)
    seen: dict[int, Tensor] = {}

    def estimate(x: Tensor, time: int) -> Tensor:
        seen[time] = x
        return x0

    start = diffusion.at(x0, torch.full((20_000,), 999), torch.randn(20_000, generator=_seed(1), dtype=torch.float64))
    sample_ddim(estimate, start, diffusion, steps=6, generator=_seed(2), eta=eta)
    assert list(seen) == diffusion.times(6)
    for time, x in seen.items():
        abar = float(diffusion.abar[time])
        assert float(x.mean()) == pytest.approx(2 * abar**0.5, abs=0.03)
        assert float(x.var()) == pytest.approx(1 - abar, rel=0.05)


def test_ddim_samples_a_known_distribution():
    """For a normal image of variance 4 the best estimate of x_0 is linear, and samples must have that variance."""
    diffusion, variance = GaussianDiffusion(1000), 4.0

    def estimate(x: Tensor, time: int) -> Tensor:
        abar = float(diffusion.abar[time])
        return abar**0.5 * variance / (abar * variance + 1 - abar) * x

    start = torch.randn(20_000, generator=_seed(1), dtype=torch.float64)
    for eta in (0.0, 1.0):
        made = sample_ddim(estimate, start, diffusion, steps=200, generator=_seed(2), eta=eta)
        assert float(made.var()) == pytest.approx(variance, rel=0.06)


def test_every_estimate_of_ddim_is_updated():
    x0, noise = _pair()
    made = sample_ddim(
        lambda x, time: x0, noise, DIFFUSION, steps=3, generator=_seed(0), update=lambda image: image.clamp(min=0)
    )
    assert torch.equal(made, x0.clamp(min=0))


@pytest.mark.parametrize("steps", [0, 9])
def test_numbers_of_ddim_steps_that_cannot_be(steps):
    _, noise = _pair()
    with pytest.raises(BadArgument, match="sampling steps"):
        sample_ddim(lambda x, time: x, noise, DIFFUSION, steps=steps, generator=_seed(0))
