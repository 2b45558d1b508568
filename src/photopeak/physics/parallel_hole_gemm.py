"""The parallel-hole projector as matrix products in torch: the reference, and the form for GPUs.

Some views at a time: a sparse rotation, a product with the survival of each voxel, one batched matrix product that
blurs along the columns, and one that blurs along z and sums over depth. The adjoint is the transpose of each, in
reverse order. Batches and devices need nothing else.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from photopeak.physics.attenuation import survival
from photopeak.physics.response import Response
from photopeak.physics.rotate import rotation_matrix

BYTES_PER_MB = 2**20


class _Tables(NamedTuple):
    """Of some views: sparse rotation and its transpose, survival [depth, column, view, 1, z]."""

    rotate: Tensor
    back: Tensor
    survival: Tensor | None


class _Blur(NamedTuple):
    """Response at one orbit radius: [depth, column, column'] and [depth z, z']."""

    columns: Tensor
    rows: Tensor


class GemmEngine:
    """Forward and adjoint of one camera on square slices.

    Parameters
    ----------
    angles_deg : [view].
    response : of each view and depth; None for ideal resolution.
    mu : [y, x, z], 1/cm; None without attenuation.
    size : voxels along x and y, and along z.
    voxel_mm : voxel and pixel size.
    memory_mb : bound of kept tables and of intermediate planes together; tables beyond half of it are made anew.
    at_once : views in one product; by default one on a CPU, where caches count, and what memory allows elsewhere.
    """

    def __init__(
        self,
        angles_deg: tuple[float, ...],
        response: Response | None,
        mu: Tensor | None,
        size: tuple[int, int],
        voxel_mm: float,
        memory_mb: float,
        at_once: int | None = None,
    ) -> None:
        self._angles, self._response = angles_deg, response
        self._mu, (self._n, self._nz), self._voxel_mm = mu, size, voxel_mm
        self._memory, self._at_once, self._kept = memory_mb * BYTES_PER_MB, at_once, 0.0
        self._tables: dict[tuple[int, int, torch.dtype, torch.device], _Tables] = {}
        self._blurs: dict[tuple[int, torch.dtype, torch.device], _Blur] = {}

    def forward(self, x: Tensor) -> Tensor:
        """[batch, z, y, x] -> [batch, view, z, column]."""
        batch, nz, n = x.shape[0], self._nz, self._n
        flat = x.permute(2, 3, 0, 1).reshape(n * n, batch * nz).contiguous()
        seen = []
        for start, stop in self._shares(x):
            views, tables, blur = stop - start, self._rotation(start, stop, x), self._blur(start, x)
            planes = (tables.rotate @ flat).reshape(n, n, views, batch, nz)
            if tables.survival is not None:
                planes = planes * tables.survival
            if blur is None:
                seen.append(planes.sum(0).permute(2, 1, 3, 0))
                continue
            planes = torch.bmm(blur.columns, planes.reshape(n, n, -1)).reshape(n, -1, nz)
            rows = planes.permute(1, 0, 2).reshape(-1, n * nz) @ blur.rows
            seen.append(rows.reshape(n, views, batch, nz).permute(2, 1, 3, 0))
        return torch.cat(seen, dim=1)

    def adjoint(self, y: Tensor) -> Tensor:
        """[batch, view, z, column] -> [batch, z, y, x]."""
        batch, nz, n = y.shape[0], self._nz, self._n
        flat = y.new_zeros(n * n, batch * nz)
        for start, stop in self._shares(y):
            views, tables, blur = stop - start, self._rotation(start, stop, y), self._blur(start, y)
            counts = y[:, start:stop].permute(3, 1, 0, 2)
            if blur is None:
                planes = counts.expand(n, n, views, batch, nz)
            else:
                rows = (counts.reshape(-1, nz) @ blur.rows.T).reshape(n, views * batch, n, nz)
                planes = torch.bmm(blur.columns.mT, rows.permute(2, 0, 1, 3).reshape(n, n, -1))
                planes = planes.reshape(n, n, views, batch, nz)
            if tables.survival is not None:
                planes = planes * tables.survival
            flat += tables.back @ planes.reshape(n * n * views, batch * nz)
        return flat.reshape(n, n, batch, nz).permute(2, 3, 0, 1).contiguous()

    def _shares(self, like: Tensor) -> list[tuple[int, int]]:
        """Runs of neighbouring views with the same response, as many at once as fit."""
        per_view = 4 * like.shape[0] * self._n**2 * self._nz * like.element_size()
        fitting = 1 if like.device.type == "cpu" else int(self._memory / 2 / per_view)
        longest = max(1, self._at_once or fitting)
        edges = [0]
        for view in range(1, len(self._angles)):
            if view - edges[-1] >= longest or not self._same_response(edges[-1], view):
                edges.append(view)
        return list(zip(edges, [*edges[1:], len(self._angles)], strict=True))

    def _same_response(self, one: int, other: int) -> bool:
        sigmas = None if self._response is None else self._response.sigmas_px
        return sigmas is None or torch.equal(sigmas[one], sigmas[other])

    def _rotation(self, start: int, stop: int, like: Tensor) -> _Tables:
        key = (start, stop, like.dtype, like.device)
        if key in self._tables:
            return self._tables[key]
        n, nz, views = self._n, self._nz, stop - start
        rotate, back = rotation_matrix(n, *self._angles[start:stop], dtype=like.dtype, device=like.device)
        alive = None
        if self._mu is not None:
            turned = (rotate @ self._mu.to(like).reshape(n * n, nz)).reshape(n, n, views, nz)
            alive = survival(turned, self._voxel_mm)[:, :, :, None, :]
        made = _Tables(rotate, back, alive)
        size = views * n * n * like.element_size() * (16 + (nz if alive is not None else 0))
        if self._kept + size <= self._memory / 2:
            self._tables[key] = made
            self._kept += size
        return made

    def _blur(self, view: int, like: Tensor) -> _Blur | None:
        if self._response is None:
            return None
        first = next(v for v in range(view + 1) if self._same_response(v, view))
        key = (first, like.dtype, like.device)
        if key not in self._blurs:
            columns, rows = (self._response.toeplitz(view, size).to(like) for size in (self._n, self._nz))
            self._blurs[key] = _Blur(columns, rows.mT.reshape(self._n * self._nz, self._nz).contiguous())
        return self._blurs[key]
