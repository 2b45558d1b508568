"""Finding the left ventricle in a perfusion image: an open, thick-walled half ellipsoid.

A bank of templates is correlated with the image on a coarse grid, normalised locally so that a hot liver does not win
by brightness; the best places are then refined continuously in position, direction and size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter
from scipy.optimize import minimize
from scipy.signal import fftconvolve

from photopeak.cardiac.orientation import HeartFrame
from photopeak.core import Grid, Volume
from photopeak.core.errors import HeartNotFound

COARSE_MM = 9.0
WALL_SIGMA_MM = 7.0
WALL_MM = 10.0
MARGIN_MM = 16.0
SHOULDER = -0.1
LATTICE_MM = 5.0
SMALLEST_CONFIDENCE = 0.55
SMOOTHING_MM = 2.0
FULLEST_CAVITY = 0.97

_AZIMUTHS_DEG = (20.0, 40.0, 60.0, 80.0)
_ELEVATIONS_DEG = (0.0, 20.0, 40.0)
_SIZES_MM = ((29.0, 74.0), (36.0, 90.0))
_CANDIDATES = 4
_STEPS = np.array([6.0, 6.0, 6.0, 10.0, 10.0, 3.0, 6.0])
_USUAL = np.array([50.0, 22.0, 33.0, 84.0])
_SPREAD = np.array([25.0, 20.0, 8.0, 18.0])


@dataclass(frozen=True)
class FoundHeart:
    """A left ventricle found in an image.

    Parameters
    ----------
    frame : middle of the long axis and its direction.
    outer_radius_mm : largest short-axis radius of the outer surface.
    length_mm : base plane to outer apex.
    confidence : correlation with an ideal ventricle, at most 1.
    """

    frame: HeartFrame
    outer_radius_mm: float
    length_mm: float
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "centre_mm": list(self.frame.centre_mm),
            "long_axis": list(self.frame.long_axis),
            "outer_radius_mm": self.outer_radius_mm,
            "length_mm": self.length_mm,
            "confidence": self.confidence,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "FoundHeart":
        (x, y, z), (u, v, w) = record["centre_mm"], record["long_axis"]
        frame = HeartFrame((x, y, z), (u, v, w))
        return cls(frame, record["outer_radius_mm"], record["length_mm"], record["confidence"])


def find_heart(volume: Volume) -> FoundHeart:
    """Locate the left ventricle in a perfusion image, corrected or not.

    Raises
    ------
    HeartNotFound : nothing in the image resembles a left ventricle.
    BadValues : NaN or constant image.
    """
    image = np.sqrt(np.clip(volume.require_image(name="image").numpy().astype(np.float64), 0, None))
    sampled = _Sampled(gaussian_filter(image, SMOOTHING_MM / np.array(volume.grid.spacing_mm)), volume.grid)
    refined = [found for start in _starts(sampled) if _hollow(sampled, (found := _refined(sampled, start))[0])]
    best = max(refined, key=lambda found: found[1], default=None)
    if best is None or best[2] < SMALLEST_CONFIDENCE:
        raise HeartNotFound(
            "an image with no hollow shape" if best is None else f"a best candidate that correlates {best[2]:.2f}",
            needed=f"a left ventricle, correlating at least {SMALLEST_CONFIDENCE}",
            remedy="Check that this is a perfusion series with the whole heart in the field.",
        )
    (x, y, z, azimuth, elevation, radius, length), confidence = best[0], best[2]
    frame = HeartFrame.from_angles((x, y, z), azimuth_deg=azimuth, elevation_deg=elevation)
    return FoundHeart(frame, float(radius), float(length), float(confidence))


@dataclass(frozen=True)
class _Sampled:
    image: np.ndarray
    grid: Grid

    def at(self, points_mm: np.ndarray) -> np.ndarray:
        index = np.moveaxis(self.grid.index(points_mm), -1, 0)
        return map_coordinates(self.image, index, order=1, mode="constant", cval=0.0)


def _ideal(across_mm: np.ndarray, along_mm: np.ndarray, radius_mm: float, length_mm: float) -> np.ndarray:
    """Brightness of an ideal ventricle, 1 in the middle of the wall; `along_mm` is from the middle to the apex."""
    middle = radius_mm - WALL_MM / 2
    shoulder = SHOULDER * length_mm
    apex = length_mm / 2 - WALL_MM / 2 - shoulder
    distance = (np.hypot(across_mm / middle, np.clip(along_mm - shoulder, 0, None) / apex) - 1) * middle
    wall = np.exp(-0.5 * (distance / WALL_SIGMA_MM) ** 2)
    return wall / (1 + np.exp(-(along_mm + length_mm / 2) / 4))


def _lattice(radius_mm: float, length_mm: float) -> np.ndarray:
    """Points [n, (lateral, anterior, apical)] in and around a ventricle, mm."""
    across = np.arange(-(radius_mm + MARGIN_MM), radius_mm + MARGIN_MM, LATTICE_MM)
    along = np.arange(-(length_mm / 2 + 0.5 * MARGIN_MM), length_mm / 2 + MARGIN_MM, LATTICE_MM)
    points = np.stack(np.meshgrid(across, across, along, indexing="ij"), axis=-1).reshape(-1, 3)
    half = length_mm / 2 + MARGIN_MM
    inside = (points[:, :2] ** 2).sum(1) / (radius_mm + MARGIN_MM) ** 2 + np.clip(points[:, 2], 0, None) ** 2 / half**2
    return points[inside <= 1]


def _correlation(sampled: _Sampled, parameters: np.ndarray) -> float:
    x, y, z, azimuth, elevation, radius, length = parameters
    if not (24 <= radius <= 48 and 58 <= length <= 120 and abs(elevation) < 65):
        return -1.0
    frame = HeartFrame.from_angles((x, y, z), azimuth_deg=azimuth, elevation_deg=elevation)
    local = _lattice(33.0, 84.0) * np.array([radius / 33.0, radius / 33.0, length / 84.0])
    axes = np.stack([frame.lateral, frame.anterior, frame.apical])
    values = sampled.at(local @ axes + np.array(frame.centre_mm))
    ideal = _ideal(np.hypot(local[:, 0], local[:, 1]), local[:, 2], radius, length)
    return float(np.corrcoef(values, ideal)[0, 1]) if np.ptp(values) > 0 else -1.0


def _refined(sampled: _Sampled, start: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Parameters, score with the weak prior on direction and size, and plain correlation."""

    def cost(parameters: np.ndarray) -> float:
        unusual = (((parameters[3:] - _USUAL) / _SPREAD) ** 2).sum()
        return -_correlation(sampled, parameters) + 0.01 * unusual

    simplex = start + np.vstack([np.zeros(7), np.diag(_STEPS)])
    found = minimize(
        cost,
        start,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": 350, "xatol": 0.2, "fatol": 1e-4},
    )
    return found.x, -float(found.fun), _correlation(sampled, found.x)


