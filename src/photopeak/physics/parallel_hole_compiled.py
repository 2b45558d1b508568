"""The parallel-hole projector compiled for CPUs: each thread takes some views, and nothing is kept between calls.

One view, with depth 0 nearest the detector and z contiguous in memory:

* rotation: four neighbours of the transaxial slice, the same for all slices;
* attenuation on the way: survival grows by ``exp(-mu d / 2)`` from one half voxel to the next;
* response: each plane goes through its own Gaussian along columns and along z while it is in cache, and is added to the
  detector.

Columns in which nothing is, air or no activity, are passed over. The adjoint is the transpose of each. Survival of a
plane follows from that of the plane before it, so that no volume is kept but the image.

Inner loops run from 0 over views of arrays: an index plus an offset could be negative for all that the compiler knows,
and would not become vector code.
"""

import math
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from photopeak.core.units import MM_PER_CM
from photopeak.physics.response import Response
from photopeak.physics.threads import in_shares

SMALLEST_TAP = 3e-4
"""Smaller taps at the ends of a kernel are left out, and their share is given to those that stay."""
MOST_GROUPS, FEWEST_VIEWS = 4, 3
"""Of views that share an image in the adjoint."""
_FAST = {"contract", "reassoc", "nsz", "arcp"}


class CompiledEngine:
    """Forward and adjoint of one camera on square slices.

    Parameters
    ----------
    angles_deg : [view].
    response : of each view and depth; None for ideal resolution.
    mu : [y, x, z], 1/cm; None without attenuation.
    size : voxels along x and y.
    voxel_mm : voxel and pixel size.
    """

    def __init__(
        self, angles_deg: tuple[float, ...], response: Response | None, mu: Tensor | None, size: int, voxel_mm: float
    ) -> None:
        self._directions = np.stack([np.cos(np.radians(angles_deg)), np.sin(np.radians(angles_deg))], axis=1)
        if response is None:
            self._taps = np.ones((len(angles_deg), size, 1))
            self._reaches = np.zeros((len(angles_deg), size), np.int64)
        else:
            whole = response.half_taps().numpy()
            self._taps = np.where(whole > SMALLEST_TAP, whole, 0.0)
            self._taps *= _total(whole) / _total(self._taps)
            self._reaches = (self._taps > 0).sum(axis=2) - 1
        self._mu, self._half_voxel_cm = mu, voxel_mm / MM_PER_CM / 2

    def forward(self, x: Tensor) -> Tensor:
        """[batch, z, y, x] -> [batch, view, z, column]; threads share the views."""
        image = _array(x.permute(0, 2, 3, 1))
        batch, n, _, nz = image.shape
        seen = np.zeros((batch, len(self._directions), n, nz), image.dtype)
        tables = self._tables_like(image)
        in_shares(lambda start, stop: _forward(image, *tables, self._half_voxel_cm, start, stop, seen), seen.shape[1])
        return torch.from_numpy(seen).permute(0, 1, 3, 2)

    def adjoint(self, y: Tensor) -> Tensor:
        """[batch, view, z, column] -> [batch, z, y, x]; some views fill an image of their own, in slabs of slices.

        Which views share an image depends on their number alone, so that no bit depends on the number of threads.
        """
        counts = _array(y.permute(0, 1, 3, 2))
        batch, views, n, nz = counts.shape
        groups = max(1, min(MOST_GROUPS, views // FEWEST_VIEWS))
        slabs = min(nz, math.ceil(torch.get_num_threads() / groups))
        images = np.zeros((groups, batch, n, n, nz), counts.dtype)
        tables = self._tables_like(counts)

        def job(start: int, stop: int) -> None:
            for group, slab in (divmod(task, slabs) for task in range(start, stop)):
                some = views * group // groups, views * (group + 1) // groups
                slices = nz * slab // slabs, nz * (slab + 1) // slabs
                _adjoint(counts, *tables, self._half_voxel_cm, *some, *slices, images[group])

        in_shares(job, groups * slabs)
        for other in images[1:]:
            images[0] += other
        return torch.from_numpy(images[0]).permute(0, 3, 1, 2).contiguous()

    def _tables_like(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        mu = np.empty((0, 0, 0)) if self._mu is None else _array(self._mu)
        return mu.astype(array.dtype, copy=False), self._directions, self._taps.astype(array.dtype), self._reaches


def _total(half_taps: np.ndarray) -> np.ndarray:
    return half_taps[..., :1] + 2 * half_taps[..., 1:].sum(axis=-1, keepdims=True)


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().contiguous().numpy()


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _forward(image, mu, directions, taps, reaches, half_voxel_cm, start, stop, seen):
    batch, n, _, nz = image.shape
    pad = taps.shape[2] - 1
    body = _support(mu)
    sources = np.empty((batch, n + 1, n + 1), np.bool_)
    for b in range(batch):
        sources[b] = _support(image[b])
    row, alive = np.empty(nz, image.dtype), np.empty((n, nz), image.dtype)
    survival = np.ones((n, nz), image.dtype)
    padded = np.zeros((n + 2 * pad, nz + 2 * pad), image.dtype)
    across = np.zeros(nz + 2 * pad, image.dtype)
    for view in range(start, stop):
        cosine, sine = directions[view]
        alive[:] = 1
        for depth in range(n):
            if mu.size:
                for column in range(n):
                    if _gather(mu, body, cosine, sine, depth, column, 0, row):
                        _attenuate(row, half_voxel_cm, alive[column], survival[column])
                    else:
                        survival[column] = alive[column]
            for b in range(batch):
                first, last = n, -1
                for column in range(n):
                    target = padded[column + pad][pad:]
                    if _gather(image[b], sources[b], cosine, sine, depth, column, 0, row):
                        first, last = min(first, column), column
                        factor = survival[column]
                        for z in range(nz):
                            target[z] = row[z] * factor[z]
                    else:
                        target[:nz] = 0
                reach = reaches[view, depth]
                for column in range(max(first - reach, 0), min(last + reach + 1, n)):
                    _blur(padded, column, taps[view, depth], reach, pad, across, seen[b, view, column])


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _adjoint(counts, mu, directions, taps, reaches, half_voxel_cm, first_view, last_view, start, stop, image):
    batch, _, n, whole = counts.shape
    nz = stop - start
    pad = taps.shape[2] - 1
    body = _support(mu)
    row, alive = np.empty(nz, image.dtype), np.empty((n, nz), image.dtype)
    survival = np.ones((n, nz), image.dtype)
    padded = np.zeros((batch, n + 2 * pad, nz + 2 * pad), image.dtype)
    below, above = max(start - pad, 0), min(stop + pad, whole)
    first = below - (start - pad)
    across = np.empty(nz + 2 * pad, image.dtype)
    for view in range(first_view, last_view):
        cosine, sine = directions[view]
        alive[:] = 1
        padded[:, pad : n + pad, first : first + above - below] = counts[:, view, :, below:above]
        for depth in range(n):
            if mu.size:
                for column in range(n):
                    if _gather(mu, body, cosine, sine, depth, column, start, row):
                        _attenuate(row, half_voxel_cm, alive[column], survival[column])
                    else:
                        survival[column] = alive[column]
            for b in range(batch):
                for column in range(n):
                    if not _meets(n, cosine, sine, depth, column):
                        continue
                    row[:] = 0
                    _blur(padded[b], column, taps[view, depth], reaches[view, depth], 0, across, row)
                    factor = survival[column]
                    for z in range(nz):
                        row[z] *= factor[z]
                    _scatter(row, cosine, sine, depth, column, start, image[b])


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _support(volume):
    """[y + 1, x + 1] whether the four columns around a point that lies beyond voxel (y, x) hold anything."""
    n, width, nz = volume.shape
    around = np.zeros((n + 1, width + 1), np.bool_)
    for y in range(n):
        for x in range(width):
            for z in range(nz):
                if volume[y, x, z] != 0:
                    around[y : y + 2, x : x + 2] = True
                    break
    return around


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _corner(n, cosine, sine, depth, column):
    middle = (n - 1) / 2
    toward, along = middle - depth, column - middle
    x = middle + toward * sine + along * cosine
    y = middle - toward * cosine + along * sine
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    return x0, y0, x - x0, y - y0


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _meets(n, cosine, sine, depth, column):
    x0, y0, _, _ = _corner(n, cosine, sine, depth, column)
    return -1 <= x0 < n and -1 <= y0 < n


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _gather(volume, support, cosine, sine, depth, column, start, row):
    """The rotated column at (depth, column) from slice `start` on; False, and nothing, where there is nothing."""
    n = volume.shape[0]
    x0, y0, fx, fy = _corner(n, cosine, sine, depth, column)
    if x0 < -1 or y0 < -1 or x0 >= n or y0 >= n or not support[y0 + 1, x0 + 1]:
        return False
    dtype = volume.dtype.type
    left, right = max(x0, 0), min(x0 + 1, n - 1)
    front, back = max(y0, 0), min(y0 + 1, n - 1)
    a = volume[front, left][start:]
    b = volume[front, right][start:]
    c = volume[back, left][start:]
    d = volume[back, right][start:]
    in_left, in_right, in_front, in_back = x0 >= 0, x0 + 1 < n, y0 >= 0, y0 + 1 < n
    wa = dtype((1 - fx) * (1 - fy) * (in_left and in_front))
    wb = dtype(fx * (1 - fy) * (in_right and in_front))
    wc = dtype((1 - fx) * fy * (in_left and in_back))
    wd = dtype(fx * fy * (in_right and in_back))
    for z in range(row.size):
        row[z] = wa * a[z] + wb * b[z] + wc * c[z] + wd * d[z]
    return True


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _scatter(row, cosine, sine, depth, column, start, volume):
    """The transpose of `_gather`."""
    n = volume.shape[0]
    x0, y0, fx, fy = _corner(n, cosine, sine, depth, column)
    dtype = volume.dtype.type
    if x0 >= 0 and y0 >= 0 and x0 + 1 < n and y0 + 1 < n:
        a, b = volume[y0, x0][start:], volume[y0, x0 + 1][start:]
        c, d = volume[y0 + 1, x0][start:], volume[y0 + 1, x0 + 1][start:]
        wa, wb = dtype((1 - fx) * (1 - fy)), dtype(fx * (1 - fy))
        wc, wd = dtype((1 - fx) * fy), dtype(fx * fy)
        for z in range(row.size):
            a[z] += wa * row[z]
            b[z] += wb * row[z]
            c[z] += wc * row[z]
            d[z] += wd * row[z]
        return
    for dy in range(2):
        for dx in range(2):
            x, y = x0 + dx, y0 + dy
            if 0 <= x < n and 0 <= y < n:
                weight = dtype((fx if dx else 1 - fx) * (fy if dy else 1 - fy))
                target = volume[y, x][start:]
                for z in range(row.size):
                    target[z] += weight * row[z]


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _attenuate(mu, half_voxel_cm, alive, survival):
    """Survival to the middle of each voxel, then to its far side; exp is the fourth power of a series at a quarter."""
    dtype = mu.dtype.type
    quarter = dtype(-half_voxel_cm / 4)
    one = dtype(1)
    for z in range(mu.size):
        u = quarter * mu[z]
        e = one + u * (one + u / dtype(2) * (one + u / dtype(3) * (one + u / dtype(4) * (one + u / dtype(5) * (
            one + u / dtype(6) * (one + u / dtype(7) * (one + u / dtype(8))))))))  # fmt: skip
        half = e * e * e * e
        survival[z] = alive[z] * half
        alive[z] = survival[z] * half


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
def _blur(padded, column, taps, reach, empty, across, blurred):
    """Add the plane's column, through symmetric taps 0 to `reach` along both axes, to `blurred` [z].

    The first and last `empty` slices of the padded plane hold nothing, and so does `across` there.
    """
    pad = (across.size - blurred.size) // 2
    held = across[empty : across.size - empty]
    middle = padded[column + pad][empty:]
    for z in range(held.size):
        held[z] = taps[0] * middle[z]
    for tap in range(1, reach + 1, 2):
        near, far = taps[tap], taps[tap + 1]
        a, b = padded[column + pad - tap][empty:], padded[column + pad + tap][empty:]
        c, d = padded[column + pad - tap - 1][empty:], padded[column + pad + tap + 1][empty:]
        for z in range(held.size):
            held[z] += near * (a[z] + b[z]) + far * (c[z] + d[z])
    middle = across[pad:]
    for z in range(blurred.size):
        blurred[z] += taps[0] * middle[z]
    for tap in range(1, reach + 1, 2):
        near, far = taps[tap], taps[tap + 1]
        a, b = across[pad - tap :], across[pad + tap :]
        c, d = across[pad - tap - 1 :], across[pad + tap + 1 :]
        for z in range(blurred.size):
            blurred[z] += near * (a[z] + b[z]) + far * (c[z] + d[z])
