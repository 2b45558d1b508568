"""The Brownian bridge between two images (Li et al., BBDM, CVPR 2023; PADM section 4.3).

``x_t = (1 - m_t) x_0 + m_t y + sqrt(delta_t) eps`` with delta_t = 2 s (m_t - m_t^2) runs from the wanted image x_0 to
the given image y. The reverse mean carries a minus sign before c_eps; the printed plus is an error (docs/decisions.md).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument


@dataclass(frozen=True)
class BrownianBridge:
    """Schedule of a bridge.

    Parameters
    ----------
    steps : T, training steps; times run from 0 (almost x_0) to T - 1 (almost y).
    variance : s; the largest standard deviation, in the middle, is sqrt(s / 2).
    """

    steps: int = 500
    variance: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 2 or self.variance < 0:
            raise BadArgument(
                f"bridge of {self.steps} steps, variance {self.variance:g}",
                needed="at least 2, at least 0",
                remedy="PADM uses 500 and 1.",
            )

    @property
    def m(self) -> Tensor:
        """m_t [time], float64."""
        return torch.linspace(0.001, 0.999, self.steps, dtype=torch.float64)

    @property
    def delta(self) -> Tensor:
        """delta_t [time], float64."""
        return 2 * self.variance * (self.m - self.m**2)

    def at(self, x0: Tensor, y: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """x_t at one time for each item of the batch (Eq. 7)."""
        m, sd = (_per_item(v, times, x0) for v in (self.m, self.delta.sqrt()))
        return (1 - m) * x0 + m * y + sd * noise

    def back(
        self, x_t: Tensor, x0: Tensor, y: Tensor, *, time: int, earlier: int, noise: Tensor, eta: float = 1.0
    ) -> Tensor:
        """One reverse step from `time` to `earlier`, given an estimate of x_0.

        eta scales the injected noise; 1 is Algorithm 2 of PADM, 0 is deterministic. The marginal of x at `earlier` has
        variance delta for every eta, which the published code loses for eta other than 1.
        """
        m_t, m_n, d_t, d_n = (float(v) for v in (self.m[time], self.m[earlier], self.delta[time], self.delta[earlier]))
        if d_t == 0:
            return (1 - m_n) * x0 + m_n * y
        injected = eta**2 * (d_t - d_n * ((1 - m_t) / (1 - m_n)) ** 2) * d_n / d_t
        direction = x_t - (1 - m_t) * x0 - m_t * y
        return (1 - m_n) * x0 + m_n * y + ((d_n - injected) / d_t) ** 0.5 * direction + injected**0.5 * noise

    def times(self, count: int) -> list[int]:
        """Descending times of `count` network evaluations, from T - 1 to 0 (one evaluation: at T - 1)."""
        if not 1 <= count <= self.steps:
            raise BadArgument(
                f"{count} sampling steps", needed=f"1 to {self.steps}", remedy="1 is enough; see docs/results.md."
            )
        return [round(t) for t in torch.linspace(self.steps - 1, 0, count, dtype=torch.float64).tolist()]


def _per_item(values: Tensor, times: Tensor, like: Tensor) -> Tensor:
    return values.to(like.device)[times].to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
