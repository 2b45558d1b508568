"""Parallel-hole gamma camera with attenuation and distance-dependent response, in GEMM form.

Every view is a sparse rotation, a product with the survival of each voxel, one batched matrix product that blurs along
the columns, and one that blurs along z and sums over depth. The adjoint is the transpose of each, in reverse order.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from photopeak.core import Camera, Grid, SystemOperator, Volume
from photopeak.core.errors import BadArgument, GridMismatch, ShapeMismatch
from photopeak.physics.attenuation import checked_mu, survival
from photopeak.physics.response import FWHM_PER_SIGMA, GE_LEHR, Collimator, gaussian_toeplitz
from photopeak.physics.rotate import rotation_matrix


@dataclass(frozen=True)
class ParallelHole(Camera):
    """Parallel-hole detector positions; the rotation axis runs along z through the middle of the image grid.

    Parameters
    ----------
    angles_deg : view angles from anterior toward the patient's left; RAO45 is -45, LPO45 is 135.
    radii_mm : rotation axis to collimator face, for each view.
    shape : detector (rows, columns); rows follow the grid's z.
    pixel_mm : detector pixel, equal to the voxel size of the images.
    collimator : None for ideal resolution.
    """

    angles_deg: tuple[float, ...]
    radii_mm: tuple[float, ...]
    shape: tuple[int, int]
    pixel_mm: float
    collimator: Collimator | None = GE_LEHR
    kind = "parallel_hole"

    def __post_init__(self) -> None:
        if len(self.angles_deg) != len(self.radii_mm) or not self.angles_deg:
            raise BadArgument(
                f"{len(self.angles_deg)} angles and {len(self.radii_mm)} radii",
                needed="one radius for each view",
                remedy="Repeat the radius for a circular orbit.",
            )
        if min(self.radii_mm) <= 0 or self.pixel_mm <= 0:
            raise BadArgument(
                f"radius {min(self.radii_mm):g} mm, pixel {self.pixel_mm:g} mm",
                needed="positive lengths",
                remedy="Give millimetres.",
            )

    @classmethod
    def circular(
        cls,
        *,
        views: int = 60,
        arc_deg: float = 180.0,
        start_deg: float = -45.0,
        radius_mm: float = 250.0,
        shape: tuple[int, int] = (64, 64),
        pixel_mm: float = 6.4,
        collimator: Collimator | None = GE_LEHR,
    ) -> "ParallelHole":
        """Equal steps over an arc, by default RAO45 to LPO45, step-and-shoot with views at the middle of each step."""
        step = arc_deg / views
        angles = tuple(start_deg + step * (view + 0.5) for view in range(views))
        return cls(angles, (radius_mm,) * views, shape, pixel_mm, collimator)

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        return (len(self.angles_deg), *self.shape)

    def views(self, indices: Sequence[int]) -> "ParallelHole":
        """The camera at some of its views."""
        return replace(
            self,
            angles_deg=tuple(self.angles_deg[i] for i in indices),
            radii_mm=tuple(self.radii_mm[i] for i in indices),
        )

    def system(self, grid: Grid, mu: Volume | None = None) -> "ParallelHoleSystem":
        return ParallelHoleSystem(self, grid, mu)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "ParallelHole":
        collimator = Collimator(**record["collimator"]) if record["collimator"] else None
        angles, radii, (rows, columns) = tuple(record["angles_deg"]), tuple(record["radii_mm"]), record["shape"]
        return cls(angles, radii, (rows, columns), record["pixel_mm"], collimator)


class _View(NamedTuple):
    """The tables of one view: sparse rotation and its transpose, survival [depth, column, 1, z]."""

    rotate: Tensor
    back: Tensor
    survival: Tensor | None


class _Blur(NamedTuple):
    """Response at one orbit radius: [depth, column, column'] and [depth z, z']."""

    columns: Tensor
    rows: Tensor


class ParallelHoleSystem(SystemOperator):
    """[z, y, x] -> [view, row, column] of one camera on one grid; tables are made on first use."""

    def __init__(self, camera: ParallelHole, grid: Grid, mu: Volume | None = None) -> None:
        nz, ny, nx = grid.shape
        pixel = camera.pixel_mm
        if not (grid.is_axial and grid.is_isotropic and ny == nx and abs(grid.spacing_mm[0] - pixel) < 1e-3 * pixel):
            raise GridMismatch(
                f"a grid of {grid}",
                needed=f"square transaxial slices of {pixel:g} mm isotropic voxels along LPS",
                remedy="Resample the volume: volume.on(Grid.regular(...)).",
            )
        if camera.shape != (nz, nx):
            raise ShapeMismatch(
                f"a detector of {camera.shape} for a grid of {grid}",
                needed=f"({nz}, {nx})",
                remedy="Give the camera the grid's rows and columns.",
            )
        self.camera, self.grid, self._mu = camera, grid, checked_mu(mu, grid)
        self._views: dict[tuple[int, torch.dtype, torch.device], _View] = {}
        self._blurs: dict[tuple[float, torch.dtype, torch.device], _Blur] = {}

    @property
    def domain_shape(self) -> tuple[int, ...]:
        return self.grid.shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        return self.camera.projection_shape

    def views(self, indices: Sequence[int]) -> "ParallelHoleSystem":
        return ParallelHoleSystem(self.camera.views(indices), self.grid, self._mu)

    def _forward(self, x: Tensor) -> Tensor:
        batch, nz, n, _ = x.shape
        flat = x.permute(2, 3, 0, 1).reshape(n * n, batch * nz).contiguous()
        seen = []
        for view in range(len(self.camera.angles_deg)):
            tables, blur = self._view(view, x), self._blur(view, x)
            planes = (tables.rotate @ flat).reshape(n, n, batch, nz)
            if tables.survival is not None:
                planes = planes * tables.survival
            if blur is None:
                seen.append(planes.sum(0).permute(1, 2, 0))
                continue
            planes = torch.bmm(blur.columns, planes.reshape(n, n, batch * nz)).reshape(n, n, batch, nz)
            rows = planes.permute(1, 2, 0, 3).reshape(n * batch, n * nz) @ blur.rows
            seen.append(rows.reshape(n, batch, nz).permute(1, 2, 0))
        return torch.stack(seen, dim=1)

    def _adjoint(self, y: Tensor) -> Tensor:
        batch, _, nz, n = y.shape
        flat = y.new_zeros(n * n, batch * nz)
        for view in range(len(self.camera.angles_deg)):
            tables, blur = self._view(view, y), self._blur(view, y)
            counts = y[:, view].permute(2, 0, 1)
            if blur is None:
                planes = counts.expand(n, n, batch, nz)
            else:
                rows = (counts.reshape(n * batch, nz) @ blur.rows.T).reshape(n, batch, n, nz)
                planes = torch.bmm(blur.columns.mT, rows.permute(2, 0, 1, 3).reshape(n, n, batch * nz)).reshape(
                    n, n, batch, nz
                )
            if tables.survival is not None:
                planes = planes * tables.survival
            flat += tables.back @ planes.reshape(n * n, batch * nz)
        return flat.reshape(n, n, batch, nz).permute(2, 3, 0, 1).contiguous()

    def _view(self, view: int, like: Tensor) -> _View:
        key = (view, like.dtype, like.device)
        if key not in self._views:
            nz, n, _ = self.grid.shape
            rotate, back = rotation_matrix(n, self.camera.angles_deg[view], dtype=like.dtype, device=like.device)
            alive = None
            if self._mu is not None:
                flat = self._mu.data.to(like).permute(1, 2, 0).reshape(n * n, nz).contiguous()
                alive = survival((rotate @ flat).reshape(n, n, nz), self.camera.pixel_mm)[:, :, None, :]
            self._views[key] = _View(rotate, back, alive)
        return self._views[key]

    def _blur(self, view: int, like: Tensor) -> _Blur | None:
        if self.camera.collimator is None:
            return None
        radius = self.camera.radii_mm[view]
        key = (radius, like.dtype, like.device)
        if key not in self._blurs:
            nz, n, _ = self.grid.shape
            depth = torch.arange(n, dtype=like.dtype, device=like.device)
            distance = radius - ((n - 1) / 2 - depth) * self.camera.pixel_mm
            sigma_px = self.camera.collimator.fwhm_mm(distance) / FWHM_PER_SIGMA / self.camera.pixel_mm
            rows = gaussian_toeplitz(nz, sigma_px).mT.reshape(n * nz, nz).contiguous()
            self._blurs[key] = _Blur(gaussian_toeplitz(n, sigma_px), rows)
        return self._blurs[key]

