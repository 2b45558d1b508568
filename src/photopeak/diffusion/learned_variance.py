"""The loss of a learned reverse variance (Nichol and Dhariwal, ICML 2021, Eq. 15 and 16)."""

import torch
from torch import Tensor

from photopeak.diffusion.gaussian import GaussianDiffusion


def variance_loss(diffusion: GaussianDiffusion, x0: Tensor, estimate: Tensor, share: Tensor, times: Tensor) -> Tensor:
    """Divergence of the network's reverse step from the true one, nats per pixel, averaged; the mean is not trained.

    The network's variance is ``exp(v log beta_t + (1 - v) log beta~_t)`` with v from `share`; beta~ of the first step,
    which is 0, is that of the second.

    Parameters
    ----------
    x0, estimate : the image [item, ...] and the network's estimate of it, of which no gradient is taken.
    share : the network's second output [item, ...]; v is half of one more than it.
    times : [item].
    """
    beta, abar = (values.to(x0.device) for values in (diffusion.beta, diffusion.abar))
    before = torch.cat([abar.new_ones(1), abar[:-1]])
    least = beta * (1 - before) / (1 - abar)
    least = torch.cat([least[1:2], least[1:]])
    pull = before.sqrt() * beta / (1 - abar)

    def at(values: Tensor) -> Tensor:
        return values[times].reshape(-1, *[1] * (x0.ndim - 1)).to(x0)

    v = (share + 1) / 2
    log_true = at(least.log())
    log_variance = v * at(beta.log()) + (1 - v) * log_true
    apart = at(pull) * (x0 - estimate.detach())
    return 0.5 * (log_variance - log_true + (log_true.exp() + apart.square()) / log_variance.exp() - 1).mean()
