"""What breathing does to an acquisition of minutes, and where a CT of seconds puts the body.

The heart, the great vessels and what lies under the diaphragm ride along the body on a trace A cos^4 (Lujan et al., Med
Phys 1999; 26:715), about its mean: an emission image, and the attenuation its photons met, are averages over the trace.
"""

import math

import numpy as np
from scipy.ndimage import convolve1d, shift

from photopeak.core import Volume

_PHASES = 64
_LEAST_ROOM = 1e-6


def over_breaths(still: Volume, riding: Volume, room: np.ndarray, breathing_mm: float) -> Volume:
    """The mean over a breath of what stays and of what rides along z inside it.

    The walls stay where they are and stay full: what rides is averaged over the part of the path that has room.

    Parameters
    ----------
    still, riding : the two parts of an image on one grid with z along the head.
    room : [z, y, x], the part of each voxel that riding tissues fill.
    breathing_mm : from end-expiration to end-inspiration.
    """
    kernel = breath(breathing_mm / riding.grid.spacing_mm[0]).astype(np.float32)
    moved, passed = (convolve1d(part, kernel, axis=0, mode="nearest") for part in (riding.numpy(), room))
    inside = room * moved / np.maximum(passed, np.float32(_LEAST_ROOM))
    return Volume.from_numpy(still.numpy() + inside, still.grid, still.quantity)


def breath(voxels: float) -> np.ndarray:
    """Share of time [displacement] at each whole voxel toward the head, from -n to n, linear between voxels.

    The organs are down only in inspiration and rest near expiration; the mean displacement is 0.
    """
    time = (np.arange(_PHASES) + 0.5) / _PHASES * math.pi
    up = voxels * (3 / 8 - np.cos(time) ** 4)
    reach = math.ceil(abs(up).max())
    place = np.arange(-reach, reach + 1)
    return np.asarray(np.clip(1 - np.abs(up[:, None] - place), 0, None).mean(axis=0))


def displaced(volume: Volume, by_mm: tuple[float, float, float]) -> Volume:
    """The volume moved by LPS (x, y, z), linear between voxels; its edges go on outside."""
    x, y, z = by_mm
    voxels = np.array([z, y, x]) / volume.grid.spacing_mm
    return Volume.from_numpy(shift(volume.numpy(), voxels, order=1, mode="nearest"), volume.grid, volume.quantity)
