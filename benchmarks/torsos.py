"""Two torsos that no training may see, with simulated hearts in them.

A real woman's CT, and the tissue labels of a man of the XCAT family. The heart, its tracer and its breathing are those
of a simulated patient; around it, attenuation is the torso's own. Arms that lie beside the body are left out, since
they would be outside the camera's field. A torso's soft tissue outside the ribs stays where it is, what is inside
rides on the breath.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_closing, binary_dilation, binary_erosion, binary_fill_holes, binary_opening, label
from scipy.spatial import ConvexHull, Delaunay

from photopeak.core import FACTOR, HU, Grid, Study, Volume
from photopeak.core.units import TC99M_KEV
from photopeak.physics.mumap import mu_from_ct
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.simulate.anatomy import Anatomy, _rasterise
from photopeak.simulate.population import Patient
from photopeak.simulate.shapes import Array, ellipsoid
from photopeak.simulate.ventricle import LeftVentricle

VOXEL_MM = 4.0
HEART = frozenset({"lv_cavity", "lv_wall", "rv_wall", "blood"})
INSIDE = ("lung", "viscera", "liver")
"""What a heart may take the place of."""
MU_PER_CM = {"air": 0.0, "lung": 0.044, "liver": 0.1612, "bone": 0.22, "muscle": 0.152, "viscera": 0.152}
"""Of a torso that is known by its labels alone."""
XCAT_HEART, WOMAN_HEART = (130, 31, 90), (64, 50, 61)
"""Array indices [z, y, x] of the left ventricle's middle; the woman's by her FDG."""
BEYOND_ARMS_MM = 160.0


@dataclass(frozen=True, eq=False)
class Torso:
    """A torso without a heart of its own.

    Parameters
    ----------
    grid : LPS; the body's axis is x = y = 0, and the left ventricle's middle is at z = 0.
    tissues : which voxels [z, y, x] each tissue fills, 0 or 1; together all of them.
    mu : 1/cm at 140.5 keV, [z, y, x].
    heart_mm : LPS (x, y) of the usual place of the left ventricle.
    width_mm : of the chest at the heart.
    """

    name: str
    sex: str
    grid: Grid
    tissues: Mapping[str, Array]
    mu: Array
    heart_mm: tuple[float, float]
    width_mm: float


@dataclass(frozen=True, eq=False)
class TorsoAnatomy(Anatomy):
    """A simulated heart in a torso; `torso_mu` [z, y, x], 1/cm, is what attenuates around the heart."""

    torso_mu: Array

    def mu(self, energy_kev: float = TC99M_KEV, tissues: object = None) -> Volume:
        """Linear attenuation of all tissues or of some, 1/cm at 140.5 keV."""
        wanted = frozenset(self.fractions) if tissues is None else frozenset(tissues)  # type: ignore[call-overload]
        heart = super().mu(energy_kev, wanted & HEART)
        around = sum((self.fractions[t] for t in wanted - HEART if t in self.fractions), np.zeros_like(self.torso_mu))
        return heart.with_data(heart.data + torch.from_numpy(around * self.torso_mu))


def xcat_man(folder: Path) -> Torso:
    labels = np.load(folder / "mesh50xcat_torso_4mm_labels.npz")["labels"]
    half = round(BEYOND_ARMS_MM / VOXEL_MM)
    middle = _middle(labels[XCAT_HEART[0]] > 0)[1]
    labels[:, :, : middle - half] = labels[:, :, middle + half :] = 0
    body = _largest(labels > 0)
    found = {"air": ~body | np.isin(labels, (2, 4)), "lung": labels == 6, "liver": labels == 5, "bone": labels == 7}
    tissues = _with_soft(found)
    mu = sum(np.float32(MU_PER_CM[tissue]) * part for tissue, part in tissues.items())
    return _placed("XCAT man", "M", tissues, np.asarray(mu, dtype=np.float32), XCAT_HEART)


def real_woman(folder: Path) -> Torso:
    arrays = np.load(folder / "real_torso_4mm.npz")
    hu, suv = arrays["hu"].astype(np.float32), arrays["suv"].astype(np.float32)
    solid = _largest(binary_opening(hu > -300, iterations=2))
    body = np.stack([binary_fill_holes(plane) for plane in binary_dilation(solid)])
    mu = mu_from_ct(Volume.from_numpy(hu, Grid.regular(hu.shape, VOXEL_MM), HU), kvp=120).numpy() * body
    liver = body & (hu > 0) & (hu < 150) & (suv > 1.5) & (suv < 4)
    liver[WOMAN_HEART[0] + 1 :] = liver[:, :, WOMAN_HEART[2] - 6 :] = False
    liver = binary_closing(_largest(binary_opening(liver, iterations=2)), iterations=3) & body & (hu > -50)
    found = {
        "air": ~body | (hu < -960),
        "lung": binary_erosion(body, iterations=3) & (hu >= -960) & (hu < -300),
        "liver": liver,
        "bone": body & (hu > 200) & ~liver,
    }
    return _placed("real woman", "F", _with_soft(found), mu.astype(np.float32), WOMAN_HEART)


def with_heart(torso: Torso, patient: Patient, grid: Grid) -> TorsoAnatomy:
    """The heart of `patient`, at his heart_x_mm and heart_y_mm, in a torso, on another grid."""
    parts = {tissue: _on(part, torso.grid, grid) for tissue, part in torso.tissues.items()}
    parts["air"] = 1 - sum(part for tissue, part in parts.items() if tissue != "air")
    lv = LeftVentricle.of(patient)
    r, half, t = lv.radius_mm, lv.length_mm / 2, patient.atria_scale
    right_mm = (1.02 * r * patient.rv_scale, r * patient.rv_scale, 0.88 * half)
    at = lv.at(-0.80 * r * patient.rv_scale, 0.05 * r, -0.22 * half)
    layers = [
        ("lv_cavity", lv.cavity()),
        ("lv_wall", lv.filled()),
        ("blood", ellipsoid(at, [radius - 4 for radius in right_mm], lv.axes)),
        ("rv_wall", ellipsoid(at, right_mm, lv.axes)),
        ("blood", ellipsoid(lv.at(-2, 2, -half - 16 * t), (31 * t, 27 * t, 24 * t), lv.axes)),
        ("blood", ellipsoid(lv.at(-1.30 * r, 2, -1.15 * half), (25 * t, 30 * t, 25 * t), lv.axes)),
    ]
    room = sum(parts[tissue] for tissue in INSIDE)
    heart = {tissue: room * part for tissue, part in _rasterise(layers, grid, 2).items()}
    left = 1 - sum(heart.values()) / np.maximum(room, np.float32(1e-6))
    around = {tissue: part * left if tissue in INSIDE else part for tissue, part in parts.items()}
    return TorsoAnatomy(grid, patient, {**around, **heart}, lv, _on(torso.mu, torso.grid, grid))


def binned(study: Study, grid: Grid) -> Study:
    """An acquisition on voxels half as large as those of `grid`: counts summed, volumes averaged over blocks."""
    camera = next(iter(study.projections.values())).camera
    assert isinstance(camera, ParallelHole)
    coarse = replace(camera, shape=(grid.shape[0], grid.shape[2]), pixel_mm=grid.spacing_mm[0])
    projections = {
        name: replace(seen, camera=coarse, counts=4 * torch.nn.functional.avg_pool2d(seen.counts, 2))
        for name, seen in study.projections.items()
    }
    volumes = {
        name: Volume(torch.nn.functional.avg_pool3d(volume.data[None], 2)[0], grid, volume.quantity)
        for name, volume in study.volumes.items()
    }
    return replace(study, volumes=volumes, projections=projections)


def _with_soft(found: Mapping[str, Array]) -> dict[str, Array]:
    """All tissues, with the soft one that is left: "viscera" inside the ribs and "muscle" outside them."""
    soft = ~np.logical_or.reduce(list(found.values()))
    within = np.stack([_hull(plane) for plane in found["lung"] | found["bone"] | found["liver"]])
    tissues = {**found, "viscera": soft & within, "muscle": soft & ~within}
    return {tissue: part.astype(np.float32) for tissue, part in tissues.items()}


def _hull(plane: Array) -> Array:
    """What lies between the points of a plane, which are not all on a line."""
    points = np.argwhere(plane)
    if len(points) < 3:
        return plane
    corners = Delaunay(points[ConvexHull(points).vertices])
    return np.asarray(corners.find_simplex(np.argwhere(np.ones_like(plane))) >= 0).reshape(plane.shape)


def _placed(name: str, sex: str, tissues: Mapping[str, Array], mu: Array, heart: tuple[int, int, int]) -> Torso:
    body = tissues["air"][heart[0]] < 1
    y, x = _middle(body)
    nz, ny, nx = mu.shape
    offset = [(n - 1) / 2 - at for n, at in ((nx, x), (ny, y), (nz, heart[0]))]
    grid = Grid.regular(mu.shape, VOXEL_MM, centre_mm=[VOXEL_MM * part for part in offset])
    place = (VOXEL_MM * (heart[2] - x), VOXEL_MM * (heart[1] - y))
    return Torso(name, sex, grid, tissues, mu, place, VOXEL_MM * float(np.ptp(np.nonzero(body)[1])))


def _middle(body: Array) -> tuple[int, int]:
    rows, columns = np.nonzero(_largest(body))
    return int(rows.min() + rows.max()) // 2, int(columns.min() + columns.max()) // 2


def _largest(mask: Array) -> Array:
    parts, _ = label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == sizes.argmax())


def _on(values: Array, grid: Grid, other: Grid) -> Array:
    """Linear between voxels; FACTOR, since a share and a coefficient are resampled alike."""
    return Volume.from_numpy(values, grid, FACTOR).on(other).numpy()
