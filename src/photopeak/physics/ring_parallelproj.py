"""The lines of a PET ring by parallelproj 1.x (G. Schramm), where a user has it: float32, on the CPU or a CUDA device.

parallelproj comes from conda-forge alone, so that our tests stand a plain numpy module in its place: this adapter has
not been run against the package itself. Calls follow its public functions ``joseph3d_fwd(xstart, xend, img, img_origin,
voxsize)`` and ``joseph3d_back(xstart, xend, img_shape, img_origin, voxsize, img_fwd)``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from photopeak.core import Grid
from photopeak.core.errors import MissingPackage
from photopeak.physics.joseph import rays_per_bin


@dataclass(frozen=True, eq=False)
class ParallelprojLines:
    """The lines of `photopeak.physics.joseph.JosephLines`, as end points outside the grid.

    Parameters
    ----------
    package : the parallelproj module.
    shape : (z, y, x) of the images.
    start, end : [ray of a bin, view, z, bin, (z, y, x)], mm from the middle of the grid.
    origin, voxel_mm : (z, y, x) of the first voxel and size of a voxel, mm.
    """

    package: ModuleType
    shape: tuple[int, int, int]
    start: Tensor
    end: Tensor
    origin: Tensor
    voxel_mm: Tensor

    @classmethod
    def through(cls, grid: Grid, angles_deg: Sequence[float], *, bins: int, bin_mm: float) -> "ParallelprojLines":
        package = _parallelproj()
        per_bin, reach = rays_per_bin(grid, bin_mm), math.hypot(*grid.shape) * max(grid.spacing_mm)
        voxel_mm = torch.tensor(grid.spacing_mm, dtype=torch.float64)
        origin = -voxel_mm * (torch.tensor(grid.shape, dtype=torch.float64) - 1) / 2
        phi = torch.deg2rad(torch.tensor(list(angles_deg), dtype=torch.float64))[None, :, None, None]
        z = (origin[0] + voxel_mm[0] * torch.arange(grid.shape[0]))[None, None, :, None]
        ray = torch.arange(bins * per_bin, dtype=torch.float64) - (bins * per_bin - 1) / 2
        s = (ray * bin_mm / per_bin).reshape(bins, per_bin).mT[:, None, None, :]

        def at(t: float) -> Tensor:
            points = (z, s * phi.sin() - t * phi.cos(), s * phi.cos() + t * phi.sin())
            return torch.stack(torch.broadcast_tensors(*points), dim=-1).float()

        return cls(package, grid.shape, at(-reach), at(reach), origin.float(), voxel_mm.float())

    def forward(self, images: Tensor) -> Tensor:
        """Line integrals over mm, [batch, z, y, x] -> [batch, view, z, bin]."""
        start, end, origin, voxel_mm = self._on(images.device)
        seen = [self.package.joseph3d_fwd(start, end, image.float(), origin, voxel_mm).mean(0) for image in images]
        return torch.stack(seen).to(images)

    def adjoint(self, projections: Tensor) -> Tensor:
        """The transpose of `forward`, [batch, view, z, bin] -> [batch, z, y, x]."""
        start, end, origin, voxel_mm = self._on(projections.device)
        rays = len(self.start)
        images = [
            self.package.joseph3d_back(
                start, end, self.shape, origin, voxel_mm, (p.float() / rays).repeat(rays, 1, 1, 1)
            )
            for p in projections
        ]
        return torch.stack(images).to(projections)

    def _on(self, device: torch.device) -> list[Tensor]:
        return [tensor.to(device) for tensor in (self.start, self.end, self.origin, self.voxel_mm)]


def _parallelproj() -> ModuleType:
    needed, remedy = "parallelproj 1.x", 'conda install -c conda-forge "parallelproj<2", or engine="joseph".'
    try:
        package = import_module("parallelproj")
    except ImportError as error:
        raise MissingPackage(f"no parallelproj ({error})", needed=needed, remedy=remedy) from error
    if not (hasattr(package, "joseph3d_fwd") and hasattr(package, "joseph3d_back")):
        version = getattr(package, "__version__", "of unknown version")
        raise MissingPackage(f"parallelproj {version} without joseph3d_fwd", needed=needed, remedy=remedy)
    return package
