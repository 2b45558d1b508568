"""When to stop iterating: noise grows with every pass, long after the fit to new counts has stopped improving."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from photopeak.core import LinearOperator
from photopeak.core.errors import BadArgument
from photopeak.recon.poisson import deviance


@dataclass(frozen=True)
class Stop:
    """The loop ends after the pass that lowers the deviance by less than `least_gain` of it; the best image is kept.

    Parameters
    ----------
    deviance : of an image [..., z, y, x]; over a batch it is the sum.
    least_gain : relative; 0 stops only when the deviance no longer falls.
    """

    deviance: Callable[[Tensor], float]
    least_gain: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.least_gain < 1:
            raise BadArgument(f"least_gain={self.least_gain}", needed="0 to 1", remedy="0.001 is a good number.")

    @classmethod
    def at_gain(
        cls, A: LinearOperator, counts: Tensor, least_gain: float, *, background: Tensor | float = 0.0
    ) -> "Stop":
        """By the counts that are being reconstructed: stops when a pass hardly fits them better."""
        return cls(lambda image: float(deviance(A, image, counts, background=background)), least_gain)

    @classmethod
    def held_out(cls, A: LinearOperator, counts: Tensor, share: float, *, background: Tensor | float = 0.0) -> "Stop":
        """By independent counts: stops when fitting the others no longer predicts these.

        Parameters
        ----------
        counts : a binomial share of an acquisition (``simulate.dose.split``), independent of the rest, which is what
            the loop reconstructs, with ``1 - share`` of the background.
        share : their expected fraction of the whole, 0 to 1.
        background : expected background of the whole acquisition.
        """
        if not 0 < share < 1:
            raise BadArgument(f"share={share}", needed="between 0 and 1", remedy="0.1 is a good number.")
        ratio = share / (1 - share)
        return cls(lambda image: float(deviance(A, ratio * image, counts, background=share * background)))
