"""PET ring without time of flight: sinograms of direct planes, with attenuation and Gaussian resolution.

One sinogram per image slice, as single-slice rebinning leaves them (Daube-Witherspoon and Muehllehner 1987). The model
is ``y = a * P B x``: a symmetric blur B of the image, lines of response P, and the survival a of both photons, which
depends on the line alone and not on where along it they began.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from photopeak.core import Camera, Grid, SystemOperator, Volume
from photopeak.core.camera import checked_views
from photopeak.core.errors import BadArgument, GridMismatch, ShapeMismatch
from photopeak.core.units import ANNIHILATION_KEV, BODY_PER_CM, MM_PER_CM
from photopeak.physics.attenuation import checked_mu
from photopeak.physics.joseph import JosephLines
from photopeak.physics.response import FWHM_PER_SIGMA, gaussian_toeplitz
from photopeak.physics.ring_parallelproj import ParallelprojLines

Engine = Literal["joseph", "parallelproj"]


class Lines(Protocol):
    """Line integrals over mm, [batch, z, y, x] -> [batch, view, z, bin], and their transpose."""

    def forward(self, images: Tensor, /) -> Tensor: ...

    def adjoint(self, projections: Tensor, /) -> Tensor: ...


_ENGINES: dict[str, Callable[..., Lines]] = {
    "joseph": JosephLines.through,
    "parallelproj": ParallelprojLines.through,
}


@dataclass(frozen=True)
class Ring(Camera):
    """Sinogram bins of a cylindrical PET scanner; its axis runs along z through the middle of the image grid.

    Parameters
    ----------
    angles_deg : view angles from anterior toward the patient's left; a half turn sees every line.
    bins, bin_mm : radial bins; at angle phi they run along (cos phi, sin phi) in LPS.
    planes, plane_mm : direct planes, one for each slice of the images.
    radius_mm : from the axis to the crystals; field of view and body lie inside.
    fwhm_mm : resolution of the scanner in all three directions, 0 for none.
    """

    angles_deg: tuple[float, ...]
    bins: int
    bin_mm: float
    planes: int
    plane_mm: float
    radius_mm: float = 400.0
    fwhm_mm: float = 0.0
    kind = "ring"

    def __post_init__(self) -> None:
        if not (self.angles_deg and all(map(math.isfinite, self.angles_deg)) and min(self.bins, self.planes) >= 1):
            raise BadArgument(
                f"{len(self.angles_deg)} angles_deg, {self.bins} bins, {self.planes} planes",
                needed="at least one of each, and finite angles",
                remedy="Ring.half_turn makes evenly spaced views.",
            )
        lengths = (self.bin_mm, self.plane_mm, self.radius_mm)
        if not (min(lengths) > 0 and self.fwhm_mm >= 0 and math.isfinite(sum(lengths) + self.fwhm_mm)):
            raise BadArgument(
                f"bin_mm {self.bin_mm:g}, plane_mm {self.plane_mm:g}, radius_mm {self.radius_mm:g}, "
                f"fwhm_mm {self.fwhm_mm:g}",
                needed="positive lengths, and a resolution of at least 0",
                remedy="Give millimetres.",
            )
        if self.bins * self.bin_mm / 2 > self.radius_mm:
            raise BadArgument(
                f"{self.bins} bins of {self.bin_mm:g} mm in a ring with radius_mm {self.radius_mm:g}",
                needed="bins inside the ring",
                remedy="Use fewer or narrower bins.",
            )

    @classmethod
    def half_turn(
        cls,
        *,
        views: int = 180,
        bins: int = 128,
        bin_mm: float = 4.0,
        planes: int = 47,
        plane_mm: float = 3.27,
        radius_mm: float = 400.0,
        fwhm_mm: float = 5.0,
    ) -> "Ring":
        """Equal steps over 180 degrees, the first view from anterior."""
        angles = tuple(180.0 * view / views for view in range(views))
        return cls(angles, bins, bin_mm, planes, plane_mm, radius_mm, fwhm_mm)

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        return (len(self.angles_deg), self.planes, self.bins)

    def views(self, indices: Sequence[int]) -> "Ring":
        """The camera at some of its views."""
        return replace(self, angles_deg=tuple(self.angles_deg[i] for i in checked_views(indices, len(self.angles_deg))))

    def system(self, grid: Grid, mu: Volume | None = None, *, engine: Engine = "joseph") -> "RingSystem":
        """The operator on an axial grid whose slices are the planes; voxels may be of any size in the plane.

        Parameters
        ----------
        mu : linear attenuation at 511 keV, 1/cm.
        engine : "joseph" is ours, on the CPU; "parallelproj" needs that package.

        Raises
        ------
        GridMismatch, ShapeMismatch : the slices are not the planes.
        WrongQuantity, BadValues : `mu` is something else, or of another photon energy.
        BadArgument : the body that `mu` shows reaches out of the ring, or an unknown engine.
        MissingPackage : parallelproj is not installed.
        """
        self._require_planes(grid)
        if engine not in _ENGINES:
            raise BadArgument(f"engine={engine!r}", needed=" or ".join(_ENGINES), remedy="Choose one.")
        mu = checked_mu(mu, grid, ANNIHILATION_KEV)
        if mu is None:
            return RingSystem(self, grid, engine)
        self._require_inside(mu)
        path_cm = self.lines(grid, engine).forward(mu.data[None])[0] / MM_PER_CM
        return RingSystem(self, grid, engine, torch.exp(-path_cm))

    def lines(self, grid: Grid, engine: Engine = "joseph") -> Lines:
        """The lines of response through a grid."""
        return _ENGINES[engine](grid, self.angles_deg, bins=self.bins, bin_mm=self.bin_mm)

    def _require_planes(self, grid: Grid) -> None:
        if not grid.is_axial or abs(grid.spacing_mm[0] - self.plane_mm) > 1e-3 * self.plane_mm:
            raise GridMismatch(
                f"a grid of {grid}",
                needed=f"slices as thick as the planes, {self.plane_mm:g} mm, and array axes along LPS",
                remedy="Resample the volume: volume.on(Grid.regular(...)).",
            )
        if grid.shape[0] != self.planes:
            raise ShapeMismatch(
                f"{self.planes} planes for a grid of {grid}",
                needed=f"planes={grid.shape[0]}",
                remedy="Give the ring as many planes as the grid has slices.",
            )

    def _require_inside(self, mu: Volume) -> None:
        _, dy, dx = mu.grid.spacing_mm
        _, ny, nx = mu.grid.shape
        body = (mu.data > BODY_PER_CM).any(0).cpu().numpy()
        y, x = (np.arange(n) - (n - 1) / 2 for n in (ny, nx))
        reach = float(np.max(np.hypot(dy * y[:, None], dx * x[None, :]), where=body, initial=0.0))
        if reach > self.radius_mm:
            raise BadArgument(
                f"radius_mm {self.radius_mm:g} with mu above {BODY_PER_CM:g} 1/cm at {reach:.0f} mm from the axis",
                needed="a ring around the body",
                remedy="Give the scanner's own radius, and a mu map without room or couch beyond it.",
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Ring":
        return cls(**{**record, "angles_deg": tuple(record["angles_deg"])})


class RingSystem(SystemOperator):
    """[z, y, x] -> [view, row, column] of one ring on one grid.

    Images are counts per voxel: where a ring sees a voxel whole and nothing is attenuated, each view holds its counts.
    """

    def __init__(self, camera: Ring, grid: Grid, engine: Engine, survival: Tensor | None = None) -> None:
        _, dy, dx = grid.spacing_mm
        self.camera, self.grid, self.survival = camera, grid, survival
        self._engine, self._lines = engine, camera.lines(grid, engine)
        self._bins_per_mm = camera.bin_mm / (dy * dx)
        self._blurs = _blurs(grid, camera.fwhm_mm) if camera.fwhm_mm > 0 else None

    @property
    def domain_shape(self) -> tuple[int, ...]:
        return self.grid.shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        return self.camera.projection_shape

    def views(self, indices: Sequence[int]) -> "RingSystem":
        camera = self.camera.views(indices)
        survival = None if self.survival is None else self.survival[list(indices)]
        return RingSystem(camera, self.grid, self._engine, survival)

    def _forward(self, x: Tensor) -> Tensor:
        return self._attenuated(self._lines.forward(self._blurred(x)) * self._bins_per_mm)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._blurred(self._lines.adjoint(self._attenuated(y) * self._bins_per_mm))

    def _attenuated(self, lines: Tensor) -> Tensor:
        return lines if self.survival is None else lines * self.survival.to(lines)

    def _blurred(self, images: Tensor) -> Tensor:
        if self._blurs is None:
            return images
        over_z, over_y, over_x = (blur.to(images) for blur in self._blurs)
        in_plane = over_y @ images @ over_x
        return (over_z @ in_plane.flatten(2)).reshape(images.shape)


def _blurs(grid: Grid, fwhm_mm: float) -> list[Tensor]:
    """The symmetric blur matrices of the axes z, y and x."""
    sigmas_px = fwhm_mm / FWHM_PER_SIGMA / torch.tensor(grid.spacing_mm, dtype=torch.float64)
    return [gaussian_toeplitz(n, sigma[None])[0] for n, sigma in zip(grid.shape, sigmas_px, strict=True)]
