"""Effective-source scatter estimation for a parallel-hole camera, as a linear operator beside the attenuated projector.

E. C. Frey and B. M. W. Tsui, A new method for modeling the spatially-variant, object-dependent scatter response
function in SPECT, IEEE NSS/MIC Conf. Rec. 1996; 2:1082-1086. Scatter is the attenuated projection of a source that sits
where photons scatter last. We read the method so, for each view and in its frame:

    s(r) = mu(r) / mu_water * sum_n (-tau(r))^n (k_n * a)(r),   n = 0, 1, 2,
    scatter = response [ exp(-tau(r)) s(r) ] summed over depth,

where a is the activity, tau(r) the attenuation path of unscattered photons from r to the detector, and k_n the moments
of `photopeak.physics.esse_kernels`. The sum is the Taylor series of exp(-(mu(E)/mu_0 - 1) tau): photons that have lost
energy are attenuated more than the projector knows. Its three terms are positive together, whatever tau is. Counts are
in the unit of the camera's own system, so that ``A + S`` is the whole camera.

There the paths before the last scatter are those of boundless water; the body enters where photons scatter last and on
their way out. Beside the lungs this loses 10 to 17 % of the heart's scatter, so that by default we go one step further:
kernels of water and of water 0.4 times as dense (the same, with lengths divided by 0.4) are mixed at each point r by
the mean density of the body around it. ``around_mm=None`` is the method as published.

Scatter is smooth, so all of this is done on voxels of about 12.8 mm.
"""

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from photopeak.core import Camera, Grid, SystemOperator, Volume, attenuation
from photopeak.core.errors import BadArgument
from photopeak.core.units import MATTER_PER_CM
from photopeak.physics.attenuation import survival
from photopeak.physics.cross_sections import WATER
from photopeak.physics.esse_kernels import (
    SHELL_MM,
    SHELLS,
    TERMS,
    ScatterKernels,
    shipped_kernels,
    voxel_kernels,
)
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.response import FWHM_PER_SIGMA, gaussian_toeplitz
from photopeak.physics.rotate import rotation_matrix

VOXEL_MM = 12.8
AROUND_MM = 25.0
THIN = 0.4


