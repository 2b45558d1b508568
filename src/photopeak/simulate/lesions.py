"""Lesions of stated size and uptake in lung, liver and the nodes of the mediastinum.

SUVs of 1 to 18 are those of 26 patients' tumours (Nahmias & Wahl, J Nucl Med 2008; 49:1804: means of 1.5 to 17.5). How
many lesions a person has, their sizes and their densities are assumptions.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from photopeak.core import Grid
from photopeak.simulate.anatomy import Anatomy
from photopeak.simulate.draws import Draw
from photopeak.simulate.shapes import Array, Shape, ellipsoid

WITHOUT, MORE, MOST = 0.25, 2.0, 8
"""Part of people without any; mean of the exponential whose whole part is the number beyond the first (1.5 on
average); the most that anyone has."""
SMALLEST_MM = 8.0
_END_MM = 25.0
_APART_MM = 6.0


@dataclass(frozen=True)
class Site:
    """Where lesions grow.

    Parameters
    ----------
    tissue : what they grow in.
    share : of all lesions.
    diameter_mm, suv : mean and coefficient of variation, cut at `largest_mm` and at 1 and 18.
    density : g/cm3, the ends of an even distribution.
    depth : from the tissue's edge to a lesion's centre, over the lesion's diameter.
    """

    tissue: str
    share: float
    diameter_mm: tuple[float, float]
    largest_mm: float
    suv: tuple[float, float]
    density: tuple[float, float]
    depth: float


SITES = {
    "lung": Site("lung", 0.40, (18.0, 0.5), 45.0, (6.0, 0.6), (0.85, 1.05), 0.45),
    "liver": Site("liver", 0.25, (22.0, 0.5), 50.0, (6.0, 0.45), (1.02, 1.06), 0.5),
    "node": Site("mediastinum", 0.35, (14.0, 0.35), 28.0, (6.0, 0.6), (1.03, 1.05), 0.25),
}
_LOWEST_SUV, _HIGHEST_SUV = 1.0, 18.0


@dataclass(frozen=True)
class Lesion:
    """A sphere of even uptake.

    Parameters
    ----------
    site : "lung", "liver" or "node".
    centre_mm : LPS (x, y, z), where the body is in the middle of a breath.
    suv : before any blur.
    density_g_per_cm3 : of soft tissue, for the CT.
    """

    site: str
    centre_mm: tuple[float, float, float]
    diameter_mm: float
    suv: float
    density_g_per_cm3: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, as the facts of a study hold them."""
        return {**vars(self), "centre_mm": list(self.centre_mm)}

    @property
    def shape(self) -> Shape:
        return ellipsoid(self.centre_mm, [self.diameter_mm / 2] * 3)


def draw_lesions(draw: Draw, anatomy: Anatomy) -> tuple[Lesion, ...]:
    """None in a quarter of people, else one or more, apart from each other, in the slices of the grid.

    A lesion is no larger than its tissue has room for; one that has no room for the smallest is left out.
    """
    if draw.chance(WITHOUT):
        return ()
    number = min(1 + int(-MORE * math.log(1 - draw.uniform(0.0, 1.0))), MOST)
    free = {site: _depth_mm(anatomy, about.tissue) for site, about in SITES.items()}
    found: list[Lesion] = []
    for _ in range(number):
        site = draw.choice({name: about.share for name, about in SITES.items()})
        lesion = _placed(draw, site, free[site], anatomy.grid)
        if lesion is not None:
            found.append(lesion)
            away = np.linalg.norm(anatomy.grid.points() - lesion.centre_mm, axis=-1)
            away -= lesion.diameter_mm / 2 + _APART_MM
            free = {name: np.minimum(depth, away) for name, depth in free.items()}
    return tuple(found)


def _placed(draw: Draw, site: str, depth_mm: Array, grid: Grid) -> Lesion | None:
    """A lesion at a voxel that is deep enough; None where even the smallest has no room."""
    about = SITES[site]
    wanted = min(max(draw.lognormal(*about.diameter_mm), SMALLEST_MM), about.largest_mm)
    suv = min(max(draw.lognormal(*about.suv), _LOWEST_SUV), _HIGHEST_SUV)
    density, place = draw.uniform(*about.density), draw.uniform(0.0, 1.0)
    diameter = min(wanted, float(depth_mm.max()) / about.depth)
    if diameter < SMALLEST_MM:
        return None
    deep = np.flatnonzero(depth_mm >= min(about.depth * diameter, float(depth_mm.max())))
    index = np.unravel_index(int(deep[int(place * len(deep))]), depth_mm.shape)
    x, y, z = (float(v) for v in grid.world([float(i) for i in index]))
    return Lesion(site, (x, y, z), diameter, suv, density)


def _depth_mm(anatomy: Anatomy, tissue: str) -> Array:
    """How far each voxel [z, y, x] is inside a tissue; nothing near the ends of the grid, where slices are missing."""
    inside = anatomy.fractions[tissue] > 0.5
    end = math.ceil(_END_MM / anatomy.grid.spacing_mm[0])
    inside[:end] = inside[-end:] = False
    depth: Array = distance_transform_edt(inside, sampling=anatomy.grid.spacing_mm)
    return depth
