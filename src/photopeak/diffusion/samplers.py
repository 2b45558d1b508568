"""Samplers: functions with a visible loop, from a network's estimate of the clean image to a sample."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.diffusion.bridge import BrownianBridge
from photopeak.diffusion.gaussian import GaussianDiffusion

Estimate = Callable[[Tensor, int], Tensor]
Update = Callable[[Tensor], Tensor]
PartEstimate = Callable[[Tensor, int, slice], Tensor]
"""(x_t of some items, time, which items) to the estimate of their x_0."""
Guidance = Callable[[Tensor, slice], Tensor]
"""(estimate of x_0 of some items, which items) to a number, of which guidance makes less; a sum over items."""
LateUpdate = Callable[[Tensor, int], Tensor]
"""(estimate of x_0 of all items, steps that are left after this one) to a better one."""


def sample_bridge(
    estimate: Estimate,
    y: Tensor,
    bridge: BrownianBridge,
    *,
    steps: int,
    generator: torch.Generator,
    eta: float = 1.0,
    update: Update | None = None,
) -> Tensor:
    """Walk a Brownian bridge from y back to an image (PADM Algorithm 2, any step list).

    Parameters
    ----------
    estimate : (x_t [item, ...], time) to the estimate of x_0 [item, ...].
    y : [item, ...], where the bridge ends; the walk starts there exactly.
    steps : network evaluations.
    generator : source of all noise, drawn for all items at once, so that batching inside `estimate` changes nothing.
    update : applied to each estimate of x_0, for example an EM update.
    """
    times = bridge.times(steps)
    x, clean = y, update or (lambda x0: x0)
    for time, earlier in itertools.pairwise(times):
        x0 = clean(estimate(x, time))
        noise = torch.randn(y.shape, generator=generator, dtype=y.dtype, device=generator.device).to(y)
        x = bridge.back(x, x0, y, time=time, earlier=earlier, noise=noise, eta=eta)
    return clean(estimate(x, times[-1]))


def sample_ddim(
    estimate: Estimate,
    start: Tensor,
    diffusion: GaussianDiffusion,
    *,
    steps: int,
    generator: torch.Generator,
    eta: float = 0.0,
    update: Update | None = None,
) -> Tensor:
    """Walk a Gaussian diffusion from noise back to an image (Song et al., DDIM; any step list).

    Parameters
    ----------
    estimate : (x_t [item, ...], time) to the estimate of x_0 [item, ...].
    start : x at time T - 1 [item, ...], standard normal noise.
    steps : network evaluations.
    generator : source of the noise that `eta` asks for, drawn for all items at once.
    eta : 0 adds no noise on the way; 1 adds that of DDPM.
    update : applied to each estimate of x_0, for example a clamp.
    """
    times = diffusion.times(steps)
    x, clean = start, update or (lambda x0: x0)
    for time, earlier in itertools.pairwise(times):
        x0 = clean(estimate(x, time))
        noise = torch.randn(start.shape, generator=generator, dtype=start.dtype, device=generator.device).to(start)
        x = diffusion.back(x, x0, time=time, earlier=earlier, noise=noise, eta=eta)
    return clean(estimate(x, times[-1]))


def sample_guided(
    estimate: PartEstimate,
    starts: Sequence[Tensor],
    diffusion: GaussianDiffusion,
    *,
    times: Sequence[int],
    update: LateUpdate | None = None,
    guidance: Guidance | None = None,
    weight: float = 0.0,
    renew: bool = False,
    chunk: int | None = None,
) -> Tensor:
    """Deterministic DDIM that is kept true to data by an update and a gradient (DiffSPECT-3D, Algorithm 2).

    At each time: x_0 is estimated, then updated, x goes one step back with the updated estimate, and ``weight`` times
    the gradient of the guidance of the plain estimate with respect to x_t is taken off (diffusion posterior sampling,
    Chung et al., ICLR 2023, Eq. 16). The last step goes to time "-1", where nothing but the image is left.

    Parameters
    ----------
    estimate : of x_0, differentiable where there is guidance.
    starts : x at the first time [item, ...] with different noise. Each goes one step back; then their mean goes on.
    times : descending, see `times_from`.
    update : for example a step of EM now and then, and total variation along the items.
    guidance, weight : what is to become small, and the length of the step in units of its gradient.
    renew : scale the noise of the mean of n starts, of which 1/sqrt(n) is left, back to what it should be; the paper
        does not.
    chunk : items that are differentiated at once, which bounds memory; all unless given.

    Returns
    -------
    Tensor [item, ...] : the image.
    """
    if not starts or not times or list(times) != sorted(set(times), reverse=True):
        raise BadArgument(
            f"{len(starts)} starts, times {list(times)}",
            needed="at least one start, and descending times",
            remedy="Use times_from(diffusion, steps, start).",
        )
    walks = list(starts)
    for time, earlier in itertools.pairwise([*times, -1]):
        both = [_estimated(estimate, x, time, guidance if weight else None, chunk) for x in walks]
        x, x0, slope = (torch.stack(list(each)).mean(0) for each in (walks, *zip(*both, strict=True)))
        if renew:
            noise = len(walks) ** 0.5 * diffusion.noise(x, x0, time)
            x = diffusion.at(x0, torch.full((len(x0),), time), noise)
        better = update(x0, len(times) - 1 - times.index(time)) if update else x0
        if earlier >= 0:
            better = diffusion.back(x, better, time=time, earlier=earlier, noise=torch.zeros_like(x))
        walks = [better - weight * slope]
    return walks[0]


def times_from(diffusion: GaussianDiffusion, steps: int, start: int) -> list[int]:
    """Descending times of `steps` network evaluations from `start` to 0; one evaluation is at `start`."""
    if not 0 <= start < diffusion.steps or not 1 <= steps <= start + 1:
        raise BadArgument(
            f"{steps} sampling steps from time {start}",
            needed=f"a time below {diffusion.steps} and at most one step for each time",
            remedy="Take fewer steps, or start later in the noise.",
        )
    return [round(t) for t in torch.linspace(start, 0, steps, dtype=torch.float64).tolist()]


def _estimated(
    estimate: PartEstimate, x: Tensor, time: int, guidance: Guidance | None, chunk: int | None
) -> tuple[Tensor, Tensor]:
    """Estimate of x_0 and the guidance's gradient with respect to x, a chunk at a time."""
    images, slopes = [], []
    size = chunk or len(x)
    for part in (slice(first, first + size) for first in range(0, len(x), size)):
        if guidance is None:
            images.append(estimate(x[part], time, part).detach())
            slopes.append(torch.zeros_like(images[-1]))
            continue
        with torch.enable_grad():
            given = x[part].detach().requires_grad_()
            image = estimate(given, time, part)
            slopes.append(torch.autograd.grad(guidance(image, part), given)[0])
        images.append(image.detach())
    return torch.cat(images), torch.cat(slopes)
