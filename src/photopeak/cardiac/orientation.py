"""The heart's own axes, and the three reslices that are one volume seen from three sides.

Display follows ASNC 2018 (doi:10.1007/s12350-018-1283-y): SA apex to base with the lateral wall at image right and
anterior up; VLA septal to lateral with base left and apex right; HLA inferior to anterior with the apex up and the
septum left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from photopeak.core import Grid
from photopeak.core.errors import BadArgument

Orientation = Literal["sa", "vla", "hla"]
ORIENTATIONS: tuple[Orientation, ...] = get_args(Orientation)
_HEAD = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class HeartFrame:
    """Place and direction of the left ventricle.

    Parameters
    ----------
    centre_mm : LPS (x, y, z) of the middle of the left ventricle's cavity, halfway from base to apex.
    long_axis : LPS direction from base to apex (normalised on construction).
    """

    centre_mm: tuple[float, float, float]
    long_axis: tuple[float, float, float]

    def __post_init__(self) -> None:
        axis = np.asarray(self.long_axis, dtype=float)
        length = float(np.linalg.norm(axis))
        if length == 0 or abs(axis[2]) > 0.95 * length:
            raise BadArgument(
                f"long axis {self.long_axis}",
                needed="a direction less than 72 degrees from the transaxial plane",
                remedy="Give base to apex in LPS.",
            )
        x, y, z = axis / length
        object.__setattr__(self, "long_axis", (float(x), float(y), float(z)))
        cx, cy, cz = self.centre_mm
        object.__setattr__(self, "centre_mm", (float(cx), float(cy), float(cz)))

    @classmethod
    def from_angles(cls, centre_mm: Sequence[float], *, azimuth_deg: float, elevation_deg: float) -> "HeartFrame":
        """Apex pointing `azimuth_deg` from anterior toward the left, and `elevation_deg` toward the feet."""
        azimuth, elevation = np.deg2rad([azimuth_deg, elevation_deg])
        x, y, z = centre_mm
        axis = (np.cos(elevation) * np.sin(azimuth), -np.cos(elevation) * np.cos(azimuth), -np.sin(elevation))
        return cls((x, y, z), axis)

    @property
    def apical(self) -> np.ndarray:
        """Unit vector from base to apex."""
        return np.array(self.long_axis)

    @property
    def anterior(self) -> np.ndarray:
        """Unit vector up in a short-axis image: headward, at right angles to the long axis."""
        up = _HEAD - self.apical[2] * self.apical
        return up / np.linalg.norm(up)

    @property
    def lateral(self) -> np.ndarray:
        """Unit vector from the septum to the lateral wall."""
        return np.cross(self.anterior, self.apical)

    @property
    def azimuth_deg(self) -> float:
        x, y, _ = self.long_axis
        return float(np.rad2deg(np.arctan2(x, -y)))

    @property
    def elevation_deg(self) -> float:
        return float(np.rad2deg(-np.arcsin(self.long_axis[2])))

    def grid(self, shape: Sequence[int], spacing_mm: float, orientation: Orientation = "sa") -> Grid:
        """An isotropic grid around the heart whose slices are in display order and orientation.

        Parameters
        ----------
        shape : (slices, rows, columns).
        spacing_mm : voxel size.
        orientation : "sa" (apex to base), "vla" (septal to lateral) or "hla" (inferior to anterior).
        """
        nz, ny, nx = (int(n) for n in shape)
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack(self._axes(orientation), axis=1) * spacing_mm
        middle = (np.array([nz, ny, nx]) - 1) / 2
        matrix[:3, 3] = np.array(self.centre_mm) - matrix[:3, :3] @ middle
        return Grid((nz, ny, nx), tuple(map(tuple, matrix)))

    def _axes(self, orientation: Orientation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if orientation == "sa":
            return -self.apical, -self.anterior, self.lateral
        if orientation == "vla":
            return self.lateral, -self.anterior, self.apical
        if orientation == "hla":
            return self.anterior, -self.apical, self.lateral
        raise BadArgument(
            f"orientation {orientation!r}", needed=" or ".join(ORIENTATIONS), remedy="Use one of these names."
        )
