"""The operator of a pinhole camera: the matrix of every module, times one attenuation factor for each ray.

Products run in compiled code over threads on the CPU, in the float type of the image; a tensor elsewhere is fetched and
its result sent back. The bits of a result do not depend on the number of threads.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from photopeak.core import Camera, Grid, SystemOperator, Volume
from photopeak.physics.attenuation import checked_mu
from photopeak.physics.pinhole_matrix import Rays, Sight, rays_of
from photopeak.physics.pinhole_paths import require_outside_body, survival
from photopeak.physics.threads import in_shares

SHARES_OF_A_MODULE = 8


@dataclass(frozen=True, eq=False)
class PinholeSystem(SystemOperator):
    """[z, y, x] -> [module, row, column]: photons counted for those emitted in each voxel.

    Parameters
    ----------
    camera, grid : what it joins.
    sights : the place of each module in the grid.
    rays : the matrix, one block for each module; shared by every attenuation map and choice of modules.
    factors : float32 [ray] of each module, the probability of leaving the body.
    """

    camera: Camera
    grid: Grid
    sights: tuple[Sight, ...]
    rays: tuple[Rays, ...]
    factors: tuple[np.ndarray, ...]

    @classmethod
    def traced(cls, camera: Camera, grid: Grid, sights: tuple[Sight, ...], mu: Volume | None) -> "PinholeSystem":
        """The matrix read from the cache or traced, attenuated by `mu` (1/cm) if given."""
        checked_mu(mu, grid)
        shares = in_shares(lambda start, stop: [rays_of(sight) for sight in sights[start:stop]], len(sights))
        rays = tuple(block for share in shares for block in share)
        return cls(camera, grid, sights, rays, ()).attenuated(mu)

    def attenuated(self, mu: Volume | None) -> "PinholeSystem":
        """The same matrix with another attenuation map, or with none.

        Raises
        ------
        BadArgument : the body of `mu` reaches a module.
        """
        given = checked_mu(mu, self.grid)
        if given is None:
            nothing_lost = np.ones(max(len(rays.voxel) for rays in self.rays), np.float32)
            return replace(self, factors=(nothing_lost,) * len(self.rays))
        for sight in self.sights:
            require_outside_body(sight, given)

        def job(start: int, stop: int) -> list[np.ndarray]:
            return [survival(self.rays[m], self.sights[m], given) for m in range(start, stop)]

        return replace(self, factors=tuple(f for share in in_shares(job, len(self.rays)) for f in share))

    @property
    def domain_shape(self) -> tuple[int, ...]:
        return self.grid.shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        return self.camera.projection_shape

    def views(self, indices: Sequence[int]) -> "PinholeSystem":
        camera = self.camera.views(indices)
        sights, rays = tuple(self.sights[i] for i in indices), tuple(self.rays[i] for i in indices)
        return PinholeSystem(camera, self.grid, sights, rays, tuple(self.factors[i] for i in indices))

    def _forward(self, x: Tensor) -> Tensor:
        image = _array(x)
        modules, rows, columns = self.range_shape
        parts = np.zeros((modules, SHARES_OF_A_MODULE, len(image), rows * columns), image.dtype)

        def job(start: int, stop: int) -> None:
            for task in range(start, stop):
                module, share = divmod(task, SHARES_OF_A_MODULE)
                rays, factor = self.rays[module], self.factors[module]
                first, last = (len(rays.voxel) * s // SHARES_OF_A_MODULE for s in (share, share + 1))
                rays.project(image, factor, parts[module, share], columns=columns, first=first, last=last)

        in_shares(job, modules * SHARES_OF_A_MODULE)
        seen = np.ascontiguousarray(parts.sum(1).swapaxes(0, 1))
        return torch.from_numpy(seen).reshape(len(x), modules, rows, columns).to(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        modules, rows, columns = self.range_shape
        seen = np.ascontiguousarray(_array(y).reshape(len(y), modules, rows * columns).swapaxes(0, 1))
        image = np.zeros((len(y), math.prod(self.grid.shape)), seen.dtype)

        def job(start: int, stop: int) -> None:
            for rays, factor, counts in zip(self.rays, self.factors, seen, strict=True):
                first, last = (int(ray) for ray in np.searchsorted(rays.voxel, (start, stop)))
                rays.backproject(counts, factor, image, columns=columns, first=first, last=last)

        in_shares(job, image.shape[1])
        return torch.from_numpy(image).reshape(len(y), *self.grid.shape).to(y)


def _array(x: Tensor) -> np.ndarray:
    """[batch, everything else] on the CPU, in float64 if it came so, else in float32."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return np.asarray(x.detach().to("cpu", dtype).flatten(1).contiguous().numpy())
