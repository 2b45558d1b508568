"""OSEM of measured projections with a Butterworth filter, as clinical IRNC, IRAC and IRACSC are made.

Clinical defaults without resolution recovery: the camera is taken as ideal in resolution unless `recover` is set.
"""

from dataclasses import dataclass, field

from torch import Tensor

from photopeak.core import Grid, Projections, SystemOperator
from photopeak.methods.reconstruction import Reconstruction
from photopeak.recon.iterate import osem


@dataclass
class Osem(Reconstruction):
    """Reconstruct "raw" (and "scatter", "mu") into "nac" or "ac" (Hudson and Larkin 1994).

    Parameters
    ----------
    iterations, subsets : of OSEM.
    others : as for Reconstruction.
    """

    iterations: int = 4
    subsets: int = 10
    cutoff_per_cm: float | None = field(default=0.45, kw_only=True)
    name = "osem"

    def image(self, A: SystemOperator, grid: Grid, seen: Projections, background: Tensor | float) -> Tensor:
        return osem(
            A,
            seen.counts,
            iterations=self.iterations,
            subsets=self.subsets,
            background=background,
            watch=self.watch,
        )
