"""A patient's tissues on a grid, with partial volume, and their attenuation.

Mass attenuation coefficients are NIST's; the table lists linear ones at the usual densities.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from photopeak.core import Grid, Volume, attenuation
from photopeak.core.errors import BadArgument
from photopeak.core.units import ANNIHILATION_KEV, TC99M_KEV
from photopeak.simulate.organs import Layers, layout
from photopeak.simulate.population import Patient
from photopeak.simulate.shapes import Array, Shape
from photopeak.simulate.ventricle import LeftVentricle

# 1/cm at 140.5 and 511 keV; lung and bone are drawn for each patient.
_MUSCLE, _ADIPOSE, _WATER = (0.1599, 0.0998), (0.1452, 0.0913), (0.1536, 0.0960)
_CORTICAL = (0.2947, 0.1716)
_MU = {
    "lv_cavity": (0.1610, 0.1006),
    "lv_wall": _MUSCLE,
    "rv_wall": _MUSCLE,
    "blood": (0.1610, 0.1006),
    "adipose": _ADIPOSE,
    "heart_fat": _ADIPOSE,
    "muscle": _MUSCLE,
    "diaphragm": _MUSCLE,
    "breast": (0.1553, 0.0970),
    "mediastinum": (0.1540, 0.0963),
    "viscera": (0.1530, 0.0957),
    "bowel": _WATER,
    "stomach": _WATER,
    "stomach_wall": _MUSCLE,
    "gallbladder": (0.1560, 0.0975),
    "liver": (0.1612, 0.1007),
    "spleen": (0.1612, 0.1007),
    "kidney": (0.1597, 0.0998),
    "air": (0.0, 0.0),
}
_SLAB_VOXELS = 400_000
STILL = frozenset({"bone", "muscle", "breast", "adipose", "air"})
"""Tissues of the wall of the trunk, and the windpipe: breathing leaves them where they are."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One patient on one grid.

    Parameters
    ----------
    fractions : part of each voxel filled by each tissue, float32 arrays [z, y, x]; they sum to at most 1.
    ventricle : the true left ventricle (place, direction, size).
    """

    grid: Grid
    patient: Patient
    fractions: Mapping[str, Array]
    ventricle: LeftVentricle

    @property
    def heart_centre_mm(self) -> tuple[float, float, float]:
        """LPS (x, y, z) of the left ventricle's long axis, halfway from base to apex."""
        return self.ventricle.centre_mm

    @property
    def long_axis(self) -> tuple[float, float, float]:
        """LPS unit vector from base to apex."""
        return self.ventricle.apical

    @property
    def lv_wall(self) -> Array:
        return self.fractions["lv_wall"]

    @property
    def lv_cavity(self) -> Array:
        return self.fractions["lv_cavity"]

    @property
    def room(self) -> Array:
        """The part of each voxel, [z, y, x], that is filled by what rides on the breath."""
        return self.weighted(dict.fromkeys(self.fractions, 1.0), self.riding)

    @property
    def riding(self) -> frozenset[str]:
        """Tissues that breathing moves along the body."""
        return frozenset(self.fractions) - STILL

    def mu(self, energy_kev: float = TC99M_KEV, tissues: Collection[str] | None = None) -> Volume:
        """Linear attenuation, 1/cm, at 140.5 or 511 keV; of all tissues or of some."""
        energies = (TC99M_KEV, ANNIHILATION_KEV)
        if energy_kev not in energies:
            raise BadArgument(
                f"energy_kev {energy_kev}",
                needed=" or ".join(f"{energy:g}" for energy in energies),
                remedy="Tissue coefficients are tabulated at these energies.",
            )
        column = energies.index(energy_kev)
        table = {tissue: values[column] for tissue, values in _MU.items()}
        dense = (self.patient.bone_mu_per_cm - _MUSCLE[0]) / (_CORTICAL[0] - _MUSCLE[0])
        table["bone"] = _MUSCLE[column] + dense * (_CORTICAL[column] - _MUSCLE[column])
        table["lung"] = self.patient.lung_mu_per_cm * _WATER[column] / _WATER[0]
        return Volume.from_numpy(self.weighted(table, tissues), self.grid, attenuation(energy_kev))

    def weighted(self, table: Mapping[str, float], tissues: Collection[str] | None = None) -> Array:
        """Each tissue's fraction times its value in `table`, summed over all tissues or over some."""
        total = np.zeros(self.grid.shape, dtype=np.float32)
        for tissue, fraction in self.fractions.items():
            if tissues is None or tissue in tissues:
                total += np.float32(table.get(tissue, 0.0)) * fraction
        return total


