"""MLEM of measured projections without a filter, as the multi-pinhole cameras are reconstructed."""

from dataclasses import dataclass

from torch import Tensor

from photopeak.core import Grid, Projections, SystemOperator
from photopeak.methods.reconstruction import Reconstruction
from photopeak.recon.iterate import mlem
from photopeak.recon.stopping import Stop


@dataclass
class Mlem(Reconstruction):
    """Reconstruct by maximum likelihood (Shepp and Vardi 1982).

    Parameters
    ----------
    iterations : at most.
    least_gain : stop after a pass that lowers the deviance by less than this share of it; 0 for all iterations.
    others : as for Reconstruction.
    """

    iterations: int = 50
    least_gain: float = 0.0
    name = "mlem"

    def image(self, A: SystemOperator, grid: Grid, seen: Projections, background: Tensor | float) -> Tensor:
        stop = Stop.at_gain(A, seen.counts, self.least_gain, background=background) if self.least_gain else None
        return mlem(A, seen.counts, iterations=self.iterations, background=background, stop=stop, watch=self.watch)
