"""Three images through one pinhole matrix at once, each with its own attenuation and support.

A matrix is far larger than a cache and its rectangles are small, so that reading it costs more than multiplying: three
reconstructions of one patient (without and with attenuation, with and without noise) take less than half as long
together as one after the other. One thread; a cohort has a process for each core.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from photopeak.core import LinearOperator
from photopeak.core.errors import BadArgument, ShapeMismatch
from photopeak.physics.pinhole_matrix import Rays
from photopeak.physics.pinhole_system import PinholeSystem

IMAGES = 3

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Abreast(LinearOperator):
    """[image, z, y, x] -> [image, module, row, column], for three images that know nothing of each other.

    Parameters
    ----------
    rays : the matrix, one block for each module.
    factors : float32 [ray, image] of each module: probability of leaving the body, 0 outside the image's support.
    grid_shape, projection_shape : (nz, ny, nx) and (module, row, column).
    """

    rays: tuple[Rays, ...]
    factors: tuple[np.ndarray, ...]
    grid_shape: tuple[int, int, int]
    projection_shape: tuple[int, int, int]

    @classmethod
    def of(cls, systems: Sequence[PinholeSystem], supports: Sequence[Tensor]) -> "Abreast":
        """Each of three systems within its support, voxels [z, y, x] where activity can be.

        Raises
        ------
        BadArgument : not three, or systems that were not made from one by `PinholeSystem.attenuated`.
        ShapeMismatch : a support on another grid.
        """
        if len(systems) != IMAGES or any(system.rays is not systems[0].rays for system in systems):
            raise BadArgument(
                f"{len(systems)} systems, of one matrix or not",
                needed=f"{IMAGES} systems of one matrix",
                remedy="Make one with camera.system(grid) and the others with its attenuated(mu).",
            )
        shape = systems[0].grid.shape
        if len(supports) != IMAGES or any(tuple(support.shape) != shape for support in supports):
            raise ShapeMismatch(
                f"supports of {[tuple(support.shape) for support in supports]}",
                needed=f"{IMAGES} of {shape}",
                remedy="Give one for each system, on its grid.",
            )
        masks = [support.flatten().numpy() for support in supports]
        factors = tuple(
            np.stack(
                [s.factors[m][: len(rays.voxel)] * mask[rays.voxel] for s, mask in zip(systems, masks, strict=True)], -1
            )
            for m, rays in enumerate(systems[0].rays)
        )
        return cls(systems[0].rays, factors, shape, systems[0].camera.projection_shape)

    @property
    def domain_shape(self) -> tuple[int, ...]:
        return (IMAGES, *self.grid_shape)

    @property
    def range_shape(self) -> tuple[int, ...]:
        return (IMAGES, *self.projection_shape)

    def _forward(self, x: Tensor) -> Tensor:
        return torch.stack([self._seen(images) for images in x])

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.stack([self._spread(counts) for counts in y])

    def _seen(self, images: Tensor) -> Tensor:
        modules, rows, columns = self.projection_shape
        image = _abreast(images.flatten(1))
        seen = np.zeros((modules, rows * columns, IMAGES), image.dtype)
        for rays, factor, part in zip(self.rays, self.factors, seen, strict=True):
            _project(rays.voxel, rays.start, rays.corner, rays.width, rays.weight, factor, columns, image, part)
        return torch.from_numpy(seen).movedim(-1, 0).reshape(self.range_shape).to(images)

    def _spread(self, counts: Tensor) -> Tensor:
        modules, rows, columns = self.projection_shape
        seen = _abreast(counts.flatten(1)).reshape(modules, rows * columns, IMAGES)
        image = np.zeros((math.prod(self.grid_shape), IMAGES), seen.dtype)
        for rays, factor, part in zip(self.rays, self.factors, seen, strict=True):
            _backproject(rays.voxel, rays.start, rays.corner, rays.width, rays.weight, factor, columns, part, image)
        return torch.from_numpy(image).movedim(-1, 0).reshape(self.domain_shape).to(counts)


def _abreast(values: Tensor) -> np.ndarray:
    """[image, place] to [place, image] on the CPU, in float64 if it came so, else in float32."""
    dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
    return np.asarray(values.detach().to("cpu", dtype).T.contiguous().numpy())


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _project(
    voxel: Array,
    start: Array,
    corner: Array,
    width: Array,
    weight: Array,
    factor: Array,
    columns: int,
    image: Array,
    seen: Array,
) -> None:
    """Add what rays of image [voxel, image] make to seen [pixel, image]."""
    for ray in range(len(voxel)):
        v, wide, end = voxel[ray], np.uint64(width[ray]), np.uint64(start[ray + 1])
        entry, pixel = np.uint64(start[ray]), np.uint64(corner[ray])
        a, b, c = factor[ray, 0] * image[v, 0], factor[ray, 1] * image[v, 1], factor[ray, 2] * image[v, 2]
        if a == 0 and b == 0 and c == 0:
            continue
        while entry < end:
            for i in range(wide):
                seen[pixel + i, 0] += weight[entry + i] * a
                seen[pixel + i, 1] += weight[entry + i] * b
                seen[pixel + i, 2] += weight[entry + i] * c
            entry += wide
            pixel += np.uint64(columns)


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _backproject(
    voxel: Array,
    start: Array,
    corner: Array,
    width: Array,
    weight: Array,
    factor: Array,
    columns: int,
    seen: Array,
    image: Array,
) -> None:
    """Add the transpose of `_project` on seen [pixel, image] to image [voxel, image]."""
    for ray in range(len(voxel)):
        if factor[ray, 0] == 0 and factor[ray, 1] == 0 and factor[ray, 2] == 0:
            continue
        v, wide, end = voxel[ray], np.uint64(width[ray]), np.uint64(start[ray + 1])
        entry, pixel = np.uint64(start[ray]), np.uint64(corner[ray])
        a = b = c = seen.dtype.type(0)
        while entry < end:
            for i in range(wide):
                a += weight[entry + i] * seen[pixel + i, 0]
                b += weight[entry + i] * seen[pixel + i, 1]
                c += weight[entry + i] * seen[pixel + i, 2]
            entry += wide
            pixel += np.uint64(columns)
        image[v, 0] += factor[ray, 0] * a
        image[v, 1] += factor[ray, 1] * b
        image[v, 2] += factor[ray, 2] * c