class Esse(SystemOperator):
    """Activity [z, y, x] to expected scatter [view, row, column]; add it to the camera's system: ``A + S``.

    Parameters
    ----------
    camera : a parallel-hole camera.
    grid : of the activity; one that the camera sees.
    mu : attenuation at the kernels' photon energy, 1/cm, on `grid`.
    kernels : of the camera's energy window; by default those of Tc-99m, 126.45 to 154.55 keV.
    voxel_mm : size of the voxels on which scatter is computed; never finer than `grid`.
    around_mm : sigma of the Gaussian that takes the mean density around a point; None for water all around.

    Raises
    ------
    BadArgument : another kind of camera, or a voxel size that is none.
    GridMismatch, ShapeMismatch, WrongQuantity, BadValues : what the camera says of `grid` and `mu`.
    """

    def __init__(
        self,
        camera: Camera,
        grid: Grid,
        mu: Volume,
        *,
        kernels: ScatterKernels | None = None,
        voxel_mm: float = VOXEL_MM,
        around_mm: float | None = AROUND_MM,
    ) -> None:
        if not isinstance(camera, ParallelHole) or not voxel_mm > 0 or not (around_mm is None or around_mm > 0):
            raise BadArgument(
                f"camera {camera.kind!r}, voxel_mm={voxel_mm:g}, around_mm={around_mm}",
                needed="a parallel_hole camera and positive lengths",
                remedy="Scatter of other cameras: triple_energy_window, where side windows were acquired.",
            )
        camera.system(grid, mu)
        self.camera, self.grid, self._mu = camera, grid, mu
        self._kernels = kernels or shipped_kernels()
        self._around_mm = around_mm
        self._densities = (1.0,) if around_mm is None else (1.0, THIN)
        mu.require(attenuation(self._kernels.energy_kev), name="mu")
        fine = camera.pixel_mm
        nz, n, _ = grid.shape
        self._voxel_mm = max(voxel_mm, fine)
        self._nz, self._n = (math.ceil(size * fine / self._voxel_mm - 1e-6) for size in (nz, n))
        self._views: dict[tuple[float, float, torch.dtype, torch.device], _View] = {}
        self._spectra: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    @property
    def domain_shape(self) -> tuple[int, ...]:
        return self.grid.shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        return self.camera.projection_shape

    def views(self, indices: Sequence[int]) -> "Esse":
        """The same scatter at some of the views; tables are shared, as they belong to angles."""
        some = copy.copy(self)
        some.camera = self.camera.views(indices)
        return some

    def _forward(self, x: Tensor) -> Tensor:
        slices, rows = self._overlaps(x)
        flat = _on_axes(x, slices, rows, rows).permute(2, 3, 0, 1).reshape(self._n**2, -1)
        seen = [self._view(place, x).forward(flat, self._spectrum(x)) for place in self._places()]
        up_rows, up_columns = self._interpolations(x)
        return _on_axes(torch.stack(seen, dim=1), up_rows, up_columns)

    def _adjoint(self, y: Tensor) -> Tensor:
        up_rows, up_columns = self._interpolations(y)
        counts = _on_axes(y, up_rows.T, up_columns.T).unbind(1)
        flat = y.new_zeros(self._n**2, len(y) * self._nz)
        for place, view in zip(self._places(), counts, strict=True):
            flat += self._view(place, y).adjoint(view, self._spectrum(y))
        slices, rows = self._overlaps(y)
        coarse = flat.reshape(self._n, self._n, len(y), self._nz).permute(2, 3, 0, 1)
        return _on_axes(coarse, slices.T, rows.T, rows.T)

    def _places(self) -> list[tuple[float, float]]:
        return list(zip(self.camera.angles_deg, self.camera.radii_mm, strict=True))

    def _overlaps(self, like: Tensor) -> tuple[Tensor, Tensor]:
        ratio = self._voxel_mm / self.camera.pixel_mm
        slices, rows = (overlap(fine, coarse, ratio) for fine, coarse in self._sizes())
        return slices.to(like), rows.to(like)

    def _interpolations(self, like: Tensor) -> tuple[Tensor, Tensor]:
        ratio = self._voxel_mm / self.camera.pixel_mm
        rows, columns = (interpolation(fine, coarse, ratio) for fine, coarse in self._sizes())
        return rows.to(like), columns.to(like)

    def _sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (self.grid.shape[0], self._nz), (self.grid.shape[2], self._n)

    def _spectrum(self, like: Tensor) -> Tensor:
        """Kernels [density and term, depth, column, frequency of z], on sizes that no convolution wraps around."""
        key = (like.dtype, like.device)
        if key not in self._spectra:
            far = math.ceil(SHELLS * SHELL_MM / min(self._densities) / self._voxel_mm)
            reach = tuple(min(size - 1, far) for size in (self._n, self._n, self._nz))
            sizes = zip((self._n, self._n, self._nz), reach, strict=True)
            padded = [2 * next_fast_len(math.ceil((n + r) / 2), real=True) for n, r in sizes]
            kernels = np.concatenate(
                [voxel_kernels(self._kernels, self._voxel_mm * d, reach) / d for d in self._densities]
            )
            whole = np.zeros((len(kernels), *padded))
            whole[tuple(slice(0, size) for size in kernels.shape)] = kernels
            centred = np.roll(whole, [-r for r in reach], axis=(1, 2, 3))
            self._spectra[key] = torch.fft.rfftn(torch.from_numpy(centred).to(like), dim=(1, 2, 3))
        return self._spectra[key]

    def _view(self, place: tuple[float, float], like: Tensor) -> "_View":
        key = (*place, like.dtype, like.device)
        if key not in self._views:
            angle_deg, radius_mm = place
            rotate, back = rotation_matrix(self._n, angle_deg, dtype=like.dtype, device=like.device)
            mu, *shares = self._matter(like).reshape(-1, self._n**2, self._nz)
            mu, *shares = ((rotate @ flat).reshape(self._n, self._n, self._nz) for flat in (mu, *shares))
            alive = survival(mu, self._voxel_mm)
            terms = torch.stack([alive.log() ** term for term in range(TERMS)]) * (mu * alive / self._water_per_cm)
            powers = torch.cat([share * terms for share in shares])
            self._views[key] = _View(rotate, back, powers, self._response(radius_mm, like))
        return self._views[key]

    def _matter(self, like: Tensor) -> Tensor:
        """Attenuation, 1/cm, and the shares of the densities' kernels: [1 + density, y, x, z]."""
        slices, rows = self._overlaps(like)
        fine = self._mu.data.to(like)
        within = torch.stack([fine, (fine > MATTER_PER_CM).to(like)]) * (self.camera.pixel_mm / self._voxel_mm) ** 3
        mu, body = _on_axes(within, slices, rows, rows).permute(0, 2, 3, 1)
        if self._around_mm is None:
            return torch.stack([mu, torch.ones_like(mu)])
        sigma = torch.tensor([self._around_mm / self._voxel_mm]).to(like)
        around = [gaussian_toeplitz(size, sigma)[0] for size in mu.shape]
        density = _on_axes(mu, *around) / _on_axes(body, *around).clamp(min=1e-6) / self._water_per_cm
        dense = ((density - THIN) / (1 - THIN)).clamp(0, 1)
        return torch.stack([mu, dense, 1 - dense])

    @property
    def _water_per_cm(self) -> float:
        return float(WATER.mu_per_cm(self._kernels.energy_kev))

    def _response(self, radius_mm: float, like: Tensor) -> tuple[Tensor, Tensor] | None:
        """Blur matrices of every depth along columns [depth, out, in] and along z [depth, out, in]."""
        if self.camera.collimator is None:
            return None
        depth = torch.arange(self._n, dtype=torch.float64)
        distance = radius_mm - ((self._n - 1) / 2 - depth) * self._voxel_mm
        sigma = (self.camera.collimator.fwhm_mm(distance) / FWHM_PER_SIGMA / self._voxel_mm).to(like)
        return gaussian_toeplitz(self._n, sigma), gaussian_toeplitz(self._nz, sigma)


