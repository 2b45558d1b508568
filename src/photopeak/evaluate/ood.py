"""How far an image lies from those that a method was trained on: a distance of cheap features of NAC and its heart.

The Mahalanobis distance (1936) to the training scans, over a covariance that is shrunk toward that of independent
features (Ledoit and Wolf, J Multivar Anal 88:365, 2004). Features know no unit of counts: vendors scale as they like.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from photopeak.cardiac.find import FoundHeart, find_heart
from photopeak.core import Grid, Study, Volume
from photopeak.core.errors import BadArgument

FOLDS = 10
FEWEST_SCANS = 40
HARD_LIMIT = 2.9
"""A distance of the anatomy of this many times the 99 % quantile is refused. In simulation the furthest of 676 scans
of unseen persons is at 1.8 times, the nearest with left and right exchanged at 3.1; four real series of another camera,
at up to 2.7, are to be answered, with warnings."""
CUBE_VOXELS, CUBE_MM = 32, 6.4
HEART_MM, NEAR_MM, WALL_MM = 50.0, 96.0, 10.0
BANDS_PER_CM = (0.05, 0.12, 0.2, 0.3, 0.4, 0.6)
LOWEST = 1e-4
LEAST_SD, LEAST_SD_OF_GRID = 0.05, 0.25
ANATOMY = (
    "azimuth",
    "elevation",
    "log heart radius",
    "log heart length",
    "likeness to a ventricle",
    "liver over heart",
    "gut over heart",
    "right chest over heart",
    "left chest over heart",
    "left over right",
    "mean below",
)
"""What makes it a heart in a chest; the others are a matter of camera, pixel and dose, too, and only warn."""
GRID_FEATURES = ("log voxel", "log slice over pixel", "log width of field", "log height of field")


@dataclass(frozen=True, eq=False)
class Population:
    """What the features of training scans are like.

    Parameters
    ----------
    names : of the features, in the order of the arrays.
    mean, sd : [feature].
    precision : [feature, feature], inverse of the shrunk correlation matrix.
    quantile_95, quantile_99 : of the distances of scans whose person was left out.
    scans : that it was made of.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray
    precision: np.ndarray
    quantile_95: float = float("nan")
    quantile_99: float = float("nan")
    scans: int = 0

    def distance(self, found: Mapping[str, float]) -> float:
        """Mahalanobis distance per square root of the number of features: about 1 for a usual scan."""
        standard = self.standardised(found)
        return float(np.sqrt(standard @ self.precision @ standard / len(standard)))

    def standardised(self, found: Mapping[str, float]) -> np.ndarray:
        """Features [feature] in standard deviations from the training mean."""
        missing = set(self.names) ^ set(found)
        if missing:
            raise BadArgument(
                f"features that differ in {', '.join(sorted(missing))}",
                needed="those of training",
                remedy="Train the method anew with this version.",
            )
        return (np.array([found[name] for name in self.names]) - self.mean) / self.sd

    def strangest(self, found: Mapping[str, float], count: int = 3) -> list[str]:
        """The features furthest from the training mean, each with how far, the furthest first."""
        standard = self.standardised(found)
        return [f"{self.names[k]} {standard[k]:+.1f} sd" for k in np.argsort(-np.abs(standard))[:count]]

    def anatomical_distance(self, found: Mapping[str, float]) -> float:
        """The distance of the features in ANATOMY, whatever the others are."""
        chosen = [self.names.index(name) for name in ANATOMY]
        standard = self.standardised(found)[chosen]
        correlation = np.linalg.inv(self.precision)[np.ix_(chosen, chosen)]
        return float(np.sqrt(standard @ np.linalg.solve(correlation, standard) / len(chosen)))

    def refuses(self, found: Mapping[str, float]) -> bool:
        """Whether the anatomy is beyond the hard limit."""
        return self.anatomical_distance(found) > HARD_LIMIT * self.quantile_99

    def to_dict(self) -> dict[str, Any]:
        """Plain rounded values for a card; of the symmetric precision, the lower triangle."""
        lower = self.precision[np.tril_indices(len(self.names))]
        arrays = {"mean": self.mean, "sd": self.sd, "precision": lower}
        return {
            "names": list(self.names),
            **{name: [float(f"{value:.4g}") for value in values] for name, values in arrays.items()},
            "quantile_95": round(self.quantile_95, 4),
            "quantile_99": round(self.quantile_99, 4),
            "scans": self.scans,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Population":
        names = tuple(record["names"])
        precision = np.zeros((len(names), len(names)))
        precision[np.tril_indices(len(names))] = record["precision"]
        precision += np.tril(precision, -1).T
        mean, sd = np.array(record["mean"]), np.array(record["sd"])
        return cls(names, mean, sd, precision, record["quantile_95"], record["quantile_99"], record["scans"])


def population(found: Sequence[Mapping[str, float]], persons: Sequence[str]) -> Population:
    """The population of training scans, with the distances that scans of unseen persons have.

    Parameters
    ----------
    found : `features` of each scan.
    persons : whose scan it is; a person's scans are left out together.

    Raises
    ------
    BadArgument : fewer than FEWEST_SCANS scans, or of fewer than FOLDS persons.
    """
    if len(found) < FEWEST_SCANS or len(set(persons)) < FOLDS or len(found) != len(persons):
        raise BadArgument(
            f"{len(found)} scans of {len(set(persons))} persons",
            needed=f"at least {FEWEST_SCANS} scans of {FOLDS} persons, a person for each scan",
            remedy="Train on a larger cohort.",
        )
    names = tuple(found[0])
    table = np.array([[one[name] for name in names] for one in found])
    order = {person: number for number, person in enumerate(dict.fromkeys(persons))}
    fold = np.array([order[person] % FOLDS for person in persons])
    distances = np.zeros(len(table))
    for number in range(FOLDS):
        others = _fitted(names, table[fold != number])
        for scan in np.flatnonzero(fold == number).tolist():
            distances[scan] = others.distance(found[scan])
    whole = _fitted(names, table)
    low, high = (float(np.quantile(distances, level)) for level in (0.95, 0.99))
    return Population(names, whole.mean, whole.sd, whole.precision, low, high, len(table))


def _fitted(names: tuple[str, ...], table: np.ndarray) -> Population:
    mean, sd = table.mean(0), np.maximum(table.std(0), _least_sd(names))
    return Population(names, mean, sd, np.linalg.inv(shrunk_covariance((table - mean) / sd)))


def _least_sd(names: tuple[str, ...]) -> np.ndarray:
    """What counts as usual where training never varies: 5 %, and more of a grid, as methods resample it."""
    return np.array([LEAST_SD_OF_GRID if name in GRID_FEATURES else LEAST_SD for name in names])


def shrunk_covariance(table: np.ndarray) -> np.ndarray:
    """Ledoit and Wolf's (2004) covariance [feature, feature] of centred rows: sample covariance toward ``mu I``."""
    scans, features = table.shape
    sample = table.T @ table / scans
    mean = np.trace(sample) / features
    apart = ((sample - mean * np.eye(features)) ** 2).sum()
    error = ((table**2).sum(1) ** 2).sum() / scans**2 - (sample**2).sum() / scans
    weight = min(max(error / apart, 0.0), 1.0) if apart > 0 else 1.0
    return np.asarray(weight * mean * np.eye(features) + (1 - weight) * sample)


def found_heart(study: Study, nac: str = "nac") -> FoundHeart:
    """The heart remembered in ``facts["heart"]``, else found now."""
    return FoundHeart.from_dict(study.facts["heart"]) if "heart" in study.facts else find_heart(study[nac])


def features(nac: Volume, heart: FoundHeart) -> dict[str, float]:
    """What is told of a NAC image [z, y, x] by numbers, logarithms of ratios where it can be."""
    frame = heart.frame
    cube = nac.on(frame.grid((CUBE_VOXELS,) * 3, CUBE_MM)).numpy().clip(min=0).astype(float)
    radius = _distance(CUBE_VOXELS, CUBE_MM)
    level = max(float(np.quantile(cube[radius <= HEART_MM], 0.95)), LOWEST)
    return {
        **_geometry(nac, heart),
        **_histogram(cube / level, radius),
        **_texture(cube / level, radius),
        **_surroundings(nac, heart, level),
    }


def _geometry(nac: Volume, heart: FoundHeart) -> dict[str, float]:
    grid, frame = nac.grid, heart.frame
    dz, dy, dx = grid.spacing_mm
    body = gaussian_filter(nac.numpy().clip(min=0).astype(float), 12 / np.array(grid.spacing_mm))
    inside = body > 0.1 * np.quantile(body, 0.98)
    points = grid.points()[inside]
    low, high = (np.quantile(points, level, axis=0) for level in (0.02, 0.98))
    place = (np.array(frame.centre_mm) - (low + high) / 2) / 100
    return {
        "log voxel": log((dz * dy * dx) ** (1 / 3)),
        "log slice over pixel": log(dz / dx),
        "log width of field": log(dx * grid.shape[2]),
        "log height of field": log(dz * grid.shape[0]),
        "log body width": log(max(high[0] - low[0], 1.0)),
        "log body depth": log(max(high[1] - low[1], 1.0)),
        "heart to the left": float(place[0]),
        "heart to the back": float(place[1]),
        "heart to the head": float(place[2]),
        "azimuth": frame.azimuth_deg / 100,
        "elevation": frame.elevation_deg / 100,
        "log heart radius": log(heart.outer_radius_mm),
        "log heart length": log(heart.length_mm),
        "likeness to a ventricle": heart.confidence,
    }


def _histogram(ratio: np.ndarray, radius_mm: np.ndarray) -> dict[str, float]:
    near = ratio[radius_mm <= HEART_MM]
    around = ratio[(radius_mm > HEART_MM) & (radius_mm <= NEAR_MM)]
    found = {f"heart quantile {q:g}": _log(np.quantile(near, q)) for q in (0.1, 0.3, 0.5, 0.8, 0.995)}
    return found | {f"quantile {q:g} around": _log(np.quantile(around, q)) for q in (0.1, 0.5, 0.9)}


def _texture(ratio: np.ndarray, radius_mm: np.ndarray) -> dict[str, float]:
    """Shares of power by frequency: resolution, filter and noise; and the grain where there is little structure."""
    window = 0.5 + 0.5 * np.cos(np.pi * np.minimum(radius_mm / NEAR_MM, 1))
    power = np.abs(np.fft.fftn(window * ratio)) ** 2
    axis = np.fft.fftfreq(CUBE_VOXELS, CUBE_MM / 10)
    frequency = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    shares = [power[(frequency >= a) & (frequency < b)].sum() for a, b in pairwise(BANDS_PER_CM)]
    found = {
        f"power from {low:g} per cm": _log(after / shares[0], 1e-8)
        for low, after in zip(BANDS_PER_CM[1:], shares[1:], strict=False)
    }
    rough = np.abs(ratio - gaussian_filter(ratio, 1.5))[(radius_mm > HEART_MM) & (radius_mm <= NEAR_MM)]
    return {**found, "grain": _log(np.median(rough))}


def _surroundings(nac: Volume, heart: FoundHeart, level: float) -> dict[str, float]:
    """The brightest of what is below the heart, on its right and on its left, and the two sides of the chest."""
    centre = np.array(heart.frame.centre_mm)
    grid = Grid.regular((32, 32, 48), 8.0, centre_mm=tuple(centre))
    image = gaussian_filter(nac.on(grid).numpy().clip(min=0).astype(float), 0.8) / level
    x, y, z = np.moveaxis(grid.points() - centre, -1, 0)
    outside = np.sqrt(x**2 + y**2 + z**2) > heart.length_mm / 2 + WALL_MM
    low, chest = outside & (z < -20) & (z > -100), outside & (np.abs(z) < 40)
    regions = {
        "liver": low & (x < -10),
        "gut": low & (x > -10),
        "right chest": chest & (x < -40),
        "left chest": chest & (x > -10),
    }
    found = {f"{name} over heart": _log(np.quantile(image[where], 0.98)) for name, where in regions.items()}
    mean = {name: _log(image[where].mean()) for name, where in regions.items()}
    return {**found, "left over right": mean["left chest"] - mean["right chest"], "mean below": mean["liver"]}


def _distance(voxels: int, voxel_mm: float) -> np.ndarray:
    """Distance from the middle of a cube [z, y, x], mm."""
    axis = ((np.arange(voxels) - (voxels - 1) / 2) * voxel_mm) ** 2
    return np.asarray(np.sqrt(axis[:, None, None] + axis[None, :, None] + axis[None, None, :]))


def _log(value: float, least: float = LOWEST) -> float:
    return log(max(float(value), least))
