"""Parallel-hole gamma camera with attenuation and distance-dependent response.

Each view rotates the transaxial slices so that depth runs away from the detector, lets each voxel's photons survive the
tissue in front of it, blurs every plane by the collimator's response at its distance, and sums over depth. Two engines
do this: products of matrices in torch (`parallel_hole_gemm`) and a kernel for CPUs (`parallel_hole_compiled`).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from photopeak.core import Camera, Grid, SystemOperator, Volume
from photopeak.core.camera import checked_views
from photopeak.core.errors import BadArgument, GridMismatch, ShapeMismatch
from photopeak.core.units import BODY_PER_CM
from photopeak.physics.attenuation import checked_mu
from photopeak.physics.parallel_hole_gemm import GemmEngine
from photopeak.physics.response import FWHM_PER_SIGMA, GE_LEHR, Collimator, Kernel, Response

Engine = Literal["auto", "gemm", "compiled"]


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
        lengths = (*self.radii_mm, self.pixel_mm)
        if not (all(0 < length < math.inf for length in lengths) and all(map(math.isfinite, self.angles_deg))):
            raise BadArgument(
                f"radii {min(self.radii_mm):g} to {max(self.radii_mm):g} mm, pixel {self.pixel_mm:g} mm, "
                f"angles {min(self.angles_deg):g} to {max(self.angles_deg):g} degrees",
                needed="positive lengths and finite angles",
                remedy="Give millimetres and degrees.",
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
        if views < 1:
            raise BadArgument(f"views={views}", needed="at least 1", remedy="60 are usual.")
        step = arc_deg / views
        angles = tuple(start_deg + step * (view + 0.5) for view in range(views))
        return cls(angles, (radius_mm,) * views, shape, pixel_mm, collimator)

    @classmethod
    def l_mode(cls, *, views: int = 60, start_deg: float = -45.0, **circular: Any) -> "ParallelHole":
        """Two heads at right angles that turn by 90 degrees together: the first head's views, then the second's.

        Parameters
        ----------
        views : of both heads, an even number.
        start_deg : where the first head starts; the second starts 90 degrees further toward the left.
        circular : what `circular` takes.
        """
        if views % 2 or views < 2:
            raise BadArgument(f"{views} views in L-mode", needed="an even number", remedy="Each head sees half.")
        heads = [
            cls.circular(views=views // 2, arc_deg=90.0, start_deg=start, **circular)
            for start in (start_deg, start_deg + 90.0)
        ]
        return replace(
            heads[0],
            angles_deg=heads[0].angles_deg + heads[1].angles_deg,
            radii_mm=heads[0].radii_mm + heads[1].radii_mm,
        )

    def around(self, mu: Volume, *, gap_mm: float = 30.0) -> "ParallelHole":
        """The same views on a body-contour orbit, `gap_mm` from the body that `mu` (1/cm) shows."""
        checked_mu(mu, mu.grid)
        return replace(self, radii_mm=tuple(float(r) + gap_mm for r in self._reach_of_body_mm(mu)))

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        return (len(self.angles_deg), *self.shape)

    def views(self, indices: Sequence[int]) -> "ParallelHole":
        """The camera at some of its views."""
        chosen = checked_views(indices, len(self.angles_deg))
        return replace(
            self,
            angles_deg=tuple(self.angles_deg[i] for i in chosen),
            radii_mm=tuple(self.radii_mm[i] for i in chosen),
        )

    def system(
        self,
        grid: Grid,
        mu: Volume | None = None,
        *,
        engine: Engine = "auto",
        kernel: Kernel = "integrated",
        memory_mb: float = 2048.0,
    ) -> "ParallelHoleSystem":
        """The operator from images on `grid` to projections.

        Parameters
        ----------
        mu : 1/cm at 140.5 keV, on `grid`; None without attenuation.
        engine : "gemm", matrix products in torch on any device; "compiled", for CPUs; "auto", compiled for tensors on a
            CPU and gemm elsewhere.
        kernel : the response is a Gaussian "integrated" over each pixel, or "sampled" at its middle.
        memory_mb : what the gemm engine may keep and use; some views of a system have their share of it.

        Raises
        ------
        GridMismatch, ShapeMismatch : the grid does not fit the detector, or mu lies elsewhere.
        WrongQuantity, BadValues : mu is not linear attenuation at 140.5 keV, or holds numbers that cannot be.
        BadArgument : the body reaches through the collimator, or an engine or kernel that there is not.
        """
        if engine not in get_args(Engine) or kernel not in get_args(Kernel):
            raise BadArgument(
                f"engine={engine!r}, kernel={kernel!r}",
                needed=f"one of {', '.join(get_args(Engine))}, and of {', '.join(get_args(Kernel))}",
                remedy="Check the spelling.",
            )
        _require_fitting(self, grid)
        mu = checked_mu(mu, grid)
        if mu is not None:
            self._require_outside(mu)
        columns = None if mu is None else mu.data.permute(1, 2, 0).contiguous()
        return ParallelHoleSystem(self, grid, columns, engine, kernel, memory_mb)

    def response(self, size: int, kernel: Kernel = "integrated") -> Response | None:
        """The Gaussian of each plane of a grid with `size` rows and columns; None for ideal resolution."""
        if self.collimator is None:
            return None
        radii = torch.tensor(self.radii_mm, dtype=torch.float64)[:, None]
        from_axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
        corner = math.ceil((math.sqrt(2) - 1) * size / 2) + (size - 1) / 2
        sigmas, farthest = (
            self.collimator.fwhm_mm(radii + d * self.pixel_mm) / FWHM_PER_SIGMA / self.pixel_mm
            for d in (from_axis, torch.tensor([corner], dtype=torch.float64))
        )
        reaches = tuple(math.ceil(3 * float(sigma)) for sigma in farthest)
        return Response(sigmas, kernel, reaches)

    def _require_outside(self, mu: Volume) -> None:
        reach = self._reach_of_body_mm(mu)
        inside = reach - np.array(self.radii_mm)
        worst = int(inside.argmax())
        if inside[worst] > 0:
            raise BadArgument(
                f"radius {self.radii_mm[worst]:g} mm of view {worst}, where the body of mu reaches {reach[worst]:.0f}",
                needed="a collimator outside the body",
                remedy="Correct radii_mm or crop the couch from mu; camera.around(mu) follows the body.",
            )

    def _reach_of_body_mm(self, mu: Volume) -> np.ndarray:
        """How far the body reaches from the rotation axis toward the detector of each view."""
        inside = (mu.data > BODY_PER_CM).any(dim=0).cpu().numpy()
        offset_mm = (np.argwhere(inside) - (np.array(inside.shape) - 1) / 2) * mu.grid.spacing_mm[1:]
        if not len(offset_mm):
            return np.zeros(len(self.angles_deg))
        phi = np.radians(self.angles_deg)
        return np.asarray((offset_mm[:, 1:] * np.sin(phi) - offset_mm[:, :1] * np.cos(phi)).max(axis=0))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "ParallelHole":
        collimator = Collimator(**record["collimator"]) if record["collimator"] else None
        angles, radii, (rows, columns) = tuple(record["angles_deg"]), tuple(record["radii_mm"]), record["shape"]
        return cls(angles, radii, (rows, columns), record["pixel_mm"], collimator)


class ParallelHoleSystem(SystemOperator):
    """[z, y, x] -> [view, row, column] of one camera on one grid; engines are made on first use.

    `mu` is [y, x, z], 1/cm, so that each column along z is contiguous; some views share it with the whole.
    """

    def __init__(
        self, camera: ParallelHole, grid: Grid, mu: Tensor | None, engine: Engine, kernel: Kernel, memory_mb: float
    ) -> None:
        self.camera, self.grid = camera, grid
        self._mu, self._engine, self._kernel, self._memory_mb = mu, engine, kernel, memory_mb
        self._engines: dict[str, Any] = {}

    @property
    def domain_shape(self) -> tuple[int, ...]:
        return self.grid.shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        return self.camera.projection_shape

    def views(self, indices: Sequence[int]) -> "ParallelHoleSystem":
        camera, share = self.camera.views(indices), len(indices) / len(self.camera.angles_deg)
        return ParallelHoleSystem(camera, self.grid, self._mu, self._engine, self._kernel, share * self._memory_mb)

    def _forward(self, x: Tensor) -> Tensor:
        seen: Tensor = self._for(x).forward(x)
        return seen

    def _adjoint(self, y: Tensor) -> Tensor:
        image: Tensor = self._for(y).adjoint(y)
        return image

    def _for(self, data: Tensor) -> Any:
        """The engine for data on this device."""
        on_cpu = data.device.type == "cpu"
        name = ("compiled" if on_cpu else "gemm") if self._engine == "auto" else self._engine
        if name == "compiled" and not on_cpu:
            raise BadArgument(
                f"data on {data.device.type} for the compiled engine", needed="a CPU", remedy='Use engine="gemm".'
            )
        if name not in self._engines:
            self._engines[name] = self._gemm() if name == "gemm" else self._compiled()
        return self._engines[name]

    def _gemm(self) -> GemmEngine:
        nz, n, _ = self.grid.shape
        response = self.camera.response(n, self._kernel)
        angles, pixel_mm = self.camera.angles_deg, self.camera.pixel_mm
        return GemmEngine(angles, response, self._mu, (n, nz), pixel_mm, self._memory_mb)

    def _compiled(self) -> Any:
        from photopeak.physics.parallel_hole_compiled import CompiledEngine

        n, angles, pixel_mm = self.grid.shape[1], self.camera.angles_deg, self.camera.pixel_mm
        return CompiledEngine(angles, self.camera.response(n, self._kernel), self._mu, n, pixel_mm)


def _require_fitting(camera: ParallelHole, grid: Grid) -> None:
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