def build_anatomy(patient: Patient, grid: Grid, *, oversample: int = 2) -> Anatomy:
    """The patient's tissues on an axial grid.

    Parameters
    ----------
    grid : array axes along head, posterior and left; the middle of the left ventricle is at z = 0.
    oversample : samples per voxel and axis; each is softened over its own width besides.
    """
    if not grid.is_axial:
        raise BadArgument(
            f"a grid of {grid} with tilted or flipped axes",
            needed="array axes along the head, posterior and left",
            remedy="Build on Grid.regular(...) and resample with Volume.on.",
        )
    if oversample < 1:
        raise BadArgument(f"oversample {oversample}", needed="at least 1", remedy="2 is accurate to about 1 %.")
    fractions = _rasterise(layout(patient), grid, int(oversample))
    return Anatomy(grid, patient, fractions, LeftVentricle.of(patient))


def _rasterise(layers: Layers, grid: Grid, fine: int) -> dict[str, Array]:
    """Paint the layers in order, each into what the earlier ones left free, slab by slab along z."""
    nz, ny, nx = grid.shape
    x, y, z = (_fine_axis(grid, axis, fine) for axis in (0, 1, 2))
    width = min(grid.spacing_mm) / fine
    fractions = {name: np.zeros(grid.shape, dtype=np.float32) for name, _ in layers}
    thick = max(1, _SLAB_VOXELS // (ny * nx * fine**3))
    for first in range(0, nz, thick):
        slab = slice(first, min(first + thick, nz))
        free = np.ones(((slab.stop - slab.start) * fine, ny * fine, nx * fine), dtype=np.float32)
        slab_z = z[slab.start * fine : slab.stop * fine]
        for name, shape in layers:
            box = [_span(axis, shape, k, width, fine) for k, axis in ((2, slab_z), (1, y), (0, x))]
            if any(part.stop <= part.start for part in box):
                continue
            zs, ys, xs = (axis[part] for axis, part in zip((slab_z, y, x), box, strict=True))
            distance = shape.distance(xs[None, None, :], ys[None, :, None], zs[:, None, None])
            there = free[tuple(box)]
            painted = there * np.clip(0.5 - distance / np.float32(width), 0, 1)
            there -= painted
            coarse = [slice(part.start // fine, part.stop // fine) for part in box]
            fractions[name][slab][tuple(coarse)] += _block_mean(painted, fine)
    return fractions


def _fine_axis(grid: Grid, axis: int, fine: int) -> Array:
    """Sample positions along LPS axis 0, 1 or 2 in mm."""
    count, spacing = grid.shape[2 - axis], grid.spacing_mm[2 - axis]
    offset = (np.arange(count * fine) + 0.5) / fine - 0.5
    return (grid.affine[axis][3] + spacing * offset).astype(np.float32)


def _span(axis: Array, shape: Shape, k: int, margin: float, fine: int) -> slice:
    """The samples of whole voxels that a shape may touch along one axis."""
    start = int(np.searchsorted(axis, shape.low[k] - margin))
    stop = int(np.searchsorted(axis, shape.high[k] + margin))
    return slice(start // fine * fine, -(-stop // fine) * fine)


def _block_mean(array: Array, fine: int) -> Array:
    """Mean over blocks of `fine` samples along every axis."""
    nz, ny, nx = (n // fine for n in array.shape)
    return array.reshape(nz, fine, ny, fine, nx, fine).mean(axis=(1, 3, 5))