class _View(NamedTuple):
    """One view on coarse voxels: rotation and its transpose, response, and ``(-tau)^n exp(-tau) mu / mu_water``.

    powers : [density and n, depth, column, z], times the share of the density.
    """

    rotate: Tensor
    back: Tensor
    powers: Tensor
    response: tuple[Tensor, Tensor] | None

    def forward(self, flat: Tensor, spectrum: Tensor) -> Tensor:
        """Activity [y x, batch z] to scatter [batch, z, column]."""
        _, n, _, nz = self.powers.shape
        padded = _padded(spectrum)
        turned = (self.rotate @ flat).reshape(n, n, -1, nz).permute(2, 0, 1, 3)
        waves = torch.fft.rfftn(turned, s=padded, dim=(1, 2, 3))
        source = turned.new_zeros(turned.shape)
        for kernel, power in zip(spectrum, self.powers, strict=True):
            source += power * torch.fft.irfftn(waves * kernel, s=padded, dim=(1, 2, 3))[:, :n, :n, :nz]
        if self.response is None:
            return source.sum(1).mT
        columns, rows = self.response
        return torch.einsum("dyz,bdxz->byx", rows, columns @ source)

    def adjoint(self, counts: Tensor, spectrum: Tensor) -> Tensor:
        """Scatter [batch, z, column] to activity [y x, batch z]."""
        _, n, _, nz = self.powers.shape
        padded = _padded(spectrum)
        if self.response is None:
            source = counts.mT[:, None].expand(-1, n, n, nz)
        else:
            columns, rows = self.response
            source = columns.mT @ torch.einsum("dyz,byx->bdxz", rows, counts)
        waves = sum(
            torch.fft.rfftn(power * source, s=padded, dim=(1, 2, 3)) * kernel.conj()
            for kernel, power in zip(spectrum, self.powers, strict=True)
        )
        turned = torch.fft.irfftn(waves, s=padded, dim=(1, 2, 3))[:, :n, :n, :nz]
        return self.back @ turned.permute(1, 2, 0, 3).reshape(n * n, -1)


def _padded(spectrum: Tensor) -> tuple[int, int, int]:
    """Even sizes, the last of them told by its half."""
    _, depth, column, half = spectrum.shape
    return depth, column, 2 * (half - 1)


def _on_axes(x: Tensor, *matrices: Tensor) -> Tensor:
    """One matrix [out, in] on each of the last axes."""
    for axis, matrix in enumerate(matrices, start=-len(matrices)):
        x = torch.tensordot(matrix, x, dims=([1], [axis])).movedim(0, axis)
    return x


def overlap(fine: int, coarse: int, ratio: float) -> Tensor:
    """[coarse, fine]: the share of each fine cell in each coarse one, both centred, a coarse one `ratio` fine ones."""
    edges = torch.arange(fine + 1, dtype=torch.float64) - fine / 2
    outer = (torch.arange(coarse + 1, dtype=torch.float64) - coarse / 2) * ratio
    inside = torch.minimum(edges[1:], outer[1:, None]) - torch.maximum(edges[:-1], outer[:-1, None])
    return inside.clamp(min=0)


def interpolation(fine: int, coarse: int, ratio: float) -> Tensor:
    """[fine, coarse]: counts of fine pixels from those of coarse ones, linear between centres, level at the edges."""
    at = (torch.arange(fine, dtype=torch.float64) - (fine - 1) / 2) / ratio + (coarse - 1) / 2
    distance = at.clamp(0, coarse - 1)[:, None] - torch.arange(coarse, dtype=torch.float64)
    return (1 - distance.abs()).clamp(min=0) / ratio
