"""Stationary multi-pinhole camera, as the cardiac CZT systems have it: every view is a module with one pinhole.

Each module looks at the centre of the field from its own direction; with u the unit vector from the centre to the
pinhole, at azimuth phi from anterior toward the patient's left and elevation tau toward the head,
``u = (sin phi cos tau, -cos phi cos tau, sin tau)``, the pinhole is at ``centre + h u`` and the detector at
``centre + (h + f) u``. Columns run along ``e1 = (-u_y, u_x, 0) / |.|`` and rows along ``e2 = u x e1``: seen from
anterior, to the patient's left and to the head, as in the parallel-hole camera. The image is inverted, as pinholes do.
"""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from photopeak.core import Camera, Grid, Volume
from photopeak.core.camera import checked_views
from photopeak.core.errors import BadArgument, GridMismatch, UnreadableFile
from photopeak.core.units import MM_PER_CM
from photopeak.physics.pinhole_matrix import Sight, Vector
from photopeak.physics.pinhole_system import PinholeSystem


@dataclass(frozen=True)
class Module:
    """One pinhole and the detector behind it.

    Parameters
    ----------
    name : as the camera's drawings call it.
    phi_deg : azimuth from anterior toward the patient's left.
    tau_deg : elevation toward the head; the central row has 0.
    h_mm : centre of the field to pinhole.
    f_mm : pinhole to detector.
    """

    name: str
    phi_deg: float
    tau_deg: float
    h_mm: float
    f_mm: float

    def __post_init__(self) -> None:
        numbers = (self.phi_deg, self.tau_deg, self.h_mm, self.f_mm)
        if not all(map(math.isfinite, numbers)) or min(self.h_mm, self.f_mm) <= 0 or abs(self.tau_deg) > 89:
            raise BadArgument(
                f"module {self.name!r} with phi {self.phi_deg:g}, tau {self.tau_deg:g} degrees, "
                f"h_mm {self.h_mm:g}, f_mm {self.f_mm:g}",
                needed="finite numbers, positive h_mm and f_mm, tau_deg within 89",
                remedy="Correct the module in the camera's TOML.",
            )

    @property
    def axes(self) -> np.ndarray:
        """Unit vectors [(u, e1, e2), (x, y, z)]: to the pinhole, along the columns, along the rows."""
        phi, tau = math.radians(self.phi_deg), math.radians(self.tau_deg)
        u = np.array([math.sin(phi) * math.cos(tau), -math.cos(phi) * math.cos(tau), math.sin(tau)])
        e1 = np.array([-u[1], u[0], 0.0]) / math.cos(tau)
        return np.stack([u, e1, np.cross(u, e1)])


