"""Maximum a posteriori reconstruction: the likelihood of the counts against differences between neighbouring voxels.

Block-sequential steps that fall converge for both priors, and do so with subsets. One-step-late is what vendors of
multi-pinhole cameras use; it swings to and fro for good once beta times the activity exceeds about delta.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from photopeak.core import Grid, Projections, SystemOperator
from photopeak.core.errors import BadArgument
from photopeak.methods.reconstruction import Reconstruction
from photopeak.recon.iterate import bsrem, osem
from photopeak.recon.priors import Green, Prior, RelativeDifference
from photopeak.recon.updates import sensitivity


@dataclass
class MapEm(Reconstruction):
    """Reconstruct with a prior.

    Parameters
    ----------
    prior : "green" (Green 1990) or "rdp", relative differences (Nuyts 2002).
    beta : weight of the prior, as a share of the largest sensitivity of a voxel: so it means the same for every camera.
    delta : of "green", counts per voxel; edges above it are kept.
    gamma : of "rdp".
    algorithm : "bsrem" (De Pierro and Yamagishi 2001), or "osl", one step late (Green 1990).
    iterations, subsets : passes over all views, and groups that the views are dealt into.
    others : as for Reconstruction.
    """

    prior: Literal["green", "rdp"] = "green"
    beta: float = 0.1
    delta: float = 10.0
    gamma: float = 2.0
    algorithm: Literal["bsrem", "osl"] = "bsrem"
    iterations: int = 20
    subsets: int = 10
    name = "map_em"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("prior", ("green", "rdp")), ("algorithm", ("bsrem", "osl"))):
            if (given := getattr(self, name)) not in known:
                raise BadArgument(f"{name}={given!r}", needed=" or ".join(known), remedy="Choose one.")

    def image(self, A: SystemOperator, grid: Grid, seen: Projections, background: Tensor | float) -> Tensor:
        loop = bsrem if self.algorithm == "bsrem" else osem
        return loop(
            A,
            seen.counts,
            iterations=self.iterations,
            subsets=self.subsets,
            prior=self._prior(grid),
            beta=self.beta * float(sensitivity(A, seen.counts).max()),
            background=background,
            watch=self.watch,
        )

    def _prior(self, grid: Grid) -> Prior:
        if self.prior == "green":
            return Green(self.delta, voxel_mm=grid.spacing_mm)
        return RelativeDifference(self.gamma, voxel_mm=grid.spacing_mm)
