import itertools

import pytest
import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.diffusion.bridge import BrownianBridge
from photopeak.diffusion.gaussian import GaussianDiffusion
from photopeak.diffusion.samplers import sample_bridge, sample_ddim, sample_guided, times_from

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


LONG = GaussianDiffusion(1000)


def _known(x_t: Tensor, time: int, part: slice) -> Tensor:
    """The best estimate of an image that is normal of variance 4."""
    abar = float(LONG.abar[time])
    return abar**0.5 * 4 / (abar * 4 + 1 - abar) * x_t


def _guided(start: Tensor, **settings: object) -> Tensor:
    return sample_guided(_known, [start], LONG, times=times_from(LONG, 50, 999), **settings)  # type: ignore[arg-type]


def test_guided_without_guidance_is_ddim():
    start = torch.randn(40, generator=_seed(1), dtype=torch.float64)
    plain = sample_ddim(lambda x, time: _known(x, time, slice(None)), start, LONG, steps=50, generator=_seed(0))
    torch.testing.assert_close(_guided(start), plain)
    torch.testing.assert_close(_guided(start, chunk=7), plain)


@pytest.mark.parametrize("steps", [1, 5, 25])
def test_guided_from_the_middle_with_the_perfect_noise_ends_in_the_image(steps):
    x0, noise = _pair()
    start = LONG.at(x0, torch.full((3,), 400), noise)
    asked = []

    def estimate(x: Tensor, time: int, part: slice) -> Tensor:
        asked.append(time)
        return LONG.clean(x, noise[part], time)

    made = sample_guided(estimate, [start], LONG, times=times_from(LONG, steps, 400), chunk=2)
    assert torch.allclose(made, x0, atol=1e-9)
    assert asked[0] == 400
    assert sorted(set(asked), reverse=True) == times_from(LONG, steps, 400)


def test_guidance_pulls_along_the_gradient_through_the_estimate():
    """One step from time 0: the image minus weight times the derivative, which we know."""
    start, target = torch.randn((2, 5, 3), generator=_seed(4), dtype=torch.float64)

    def distance(x0: Tensor, part: slice) -> Tensor:
        return (x0 - target[part]).square().sum()

    for chunk in (None, 2):
        made = sample_guided(_known, [start], LONG, times=[0], guidance=distance, weight=0.25, chunk=chunk)
        x0 = _known(start, 0, slice(None))
        slope = _known(torch.ones_like(start), 0, slice(None))
        torch.testing.assert_close(made, x0 - 0.25 * 2 * slope * (x0 - target))
    near, far = (float((_guided(start, guidance=distance, weight=weight) - target).norm()) for weight in (0.2, 0.0))
    assert near < 0.5 * far


def test_guidance_is_taken_at_the_plain_estimate_and_updates_know_what_is_left():
    start, left = torch.randn((5, 3), generator=_seed(4)), []

    def update(x0: Tensor, steps_left: int) -> Tensor:
        left.append(steps_left)
        return torch.zeros_like(x0)

    seen = []

    def distance(x0: Tensor, part: slice) -> Tensor:
        seen.append(float(x0.detach().abs().max()))
        return 0 * x0.sum()

    made = sample_guided(_known, [start], LONG, times=[500, 200, 0], update=update, guidance=distance, weight=1.0)
    assert left == [2, 1, 0]
    assert min(seen) > 0
    assert float(made.abs().max()) == 0


def test_guided_is_of_finite_memory():
    """The network never sees more than a chunk."""
    sizes = []

    def estimate(x: Tensor, time: int, part: slice) -> Tensor:
        sizes.append(len(x))
        return 0.5 * x

    sample_guided(estimate, [torch.ones(10, 2)], LONG, times=[9, 0], chunk=4)
    assert sizes == [4, 4, 2, 4, 4, 2]


@pytest.mark.parametrize(("renew", "share"), [(False, 0.5), (True, 1.0)])
def test_two_starts_are_averaged_and_their_noise_may_be_renewed(renew, share):
    x0, seen = torch.full((20_000,), 2.0, dtype=torch.float64), {}
    starts = [
        LONG.at(x0, torch.full((20_000,), 600), torch.randn(20_000, generator=_seed(n), dtype=x0.dtype)) for n in (1, 2)
    ]

    def estimate(x: Tensor, time: int, part: slice) -> Tensor:
        seen.setdefault(time, []).append(x)
        return x0

    sample_guided(estimate, starts, LONG, times=[600, 300, 0], renew=renew)
    assert [len(seen[time]) for time in (600, 300, 0)] == [2, 1, 1]
    abar = float(LONG.abar[300])
    assert float(seen[300][0].mean()) == pytest.approx(2 * abar**0.5, abs=0.03)
    assert float(seen[300][0].var()) == pytest.approx(share * (1 - abar), rel=0.05)


@pytest.mark.parametrize(("steps", "start"), [(0, 5), (7, 5), (1, -1), (1, 1000)])
def test_walks_that_cannot_be(steps, start):
    with pytest.raises(BadArgument, match="sampling steps"):
        times_from(LONG, steps, start)
    with pytest.raises(BadArgument, match="times"):
        sample_guided(_known, [torch.ones(2)], LONG, times=[3, 5])
