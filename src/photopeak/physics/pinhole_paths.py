"""What the body takes away between each voxel and a pinhole.

The line integral of the attenuation map, constant within a voxel, follows the ray from the voxel's centre from face to
face (Amanatides and Woo, Eurographics 1987): exact for that map.
"""

import math

import numba
import numpy as np

from photopeak.core import Volume
from photopeak.core.errors import BadArgument
from photopeak.core.units import MATTER_PER_CM, MM_PER_CM
from photopeak.physics.pinhole_matrix import Rays, Sight


def survival(rays: Rays, sight: Sight, mu: Volume) -> np.ndarray:
    """Probability of reaching the pinhole from the centre of each ray's voxel: float32 [ray]."""
    pinhole = np.array(sight.pinhole_mm) / sight.voxel_mm
    factor = np.empty(len(rays.voxel), np.float32)
    _follow(_density(mu), rays.voxel, pinhole, sight.voxel_mm / MM_PER_CM, factor)
    return factor


def require_outside_body(sight: Sight, mu: Volume) -> None:
    """Raise BadArgument if the body, mu of at least 0.02/cm, reaches into the box from pinhole plane to detector."""
    half_rows, half_columns = (0.5 * n * sight.pixel_mm for n in sight.shape)
    box = np.array([sight.focal_mm, half_columns, half_rows]) / sight.voxel_mm
    depth = _depth_in_body(_density(mu), np.array(sight.pinhole_mm) / sight.voxel_mm, np.array(sight.axes), box)
    if depth > 0:
        raise BadArgument(
            f"module {sight.name} with its pinhole inside the body, by {depth * sight.voxel_mm:.0f} mm",
            needed="every module outside the attenuation map's body",
            remedy="Move fov_centre_mm to the heart, or give this module a larger h_mm.",
        )


def _density(mu: Volume) -> np.ndarray:
    return np.asarray(mu.data.detach().cpu().float().contiguous().numpy())


@numba.njit(nogil=True, cache=True)
def _depth_in_body(mu, pinhole, axes, box):
    """How far body voxels reach into a module's box behind the pinhole plane, in voxels; 0 if they do not."""
    deepest = 0.0
    nz, ny, nx = mu.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                if mu[k, j, i] < MATTER_PER_CM:
                    continue
                x, y, z = i - pinhole[0], j - pinhole[1], k - pinhole[2]
                behind = x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2]
                across = x * axes[1, 0] + y * axes[1, 1] + z * axes[1, 2]
                up = x * axes[2, 0] + y * axes[2, 1] + z * axes[2, 2]
                if -0.5 < behind <= box[0] and abs(across) <= box[1] and abs(up) <= box[2]:
                    deepest = max(deepest, behind + 0.5)
    return deepest


@numba.njit(nogil=True, cache=True)
def _follow(mu, voxel, pinhole, voxel_cm, factor):
    """Fill factor [ray] with exp(-integral of mu [z, y, x]); the pinhole is (x, y, z) in voxels."""
    nz, ny, nx = mu.shape
    for ray in range(len(voxel)):
        k, j, i = voxel[ray] // (ny * nx), voxel[ray] // nx % ny, voxel[ray] % nx
        x, y, z = pinhole[0] - i, pinhole[1] - j, pinhole[2] - k
        length = math.sqrt(x * x + y * y + z * z)
        step_x, step_y, step_z = (1 if x > 0 else -1), (1 if y > 0 else -1), (1 if z > 0 else -1)
        across_x, across_y, across_z = _crossing(x, length), _crossing(y, length), _crossing(z, length)
        next_x, next_y, next_z = 0.5 * across_x, 0.5 * across_y, 0.5 * across_z
        path, here = 0.0, 0.0
        while here < length and 0 <= k < nz and 0 <= j < ny and 0 <= i < nx:
            density, leave = mu[k, j, i], min(next_x, next_y, next_z, length)
            path += density * (leave - here)
            here = leave
            if next_x <= here:
                i += step_x
                next_x += across_x
            elif next_y <= here:
                j += step_y
                next_y += across_y
            else:
                k += step_z
                next_z += across_z
        factor[ray] = math.exp(-path * voxel_cm)


@numba.njit(nogil=True, cache=True)
def _crossing(component, length):
    """Length of the ray between two faces across one axis, in voxels."""
    return length / abs(component) if abs(component) > 1e-12 * length else 1e300
