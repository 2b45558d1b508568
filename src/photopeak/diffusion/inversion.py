"""From an image to the noise that it comes from: deterministic DDIM, walked the other way (Song et al., ICLR 2021)."""

import itertools

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.diffusion.gaussian import GaussianDiffusion
from photopeak.diffusion.samplers import Estimate


def invert_ddim(
    estimate: Estimate, image: Tensor, diffusion: GaussianDiffusion, *, steps: int, rounds: int = 1
) -> Tensor:
    """The noise at time T - 1 from which `sample_ddim`, with eta 0 and as many steps, comes back to the image.

    Both follow the probability flow's differential equation, each with the estimate from where its step starts; what
    they disagree by falls with the number of steps (Su et al., DDIB, ICLR 2023, section 3).

    Parameters
    ----------
    estimate : (x_t [item, ...], time) to the estimate of x_0 [item, ...], of a network that knows such images.
    image : x at time 0 [item, ...].
    steps : times that are visited.
    rounds : network evaluations for each step but the last. From the second on the estimate is that from where the step
        ends, which is where `sample_ddim` takes it: the two become exact inverses, if the rounds converge.
    """
    if rounds < 1:
        raise BadArgument(f"rounds={rounds}", needed="at least 1", remedy="DDIB has 1; 4 make it an inverse.")
    x, still = image, torch.zeros_like(image)
    for time, later in itertools.pairwise(reversed(diffusion.times(steps))):
        x0, here = estimate(x, time), x
        x = diffusion.back(here, x0, time=time, earlier=later, noise=still)
        for _ in range(rounds - 1):
            x0 = diffusion.clean(here, diffusion.noise(x, estimate(x, later), later), time)
            x = diffusion.back(here, x0, time=time, earlier=later, noise=still)
    return x
