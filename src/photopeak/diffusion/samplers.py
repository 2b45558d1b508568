"""Samplers: functions with a visible loop, from a network's estimate of the clean image to a sample."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from photopeak.diffusion.bridge import BrownianBridge
from photopeak.diffusion.gaussian import GaussianDiffusion

Estimate = Callable[[Tensor, int], Tensor]
Update = Callable[[Tensor], Tensor]


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
        noise = torch.randn(y.shape, generator=generator, dtype=y.dtype, device=y.device)
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
        noise = torch.randn(start.shape, generator=generator, dtype=start.dtype, device=start.device)
        x = diffusion.back(x, x0, time=time, earlier=earlier, noise=noise, eta=eta)
    return clean(estimate(x, times[-1]))