def _hollow(sampled: _Sampled, parameters: np.ndarray) -> bool:
    """Whether the cavity is darker than the wall around it, which a hot ball of gut or liver is not."""
    x, y, z, azimuth, elevation, radius, length = parameters
    frame = HeartFrame.from_angles((x, y, z), azimuth_deg=azimuth, elevation_deg=elevation)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    along = np.array([-0.2, -0.1, 0.0, 0.1]) * length
    outward = np.cos(angle)[:, None] * frame.lateral + np.sin(angle)[:, None] * frame.anterior
    axis = np.array(frame.centre_mm) + along[:, None] * frame.apical
    wall = sampled.at(axis[:, None] + (radius - WALL_MM / 2) * outward)
    return bool(np.mean(sampled.at(axis)) < FULLEST_CAVITY * np.median(wall))


def _starts(sampled: _Sampled) -> list[np.ndarray]:
    """Best places, directions and sizes of a coarse search."""
    coarse = sampled.grid
    corners = coarse.world(np.indices((2, 2, 2)).reshape(3, 8).T * (np.array(coarse.shape) - 1))
    low, high = corners.min(0), corners.max(0)
    shape = np.maximum(np.ceil((high - low)[::-1] / COARSE_MM).astype(int), 1) + 1
    grid = Grid.regular(tuple(shape), COARSE_MM, centre_mm=(low + high) / 2)
    image = sampled.at(grid.points())
    if not image.max() > 0:
        raise HeartNotFound("an image without positive counts", needed="a perfusion image", remedy="Check the series.")
    scored: list[tuple[float, np.ndarray]] = []
    for radius, length in _SIZES_MM:
        for azimuth in _AZIMUTHS_DEG:
            for elevation in _ELEVATIONS_DEG:
                score = _matched(image, azimuth, elevation, radius, length)
                peaks = (score == maximum_filter(score, size=3)) & (score > 0.3)
                for place in sorted(np.argwhere(peaks), key=lambda p: -score[tuple(p)])[:3]:
                    x, y, z = grid.world(place)
                    scored.append((score[tuple(place)], np.array([x, y, z, azimuth, elevation, radius, length])))
    scored.sort(key=lambda item: -item[0])
    starts: list[np.ndarray] = []
    for _, start in scored:
        if all(np.linalg.norm(start[:3] - other[:3]) > 2 * COARSE_MM for other in starts):
            starts.append(start)
        if len(starts) == _CANDIDATES:
            break
    if not starts:
        raise HeartNotFound(
            "an image without any hollow bright shape", needed="a left ventricle", remedy="Check the series."
        )
    return starts


def _matched(image: np.ndarray, azimuth: float, elevation: float, radius: float, length: float) -> np.ndarray:
    """Normalised correlation of one template with the image around every coarse voxel."""
    half = int(np.ceil((length / 2 + MARGIN_MM) / COARSE_MM))
    frame = HeartFrame.from_angles((0, 0, 0), azimuth_deg=azimuth, elevation_deg=elevation)
    points = Grid.regular((2 * half + 1,) * 3, COARSE_MM).points()
    across = np.hypot(points @ frame.lateral, points @ frame.anterior)
    along = points @ frame.apical
    reach = (across / (radius + MARGIN_MM)) ** 2 + (np.clip(along, 0, None) / (length / 2 + MARGIN_MM)) ** 2
    support = ((reach <= 1) & (along >= -(length / 2 + 0.5 * MARGIN_MM))).astype(float)
    ideal = _ideal(across, along, radius, length) * support
    ideal = (ideal - ideal.sum() / support.sum()) * support
    flip = np.s_[::-1, ::-1, ::-1]
    mean = fftconvolve(image, support[flip], mode="same") / support.sum()
    square = fftconvolve(image**2, support[flip], mode="same") / support.sum()
    spread = np.sqrt(np.clip(square - mean**2, 1e-6 * image.max() ** 2, None) * support.sum())
    return fftconvolve(image, ideal[flip], mode="same") / (spread * np.sqrt((ideal**2).sum()))