@dataclass(frozen=True)
class Pinhole(Camera):
    """A set of pinhole modules around one field of view; every module is a view.

    Parameters
    ----------
    modules : their order is that of the views.
    shape : detector (rows, columns).
    pixel_mm : detector pixel.
    hole_mm : aperture diameter.
    hole_mu_per_cm : attenuation of the aperture's metal at the photon energy.
    half_opening_deg : half opening angle of the aperture; steeper rays are stopped.
    fov_centre_mm : LPS (x, y, z) of the centre of the field, best on the heart.
    """

    modules: tuple[Module, ...]
    shape: tuple[int, int] = (32, 32)
    pixel_mm: float = 2.46
    hole_mm: float = 5.1
    hole_mu_per_cm: float = 36.0
    half_opening_deg: float = 25.0
    fov_centre_mm: Vector = (0.0, 0.0, 0.0)
    kind = "pinhole"

    def __post_init__(self) -> None:
        lengths = (self.pixel_mm, self.hole_mm, self.hole_mu_per_cm, self.half_opening_deg)
        if not all(math.isfinite(v) and v > 0 for v in lengths) or self.half_opening_deg >= 90:
            raise BadArgument(
                f"pixel_mm {self.pixel_mm:g}, hole_mm {self.hole_mm:g}, hole_mu_per_cm {self.hole_mu_per_cm:g}, "
                f"half_opening_deg {self.half_opening_deg:g}",
                needed="positive numbers, an opening below 90 degrees",
                remedy="Correct the camera's TOML.",
            )
        if not self.modules or min(self.shape) < 1 or not all(map(math.isfinite, self.fov_centre_mm)):
            raise BadArgument(
                f"{len(self.modules)} modules of shape {self.shape} about fov_centre_mm {self.fov_centre_mm}",
                needed="at least one module, positive rows and columns, a finite centre",
                remedy="Correct the camera's TOML.",
            )

    @classmethod
    def named(cls, name: str) -> "Pinhole":
        """A camera that ships: "dnm_530c" (19 modules; also the 570c) or "myospect_es" (its central 9)."""
        folder = resources.files("photopeak.physics") / "geometry"
        known = {Path(entry.name).stem: entry for entry in folder.iterdir() if entry.name.endswith(".toml")}
        if name not in known:
            raise BadArgument(
                f"pinhole camera {name!r}",
                needed=f"one of {', '.join(sorted(known))}",
                remedy="Or describe yours in a TOML and use Pinhole.from_toml.",
            )
        with resources.as_file(known[name]) as path:
            return cls.from_toml(path)

    @classmethod
    def from_toml(cls, path: str | Path) -> "Pinhole":
        """A camera described by a user; ``geometry/dnm_530c.toml`` shows every key.

        Raises
        ------
        UnreadableFile : no such file, or not TOML.
        BadArgument : an unknown or missing key, or a value that cannot be.
        """
        try:
            record = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UnreadableFile(f"{path}: {error}", needed="a TOML file", remedy="Correct the file.") from error
        return cls.from_dict(record)

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        return (len(self.modules), *self.shape)

    @property
    def aperture_mm(self) -> float:
        """Effective diameter with penetration of the edge, sqrt(d (d + 2/mu tan alpha)) (Paix 1967; Anger 1967)."""
        edge = 2 * MM_PER_CM / self.hole_mu_per_cm * math.tan(math.radians(self.half_opening_deg))
        return math.sqrt(self.hole_mm * (self.hole_mm + edge))

    def views(self, indices: Sequence[int]) -> "Pinhole":
        """The camera with some of its modules, in the order given."""
        return replace(self, modules=tuple(self.modules[i] for i in checked_views(indices, len(self.modules))))

    def central(self, n: int) -> tuple[int, ...]:
        """Views of the `n` middle modules of the central row, by azimuth: the few-view choice 9, 7, 5, 3, 1."""
        row = sorted((i for i, m in enumerate(self.modules) if m.tau_deg == 0), key=lambda i: self.modules[i].phi_deg)
        spare = len(row) - n
        if n < 1 or spare < 0 or spare % 2:
            raise BadArgument(
                f"{n} modules of a central row of {len(row)}",
                needed=f"one of {', '.join(str(k) for k in range(len(row), 0, -2)) or 'none'}",
                remedy="Or choose modules by index with camera.views.",
            )
        return tuple(row[spare // 2 : spare // 2 + n])

    def few(self, n: int) -> "Pinhole":
        """The camera with only its `n` central modules; its counts are ``projections.views(camera.central(n))``."""
        return self.views(self.central(n))

    def project(self, points_mm: np.ndarray | Sequence[float]) -> np.ndarray:
        """Where LPS points [..., (x, y, z)] appear: [module, ..., (row, column)] in pixels; NaN behind the pinhole."""
        return self._seen_from(points_mm)[0]

    def sees(self, points_mm: np.ndarray | Sequence[float]) -> np.ndarray:
        """Whether LPS points [..., (x, y, z)] are in the field of each module: bool [module, ...]."""
        pixels, cosine = self._seen_from(points_mm)
        on_detector = ((pixels >= -0.5) & (pixels <= np.array(self.shape) - 0.5)).all(-1)
        return np.asarray(on_detector & (cosine >= math.cos(math.radians(self.half_opening_deg))))

    def _seen_from(self, points_mm: np.ndarray | Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [module, ..., (row, column)] and cosine to the module's axis [module, ...] of points."""
        from_centre = np.asarray(points_mm, dtype=float) - np.array(self.fov_centre_mm)
        pixels, cosines = [], []
        for module in self.modules:
            ray = from_centre - module.h_mm * module.axes[0]
            along, across, up = np.moveaxis(ray @ module.axes.T, -1, 0)
            distance = np.where(along < 0, -along, np.nan)
            spot = -module.f_mm / self.pixel_mm * np.stack([up, across], -1) / distance[..., None]
            pixels.append(spot + (np.array(self.shape) - 1) / 2)
            cosines.append(distance / np.linalg.norm(ray, axis=-1))
        return np.stack(pixels), np.stack(cosines)

    def system(self, grid: Grid, mu: Volume | None = None) -> PinholeSystem:
        """The operator on `grid`; its matrix comes from the cache on disk or is traced first.

        The grid may reach beyond the field, even beyond the pinholes: voxels outside a module's opening cone, behind
        its pinhole or nearer to the pinhole plane than the aperture is wide are not seen by it.
        Reconstruct on a grid that holds the whole body, starting from zero outside it: air near a pinhole is where its
        sensitivity is greatest, and takes up whatever activity beyond the field the image has no room for.

        Raises
        ------
        GridMismatch : the grid is oblique or its voxels are not cubes.
        BadArgument : the body of `mu` reaches a module.
        """
        if not (grid.is_axial and grid.is_isotropic):
            raise GridMismatch(
                f"a grid of {grid}",
                needed="isotropic voxels along LPS",
                remedy="Resample the volume: volume.on(Grid.regular(...)).",
            )
        sights = tuple(self._sight(module, grid) for module in self.modules)
        return PinholeSystem.traced(self, grid, sights, mu)

    def _sight(self, module: Module, grid: Grid) -> Sight:
        pinhole = np.array(self.fov_centre_mm) + module.h_mm * module.axes[0] - grid.world((0, 0, 0))
        x, y, z = (float(v) for v in pinhole.round(6) + 0.0)
        u, e1, e2 = ((float(a), float(b), float(c)) for a, b, c in module.axes)
        return Sight(
            module.name,
            (x, y, z),
            (u, e1, e2),
            module.f_mm,
            self.aperture_mm,
            self.half_opening_deg,
            self.pixel_mm,
            self.shape,
            grid.spacing_mm[0],
            grid.shape,
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Pinhole":
        known = {field.name for field in fields(cls)}
        _require_keys(record, known, "the camera")
        modules = record["modules"]
        if not isinstance(modules, list | tuple) or not all(isinstance(m, dict) for m in modules):
            raise _unfit("modules", modules, "a list of tables")
        rows, columns = _numbers(record["shape"], "shape", 2, whole=True)
        x, y, z = _numbers(record["fov_centre_mm"], "fov_centre_mm", 3)
        lengths = {k: _numbers([record[k]], k, 1)[0] for k in known - {"modules", "shape", "fov_centre_mm"}}
        return cls(tuple(map(_module, modules)), (int(rows), int(columns)), fov_centre_mm=(x, y, z), **lengths)


def _module(record: dict[str, Any]) -> Module:
    name = record.get("name")
    if not isinstance(name, str):
        raise _unfit("name of a module", name, "a string")
    known = {field.name for field in fields(Module)}
    _require_keys(record, known, f"module {name!r}")
    return Module(name, **{k: _numbers([record[k]], k, 1)[0] for k in known - {"name"}})


def _require_keys(record: dict[str, Any], known: set[str], what: str) -> None:
    unknown, missing = sorted(set(record) - known), sorted(known - set(record))
    if unknown or missing:
        raise BadArgument(
            f"{what} with unknown keys {unknown} and without {missing}",
            needed=f"exactly {', '.join(sorted(known))}",
            remedy="Correct the names in the TOML.",
        )


def _numbers(values: object, key: str, count: int, *, whole: bool = False) -> list[float]:
    kinds = int if whole else int | float
    if (
        not isinstance(values, list | tuple)
        or len(values) != count
        or not all(isinstance(v, kinds) and not isinstance(v, bool) for v in values)
    ):
        raise _unfit(key, values, f"{count} {'whole ' * whole}number{'s' * (count > 1)}")
    return [float(v) for v in values]


def _unfit(key: str, value: object, needed: str) -> BadArgument:
    return BadArgument(f"{key} = {value!r}", needed=needed, remedy="Correct the camera's TOML or record.")
