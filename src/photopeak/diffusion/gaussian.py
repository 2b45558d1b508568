"""Gaussian diffusion from an image to noise and back (Ho et al., DDPM, NeurIPS 2020; Song et al., DDIM, ICLR 2021).

``x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps``; abar falls from almost 1 at time 0 to almost 0 at time T - 1.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument

Schedule = Literal["linear", "cosine"]

LINEAR_FIRST, LINEAR_LAST, LINEAR_STEPS = 1e-4, 0.02, 1000
COSINE_OFFSET, LARGEST_BETA = 0.008, 0.999


@dataclass(frozen=True)
class GaussianDiffusion:
    """Noise schedule.

    Parameters
    ----------
    steps : T, training steps; times run from 0 (almost the image) to T - 1 (almost noise).
    schedule : "linear", beta from 1e-4 to 0.02 at T = 1000 and in proportion for another T, so that abar ends at the
        same value (DDPM section 4); "cosine", of Nichol and Dhariwal (ICML 2021, Eq. 17), beta at most 0.999.
    """

    steps: int = 1000
    schedule: Schedule = "linear"

    def __post_init__(self) -> None:
        if self.steps < 2 or self.schedule not in ("linear", "cosine"):
            raise BadArgument(
                f"diffusion of {self.steps} steps, schedule {self.schedule!r}",
                needed='at least 2, "linear" or "cosine"',
                remedy='DDPM uses 1000 and "linear".',
            )

    @property
    def beta(self) -> Tensor:
        """beta_t [time], float64: the variance added by one step."""
        if self.schedule == "linear":
            scale = LINEAR_STEPS / self.steps
            betas = torch.linspace(scale * LINEAR_FIRST, scale * LINEAR_LAST, self.steps, dtype=torch.float64)
        else:
            t = torch.arange(self.steps + 1, dtype=torch.float64) / self.steps
            kept = torch.cos((t + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2
            betas = 1 - kept[1:] / kept[:-1]
        return betas.clamp(max=LARGEST_BETA)

    @property
    def abar(self) -> Tensor:
        """abar_t [time], float64: the share of the image in the variance."""
        return (1 - self.beta).cumprod(0)

    def at(self, x0: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """x_t at one time for each item of the batch (DDPM Eq. 4)."""
        abar = self.abar.to(x0.device)[times].reshape(-1, *[1] * (x0.ndim - 1))
        return abar.sqrt().to(x0.dtype) * x0 + (1 - abar).sqrt().to(x0.dtype) * noise

    def clean(self, x_t: Tensor, noise: Tensor, time: int) -> Tensor:
        """x_0 that goes with an estimate of the noise in x_t."""
        abar = float(self.abar[time])
        return (x_t - (1 - abar) ** 0.5 * noise) / abar**0.5

    def noise(self, x_t: Tensor, x0: Tensor, time: int) -> Tensor:
        """The noise in x_t that goes with an estimate of x_0; the inverse of `clean`."""
        abar = float(self.abar[time])
        return (x_t - abar**0.5 * x0) / (1 - abar) ** 0.5

    def back(self, x_t: Tensor, x0: Tensor, *, time: int, earlier: int, noise: Tensor, eta: float = 0.0) -> Tensor:
        """One reverse step from `time` to `earlier`, given an estimate of x_0 (DDIM Eq. 12, 16).

        eta scales the injected noise; 0 is deterministic DDIM, 1 has the variance of DDPM's posterior. The marginal of
        x at `earlier` is the same for every eta.
        """
        abar = self.abar
        a_t, a_n = float(abar[time]), float(abar[earlier])
        injected = eta**2 * (1 - a_n) / (1 - a_t) * (1 - a_t / a_n)
        direction = (1 - a_n - injected) ** 0.5 * self.noise(x_t, x0, time)
        return a_n**0.5 * x0 + direction + injected**0.5 * noise

    def times(self, count: int) -> list[int]:
        """Descending times of `count` network evaluations, from T - 1 to 0 (one evaluation: at T - 1)."""
        if not 1 <= count <= self.steps:
            raise BadArgument(
                f"{count} sampling steps", needed=f"1 to {self.steps}", remedy="DDIM is good from about 20 on."
            )
        return [round(t) for t in torch.linspace(self.steps - 1, 0, count, dtype=torch.float64).tolist()]
