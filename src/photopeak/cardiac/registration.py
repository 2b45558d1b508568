"""Does an attenuation map lie on the patient that the emission image shows?

Two independent looks, because they fail differently. The outline of the body, seen in the counts that scatter and
background leave even without correction, gives the shift of the whole patient across the table; along the table the
trunk looks alike everywhere, and the outline says nothing. The wall of the left ventricle must lie in soft tissue and
not in the lung of the map: the shift that puts it there is the one that makes false defects of the anterior and
lateral wall (Goetze et al., J Nucl Med 48:1090, 2007). A map too far toward the head hides behind the liver: neither
look sees that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.fft import irfftn, rfftn
from scipy.ndimage import gaussian_filter

from photopeak.cardiac.find import WALL_MM, FoundHeart, find_heart
from photopeak.core import Grid, Volume
from photopeak.core.errors import HeartNotFound
from photopeak.core.units import BODY_PER_CM

TISSUE_PER_CM = 0.1
STEP_MM = 6.4
SMOOTHING_MM = 8.0
FARTHEST_MM = 40.0
ENOUGH_IN_TISSUE = 0.95
WARN_PIXELS = 1.0


@dataclass(frozen=True)
class Registration:
    """How an attenuation map lies on an emission image.

    Parameters
    ----------
    offset_mm : LPS (x, y, 0) by which the map must move so that the outlines of the body agree best.
    agreement : correlation of the outlines after that move, at most 1; below 0.5 `offset_mm` means little.
    wall_in_tissue : share of the wall of the left ventricle that lies on soft tissue as the map is; None without heart.
    heart_offset_mm : the shortest move that puts the wall in tissue; None if there is none, or no heart.
    pixel_mm : of the emission image.
    """

    offset_mm: tuple[float, float, float]
    agreement: float
    wall_in_tissue: float | None
    heart_offset_mm: tuple[float, float, float] | None
    pixel_mm: float

    @property
    def warnings(self) -> list[str]:
        """What a user should look at before he trusts the map."""
        found = []
        body = float(np.linalg.norm(self.offset_mm))
        if self.agreement >= 0.5 and body > WARN_PIXELS * self.pixel_mm:
            found.append(f"the outline of mu lies {body:.1f} mm from that of NAC, more than a pixel")
        if self.wall_in_tissue is None:
            found.append("no heart was found in NAC: the place of mu could not be checked on it")
        elif self.heart_offset_mm is None:
            found.append(f"only {self.wall_in_tissue:.0%} of the wall of the heart lies in the tissue of mu")
        elif (heart := float(np.linalg.norm(self.heart_offset_mm))) > WARN_PIXELS * self.pixel_mm:
            found.append(f"the heart of NAC lies {heart:.1f} mm from the tissue of mu, more than a pixel")
        return found

    def to_dict(self) -> dict[str, Any]:
        return {
            "offset_mm": list(self.offset_mm),
            "agreement": self.agreement,
            "wall_in_tissue": self.wall_in_tissue,
            "heart_offset_mm": None if self.heart_offset_mm is None else list(self.heart_offset_mm),
            "pixel_mm": self.pixel_mm,
            "warnings": self.warnings,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Registration":
        (x, y, z), heart = record["offset_mm"], record["heart_offset_mm"]
        moved = None if heart is None else (heart[0], heart[1], heart[2])
        return cls((x, y, z), record["agreement"], record["wall_in_tissue"], moved, record["pixel_mm"])


def registration(mu: Volume, nac: Volume, *, heart: FoundHeart | None = None) -> Registration:
    """Compare the attenuation map `mu` [z, y, x], 1/cm, with the uncorrected image `nac` on any grid.

    Parameters
    ----------
    heart : of `nac`, if it was found already.
    """
    offset, agreement = _outline_offset(mu, nac)
    if heart is None:
        try:
            heart = find_heart(nac)
        except HeartNotFound:
            return Registration(offset, agreement, None, None, min(nac.grid.spacing_mm))
    share, moved = _heart_offset(mu, heart)
    return Registration(offset, agreement, share, moved, min(nac.grid.spacing_mm))


def registration_offset_mm(mu: Volume, nac: Volume) -> np.ndarray:
    """LPS (x, y, 0) by which `mu` must move so that its outline agrees best with that of `nac`, mm."""
    return np.array(_outline_offset(mu, nac)[0])


def _outline_offset(mu: Volume, nac: Volume) -> tuple[tuple[float, float, float], float]:
    """Shift of greatest correlation of the two outlines, refined by parabolas, and that correlation."""
    grid = _common_grid(nac.grid)
    body = gaussian_filter((mu.on(grid).numpy() > BODY_PER_CM).astype(float), SMOOTHING_MM / STEP_MM)
    seen = _seen_body(nac.on(grid).numpy().astype(float))
    correlation = _correlation(seen, body)
    reach = int(FARTHEST_MM // STEP_MM)
    near = np.roll(correlation, (reach, reach), axis=(0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    peak = np.unravel_index(int(near.argmax()), near.shape)
    dy, dx = (float((_parabola(near, peak, axis) - reach) * STEP_MM) for axis in range(2))
    return (dx, dy, 0.0), float(near[peak])


def _common_grid(grid: Grid) -> Grid:
    """Axial voxels of one size over the box of `grid`."""
    corners = grid.world(np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape], indexing="ij")).reshape(3, -1).T)
    low, high = corners.min(0), corners.max(0)
    nx, ny, nz = (int(n) for n in np.maximum((high - low) // STEP_MM + 1, 2))
    return Grid.regular((nz, ny, nx), STEP_MM, centre_mm=(low + high) / 2)


def _seen_body(counts: np.ndarray) -> np.ndarray:
    """Where counts say that there is a body: bright organs level with their surroundings, and air near 0."""
    smooth = gaussian_filter(np.clip(counts, 0, None), SMOOTHING_MM / STEP_MM)
    positive = smooth[smooth > 0]
    level = np.median(positive) if positive.size else 1.0
    body = smooth[smooth > 0.5 * level]
    inside = np.median(body) if body.size else 1.0
    return np.clip(smooth / (0.5 * inside), 0, 1)


def _correlation(seen: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Correlation of `seen` with `body` [z, y, x] moved by each whole shift [y, x], modulo the padded shape."""
    shape = [n + int(2 * FARTHEST_MM // STEP_MM) + 2 for n in seen.shape[1:]]

    def spectrum(image: np.ndarray) -> np.ndarray:
        return np.asarray(rfftn(image, shape, axes=(1, 2)))

    def against(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.asarray(irfftn((first * np.conj(second)).sum(0), shape))

    one, a, b = (spectrum(x) for x in (np.ones_like(seen), seen, body))

    count = np.maximum(against(one, one), 1.0)
    sum_a, sum_b = against(a, one), against(one, b)
    square = spectrum(seen**2), spectrum(body**2)
    spread_a = against(square[0], one) - sum_a**2 / count
    spread_b = against(one, square[1]) - sum_b**2 / count
    joint = against(a, b) - sum_a * sum_b / count
    spread = np.sqrt(np.clip(spread_a, 0, None) * np.clip(spread_b, 0, None))
    return np.where(spread > 1e-6 * seen.size, joint / np.maximum(spread, 1e-12), 0.0)


def _parabola(values: np.ndarray, peak: tuple[Any, ...], axis: int) -> float:
    """Place of the maximum along `axis` through the peak and its two neighbours."""
    place = int(peak[axis])
    if place in (0, values.shape[axis] - 1):
        return float(place)
    before, at, after = (float(values[tuple(np.add(peak, np.eye(2, dtype=int)[axis] * d))]) for d in (-1, 0, 1))
    bend = before - 2 * at + after
    return place if bend >= 0 else place + 0.5 * (before - after) / bend


def _heart_offset(mu: Volume, heart: FoundHeart) -> tuple[float, tuple[float, float, float] | None]:
    """Share of the wall in tissue as it is, and the shortest move of `mu` that brings enough of it there."""
    wall = _wall_points(heart)
    steps = np.arange(-FARTHEST_MM, FARTHEST_MM + 1, STEP_MM / 2)
    moves = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    moves = moves - moves[np.linalg.norm(moves, axis=1).argmin()]
    moves = moves[np.argsort(np.linalg.norm(moves, axis=1), kind="stable")]
    tissue = mu.numpy() > TISSUE_PER_CM
    share = _share_in(tissue, mu.grid, wall)
    for move in moves[np.linalg.norm(moves, axis=1) <= FARTHEST_MM]:
        if _share_in(tissue, mu.grid, wall - move) >= ENOUGH_IN_TISSUE:
            x, y, z = (float(m) for m in move)
            return share, (x, y, z)
    return share, None


def _share_in(tissue: np.ndarray, grid: Grid, points_mm: np.ndarray) -> float:
    """Share of `points_mm` whose nearest voxel is True; what is outside the map is not tissue."""
    index = np.rint(grid.index(points_mm)).astype(int)
    inside = ((index >= 0) & (index < np.array(grid.shape))).all(axis=1)
    return float(tissue[tuple(index[inside].T)].sum() / len(points_mm))


def _wall_points(heart: FoundHeart) -> np.ndarray:
    """LPS points [n, (x, y, z)] in the middle of the wall of a half ellipsoid, from the apex toward the base."""
    middle, apex = heart.outer_radius_mm - WALL_MM / 2, heart.length_mm / 2 - WALL_MM / 2
    along = np.linspace(-0.25 * heart.length_mm, 0.98 * apex, 16)
    around = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    radius = middle * np.sqrt(1 - (np.clip(along, 0, None) / apex) ** 2)
    local = np.stack(
        np.broadcast_arrays(radius[:, None] * np.cos(around), radius[:, None] * np.sin(around), along[:, None]),
        axis=-1,
    ).reshape(-1, 3)
    axes = np.stack([heart.frame.lateral, heart.frame.anterior, heart.frame.apical])
    return np.asarray(local @ axes + np.array(heart.frame.centre_mm))
