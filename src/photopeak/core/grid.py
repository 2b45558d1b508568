"""Where the voxels of an array are in the patient.

One convention inside photopeak: LPS world axes (x to the patient's left, y to posterior, z to the head), millimetres,
arrays indexed ``[z, y, x]``. The affine takes array order: ``affine @ [k, j, i, 1] = [x, y, z, 1]``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from photopeak.core.errors import BadArgument, GridMismatch

Affine = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Grid:
    """Shape and place of a voxel array; no data.

    Parameters
    ----------
    shape : (nz, ny, nx) voxels.
    affine : 4x4 nested tuple, array index (k, j, i, 1) to LPS millimetres (x, y, z, 1), voxel centres.
    """

    shape: tuple[int, int, int]
    affine: Affine

    def __post_init__(self) -> None:
        matrix = np.asarray(self.affine, dtype=float)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-9:
            raise BadArgument(
                f"affine {matrix.tolist()}",
                needed="an invertible, finite 4x4 matrix",
                remedy="Check the spacing and orientation tags.",
            )
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise BadArgument(
                f"shape {self.shape}", needed="three positive sizes (nz, ny, nx)", remedy="Check the array."
            )
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "affine", tuple(tuple(float(v) for v in row) for row in matrix))

    @classmethod
    def regular(
        cls,
        shape: Sequence[int],
        spacing_mm: float | Sequence[float],
        *,
        centre_mm: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> "Grid":
        """An axis-aligned grid: +k to the head, +j to posterior, +i to the patient's left.

        Parameters
        ----------
        shape : (nz, ny, nx).
        spacing_mm : one number, or (dz, dy, dx).
        centre_mm : LPS (x, y, z) of the middle of the grid.
        """
        nz, ny, nx = (int(n) for n in shape)
        dz, dy, dx = np.broadcast_to(np.asarray(spacing_mm, dtype=float), (3,))
        matrix = np.zeros((4, 4))
        matrix[2, 0], matrix[1, 1], matrix[0, 2], matrix[3, 3] = dz, dy, dx, 1.0
        middle = np.array([(nz - 1) / 2, (ny - 1) / 2, (nx - 1) / 2])
        matrix[:3, 3] = np.asarray(centre_mm, dtype=float) - matrix[:3, :3] @ middle
        return cls((nz, ny, nx), tuple(map(tuple, matrix)))

    @property
    def matrix(self) -> np.ndarray:
        """The affine as a fresh 4x4 float64 array."""
        return np.array(self.affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along the array axes (z, y, x), mm."""
        dz, dy, dx = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return float(dz), float(dy), float(dx)

    @property
    def centre_mm(self) -> np.ndarray:
        """LPS (x, y, z) of the middle of the grid, mm."""
        return self.world((np.array(self.shape) - 1) / 2)

    @property
    def is_isotropic(self) -> bool:
        spacing = np.array(self.spacing_mm)
        return bool(np.ptp(spacing) < 1e-3 * spacing.mean())

    @property
    def is_axial(self) -> bool:
        """True when the array axes are the head, posterior and left directions."""
        directions = self.matrix[:3, :3] / np.array(self.spacing_mm)
        return bool(np.allclose(directions, [[0, 0, 1], [0, 1, 0], [1, 0, 0]], atol=1e-3))

    def world(self, index: np.ndarray | Sequence[float]) -> np.ndarray:
        """LPS points [..., (x, y, z)] in mm of array indices [..., (k, j, i)]."""
        matrix = self.matrix
        return np.asarray(index, dtype=float) @ matrix[:3, :3].T + matrix[:3, 3]

    def index(self, points_mm: np.ndarray | Sequence[float]) -> np.ndarray:
        """Fractional array indices [..., (k, j, i)] of LPS points [..., (x, y, z)] in mm."""
        matrix = self.matrix
        return (np.asarray(points_mm, dtype=float) - matrix[:3, 3]) @ np.linalg.inv(matrix[:3, :3]).T

    def points(self) -> np.ndarray:
        """LPS centre of every voxel: [z, y, x, (x, y, z)] in mm."""
        return self.world(np.moveaxis(np.indices(self.shape), 0, -1))

    def crop(self, start: Sequence[int], shape: Sequence[int]) -> "Grid":
        """The grid of ``array[start : start + shape]``; it may reach beyond this one."""
        matrix = self.matrix
        matrix[:3, 3] = self.world(np.asarray(start, dtype=float))
        nz, ny, nx = (int(n) for n in shape)
        return Grid((nz, ny, nx), tuple(map(tuple, matrix)))

    def resampled(self, spacing_mm: float) -> "Grid":
        """The same box with isotropic voxels of another size, rounded up to whole voxels about the same centre."""
        scale = np.array(self.spacing_mm) / spacing_mm
        shape = np.ceil(np.array(self.shape) * scale - 1e-6).astype(int)
        matrix = self.matrix
        matrix[:3, :3] /= scale
        matrix[:3, 3] = self.centre_mm - matrix[:3, :3] @ ((shape - 1) / 2)
        nz, ny, nx = (int(n) for n in shape)
        return Grid((nz, ny, nx), tuple(map(tuple, matrix)))

    def same_as(self, other: "Grid", tolerance_mm: float = 1e-3) -> bool:
        """True when both have one shape and no voxel lies more than `tolerance_mm` apart."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, -1).T
        return bool(np.abs(self.world(corners) - other.world(corners)).max() <= tolerance_mm)

    def require_same(self, other: "Grid", *, mine: str, theirs: str) -> None:
        """Raise GridMismatch, naming both things, unless `other` is this grid."""
        if not self.same_as(other):
            raise GridMismatch(
                f'"{mine}" is on {self} and "{theirs}" on {other}',
                needed="one grid",
                remedy=f'Resample first: study["{theirs}"].on(study["{mine}"].grid).',
            )

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        spacing = self.spacing_mm
        step = f"{spacing[0]:.4g}" if self.is_isotropic else " x ".join(f"{s:.4g}" for s in spacing)
        return f"{size} at {step} mm"
