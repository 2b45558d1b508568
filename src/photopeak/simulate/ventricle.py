"""The true left ventricle: a truncated ellipsoidal shell in its own frame, and coordinates in its wall."""

from dataclasses import dataclass

import numpy as np

from photopeak.simulate.population import Patient
from photopeak.simulate.shapes import Shape, ellipsoid, half_space, intersection

# Widest short-axis section, as a part of the way from base to apex.
_LEVEL_ENDS = (0.35, 0.70, 0.90)
_WIDEST = 0.3
_HEAD = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class LeftVentricle:
    """Place, direction and size; the apex is at ``centre + length / 2 * apical``.

    Parameters
    ----------
    centre_mm : LPS (x, y, z) of the long axis halfway from base to apex.
    apical : LPS unit vector from base to apex.
    radius_mm, length_mm : outer short-axis radius, and outer length.
    wall_mm, apex_mm : wall thickness at the widest section and at the apex.
    """

    centre_mm: tuple[float, float, float]
    apical: tuple[float, float, float]
    radius_mm: float
    length_mm: float
    wall_mm: float
    apex_mm: float

    @classmethod
    def of(cls, patient: Patient) -> "LeftVentricle":
        azimuth, elevation = np.deg2rad([patient.azimuth_deg, patient.elevation_deg])
        flat = np.cos(elevation)
        return cls(
            centre_mm=(patient.heart_x_mm, patient.heart_y_mm, 0.0),
            apical=(float(flat * np.sin(azimuth)), float(-flat * np.cos(azimuth)), float(-np.sin(elevation))),
            radius_mm=patient.lv_radius_mm,
            length_mm=patient.lv_length_mm,
            wall_mm=patient.wall_mm,
            apex_mm=patient.wall_mm * (1 - patient.apical_thinning),
        )

    @property
    def axes(self) -> np.ndarray:
        """Rows: lateral, anterior and apical unit vectors in LPS."""
        apical = np.array(self.apical)
        anterior = _HEAD - apical[2] * apical
        anterior /= np.linalg.norm(anterior)
        return np.stack([np.cross(anterior, apical), anterior, apical])

    @property
    def widest_mm(self) -> float:
        """Position of the ellipsoids' centre on the long axis, from the middle toward the apex."""
        return (_WIDEST - 0.5) * self.length_mm

    @property
    def outer_mm(self) -> tuple[float, float, float]:
        """Semi-axes of the epicardium: lateral, anterior, apical."""
        return self.radius_mm, self.radius_mm, (1 - _WIDEST) * self.length_mm

    @property
    def inner_mm(self) -> tuple[float, float, float]:
        """Semi-axes of the endocardium."""
        radius = self.radius_mm - self.wall_mm
        return radius, radius, self.outer_mm[2] - self.apex_mm

    @property
    def lowest_mm(self) -> float:
        """LPS z of the lowest point of the epicardium."""
        z = self.axes[:, 2]
        return float(self.at(0, 0, self.widest_mm)[2] - np.sqrt(((np.array(self.outer_mm) * z) ** 2).sum()))

    def at(self, lateral_mm: float, anterior_mm: float, apical_mm: float) -> np.ndarray:
        """LPS point of a place in the ventricle's frame."""
        return np.array(self.centre_mm) + np.array([lateral_mm, anterior_mm, apical_mm]) @ self.axes

    def local(self, points_mm: np.ndarray) -> np.ndarray:
        """LPS points [..., 3] as (lateral, anterior, apical) from the ellipsoids' centre, mm."""
        return (points_mm - self.at(0, 0, self.widest_mm)) @ self.axes.T

    def cavity(self) -> Shape:
        return self._shell(self.inner_mm)

    def filled(self) -> Shape:
        """Wall and cavity."""
        return self._shell(self.outer_mm)

    def _shell(self, radii: tuple[float, float, float]) -> Shape:
        base = self.at(0, 0, -self.length_mm / 2)
        open_base = half_space([-v for v in self.apical], float(-base @ np.array(self.apical)))
        return intersection(ellipsoid(self.at(0, 0, self.widest_mm), radii, self.axes), open_base)

    def in_wall(self, points_mm: np.ndarray) -> np.ndarray:
        """Which LPS points [..., 3] lie in the wall."""
        local = self.local(points_mm)
        beyond, within = _scaled(local, self.inner_mm) >= 1, _scaled(local, self.outer_mm) <= 1
        return beyond & within & (local[..., 2] >= -_WIDEST * self.length_mm)

    def directions(self, points_mm: np.ndarray) -> np.ndarray:
        """Unit vectors [..., (lateral, anterior, apical)] of LPS points with the epicardium scaled to a sphere."""
        scaled = self.local(points_mm) / np.array(self.outer_mm)
        return scaled / np.maximum(np.linalg.norm(scaled, axis=-1, keepdims=True), 1e-9)

    def depth(self, points_mm: np.ndarray) -> np.ndarray:
        """Place in the wall of LPS points [..., 3]: 0 at the endocardium, 1 at the epicardium."""
        local = self.local(points_mm)
        # A ray from the middle meets each surface at 1 / (scaled length) of the way to the point.
        endo, epi = (1 / np.maximum(_scaled(local, radii), 1e-9) for radii in (self.inner_mm, self.outer_mm))
        return np.clip((1 - endo) / (epi - endo), 0.0, 1.0)

    def segments(self, points_mm: np.ndarray) -> np.ndarray:
        """AHA segment 1 to 17 of LPS points [..., 3]: 35, 35 and 20 % of the length from the base, and the apex."""
        lateral, anterior, along = np.moveaxis(self.local(points_mm), -1, 0)
        septal_deg = np.rad2deg(np.arctan2(-lateral, anterior))
        sixth = ((septal_deg + 30) % 360 // 60).astype(int)
        quarter = ((septal_deg + 45) % 360 // 90).astype(int)
        base, tip = -_WIDEST * self.length_mm, 0.5 * (self.inner_mm[2] + self.outer_mm[2])
        from_base = (along - base) / (tip - base)
        levels = [from_base < limit for limit in _LEVEL_ENDS]
        return np.select(levels, [1 + sixth, 7 + sixth, 13 + quarter], 17)


def _scaled(local_mm: np.ndarray, radii_mm: tuple[float, float, float]) -> np.ndarray:
    """Length of local points [..., 3] in units of an ellipsoid's radius in their direction."""
    return np.linalg.norm(local_mm / np.array(radii_mm), axis=-1)
