"""The left ventricle unrolled into a disc: apex in the centre, anterior up, lateral right, inferior down, septum left.

Sampling is hybrid, as in the programs of nuclear cardiology (Slomka et al., review, PMC3412547): around the long axis
from the base to the shoulder, and around a point from the shoulder to the apex. One surface, found once, is used for
every image of a patient, so that differences between maps are not differences between contours.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from photopeak.cardiac.find import SHOULDER, WALL_MM, FoundHeart
from photopeak.core import Volume
from photopeak.core.errors import BadValues
from photopeak.core.volume import sample_linear

RINGS, ANGLES = 24, 72
INWARD_MM, OUTWARD_MM = 10.0, 6.0
BASE_MARGIN_MM = 6.0


@dataclass(frozen=True)
class LVSurface:
    """Rays through the wall: origin and direction [ring, angle, (x, y, z)], and where the mid-wall is on each, mm.

    Rings run from the apex to the base in equal steps along the wall; angles from anterior over lateral and inferior
    to the septum.
    """

    origins_mm: np.ndarray
    directions: np.ndarray
    middle_mm: np.ndarray

    @classmethod
    def of(cls, found: FoundHeart) -> "LVSurface":
        """The surface of a found left ventricle, from 6 mm above the base plane to the apex."""
        frame = found.frame
        middle = found.outer_radius_mm - WALL_MM / 2
        shoulder = SHOULDER * found.length_mm
        apex = found.length_mm / 2 - WALL_MM / 2 - shoulder
        polar = np.linspace(0, np.pi / 2, 200)
        reach = 1 / np.hypot(np.sin(polar) / middle, np.cos(polar) / apex)
        curve = np.stack([reach * np.sin(polar), reach * np.cos(polar)])
        arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve), axis=0))])
        straight = shoulder + found.length_mm / 2 - BASE_MARGIN_MM
        along = (np.arange(RINGS) + 0.5) / RINGS * (arc[-1] + straight)
        theta = np.interp(along, arc, polar)
        down = np.clip(along - arc[-1], 0, None)
        phi = 2 * np.pi * np.arange(ANGLES) / ANGLES
        outward = np.cos(phi)[:, None] * frame.anterior + np.sin(phi)[:, None] * frame.lateral
        directions = np.sin(theta)[:, None, None] * outward + np.cos(theta)[:, None, None] * frame.apical
        starts = np.array(frame.centre_mm) + (shoulder - down)[:, None] * frame.apical
        distance = np.interp(theta, polar, reach)
        return cls(
            np.broadcast_to(starts[:, None], directions.shape),
            directions,
            np.broadcast_to(distance[:, None], directions.shape[:2]),
        )

    def points(self, offsets_mm: np.ndarray) -> np.ndarray:
        """LPS points [offset, ring, angle, (x, y, z)] at distances from the mid-wall along each ray."""
        distance = self.middle_mm + offsets_mm[:, None, None]
        return self.origins_mm + distance[..., None] * self.directions


def polar_map(volume: Volume, surface: LVSurface, *, pick: Literal["max", "mean"] = "max") -> Tensor:
    """Values [ring, angle] of a volume in the wall of the left ventricle.

    Parameters
    ----------
    pick : "max" of each ray between endo- and epicardium, for perfusion; "mean" of it, for what is not a peak (an
        uncertainty, a difference).
    """
    if not torch.isfinite(volume.data).all():
        raise BadValues("a volume with NaN or infinite voxels", needed="finite numbers", remedy="Repair the volume.")
    # Little further out than the epicardium: beyond it lies the liver, which would be the maximum of the inferior wall.
    offsets = np.arange(-INWARD_MM, OUTWARD_MM + 1, 2.0)
    values = sample_linear(volume.data, volume.grid, surface.points(offsets))
    return values.amax(0) if pick == "max" else values.mean(0)


def polar_image(values: Tensor, size: int = 256) -> np.ndarray:
    """A polar map [ring, angle] as a picture [row, column] in display orientation, NaN outside the disc."""
    axis = (np.arange(size) - (size - 1) / 2) / (size / 2)
    right, up = axis[None, :], -axis[:, None]
    radius = np.hypot(right, up)
    angle = np.arctan2(right, up) % (2 * np.pi)
    rings, angles = values.shape
    ring = np.clip((radius * rings).astype(int), 0, rings - 1)
    column = np.rint(angle / (2 * np.pi) * angles).astype(int) % angles
    return np.where(radius <= 1, values.numpy()[ring, column], np.nan)
