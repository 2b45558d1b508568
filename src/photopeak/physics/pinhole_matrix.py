"""The geometric matrix of one pinhole module on one voxel grid: traced once, kept on disk, multiplied over threads.

A point sees the detector through the aperture as a uniform disc, an exact projection of the aperture from that point
whatever the angle. The disc has diameter d_eff (1 + M), M = f / r with r the distance to the pinhole plane; each pixel
takes the area that the disc shares with it, so the weights of a point inside the field add up to its sensitivity,
cos^3(theta) d_eff^2 / (16 r^2) (Anger 1967; Metzler et al., IEEE TMI 2001, 20:730). Attenuation is not in it: that is
one factor for each ray, so one matrix serves every patient.
"""

import hashlib
import json
import math
import os
import tempfile
import warnings
import zlib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numba
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from photopeak.core.errors import UnreadableFile

FORMAT = "photopeak pinhole rays 1"
CACHE_VARIABLE = "PHOTOPEAK_CACHE"

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Sight:
    """All that decides the rays of one module, in the frame of the voxel grid (its key is their name on disk).

    Parameters
    ----------
    name : of the module, for messages; not part of the key.
    pinhole_mm : (x, y, z) of the pinhole from the centre of voxel [0, 0, 0].
    axes : unit vectors (x, y, z): from the field to the pinhole, along the columns, along the rows.
    focal_mm : pinhole to detector.
    aperture_mm : effective diameter d_eff.
    half_opening_deg : rays further from the module's axis are stopped.
    pixel_mm, shape : detector pixel and (rows, columns).
    voxel_mm, grid_shape : voxel and (nz, ny, nx).
    """

    name: str
    pinhole_mm: Vector
    axes: tuple[Vector, Vector, Vector]
    focal_mm: float
    aperture_mm: float
    half_opening_deg: float
    pixel_mm: float
    shape: tuple[int, int]
    voxel_mm: float
    grid_shape: tuple[int, int, int]

    @property
    def key(self) -> str:
        record = json.dumps([FORMAT, asdict(replace(self, name=""))])
        return hashlib.sha256(record.encode()).hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class Rays:
    """The voxels that a module sees, each with a rectangle of pixel weights; voxels in rising order.

    Parameters
    ----------
    voxel : int32 [ray], flat index into the grid.
    start : int64 [ray + 1], where the rectangle of each ray begins in `weight`.
    corner : int32 [ray], flat index of the rectangle's first pixel.
    width : int32 [ray], columns of the rectangle.
    weight : float32 [entry], share of the emitted photons that this pixel counts.
    """

    voxel: np.ndarray
    start: np.ndarray
    corner: np.ndarray
    width: np.ndarray
    weight: np.ndarray

    @property
    def checksum(self) -> str:
        """CRC-32 of all arrays: guards against damage by disk or copy, not against intent."""
        crc = 0
        for field in fields(self):
            crc = zlib.crc32(getattr(self, field.name), crc)
        return f"{crc:08x}"

    def project(
        self, image: np.ndarray, factor: np.ndarray, seen: np.ndarray, *, columns: int, first: int, last: int
    ) -> None:
        """Add what rays `first` to `last`, times factor [ray], make of image [batch, voxel] to seen [batch, pixel]."""
        _project(
            self.voxel, self.start, self.corner, self.width, self.weight, factor, columns, first, last, image, seen
        )

    def backproject(
        self, seen: np.ndarray, factor: np.ndarray, image: np.ndarray, *, columns: int, first: int, last: int
    ) -> None:
        """Add the transpose of `project` on seen [batch, pixel] to image [batch, voxel]."""
        _backproject(
            self.voxel, self.start, self.corner, self.width, self.weight, factor, columns, first, last, seen, image
        )


def rays_of(sight: Sight) -> Rays:
    """The rays of a module, from the cache if they are there, else traced and put there.

    The cache is the folder named by the environment variable PHOTOPEAK_CACHE, by default ``~/.cache/photopeak``; it may
    be emptied at any time. A damaged file is replaced, and a folder that cannot be written is not used, each with a
    RuntimeWarning.
    """
    path = _cache_folder() / f"{sight.key}.safetensors"
    if path.exists():
        try:
            return read_rays(path)
        except UnreadableFile as damage:
            warnings.warn(f"Rebuilding a pinhole matrix. {damage}", RuntimeWarning, stacklevel=2)
    rays = trace(sight)
    try:
        _write(rays, path)
    except OSError as refusal:
        warnings.warn(
            f"The pinhole matrix is not kept for the next start: {refusal}. "
            f"Set {CACHE_VARIABLE} to a folder that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )
    return rays


def _cache_folder() -> Path:
    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named) if named else Path.home() / ".cache" / "photopeak") / "pinhole"


def read_rays(path: Path) -> Rays:
    """Rays as a memory map, after their checksum was verified.

    Raises
    ------
    UnreadableFile : the file is cut short, was changed or renamed, or has another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            record = file.metadata() or {}
            rays = Rays(**{field.name: file.get_tensor(field.name).numpy() for field in fields(Rays)})
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from error
    for field, expected in (("format", FORMAT), ("key", path.stem)):
        if record.get(field) != expected:
            raise _damaged(path, f"{field} {record.get(field)!r}, not {expected!r}")
    if record.get("crc32") != rays.checksum:
        raise _damaged(path, f"checksum {rays.checksum}, recorded as {record.get('crc32')}")
    return rays


def _damaged(path: Path, finding: str) -> UnreadableFile:
    return UnreadableFile(f"{path}: {finding}", needed=f"a whole file of {FORMAT!r}", remedy="Delete the file.")


def _write(rays: Rays, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {field.name: torch.from_numpy(getattr(rays, field.name)) for field in fields(Rays)}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="unfinished-") as folder:
        beside = Path(folder) / path.name
        try:
            save_file(tensors, beside, metadata={"format": FORMAT, "key": path.stem, "crc32": rays.checksum})
        except SafetensorError as error:
            raise OSError(str(error)) from error
        beside.replace(path)


def trace(sight: Sight) -> Rays:
    """The rays of a module, computed."""
    pinhole, axes = np.array(sight.pinhole_mm), np.array(sight.axes)
    # All in pixels of the detector from here on, so that the projection needs no further unit.
    lengths = np.array([sight.voxel_mm, sight.focal_mm, sight.aperture_mm]) / sight.pixel_mm
    pinhole /= sight.pixel_mm
    cosine = math.cos(math.radians(sight.half_opening_deg))
    found = _rectangles(sight.grid_shape, sight.shape, lengths, pinhole, axes, cosine)
    voxel, corner, width, height = found
    start = np.zeros(len(voxel) + 1, np.int64)
    np.cumsum(width.astype(np.int64) * height, out=start[1:])
    weight = np.empty(start[-1], np.float32)
    _fill(sight.grid_shape, sight.shape, lengths, pinhole, axes, voxel, corner, width, start, weight)
    return Rays(voxel, start, corner, width, weight)


@numba.njit(nogil=True, cache=True)
def _spot(voxel, grid_shape, shape, lengths, pinhole, axes):
    """Distance to the pinhole plane, cosine to the axis, and (row, column, radius) of the disc of light, in pixels."""
    step, focal, aperture = lengths
    plane = grid_shape[1] * grid_shape[2]
    z = (voxel // plane) * step - pinhole[2]
    y = (voxel % plane // grid_shape[2]) * step - pinhole[1]
    x = (voxel % grid_shape[2]) * step - pinhole[0]
    distance = -(x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2])
    if distance < aperture:
        return distance, -1.0, 0.0, 0.0, 0.0
    minify = focal / distance
    column = (shape[1] - 1) / 2 - minify * (x * axes[1, 0] + y * axes[1, 1] + z * axes[1, 2])
    row = (shape[0] - 1) / 2 - minify * (x * axes[2, 0] + y * axes[2, 1] + z * axes[2, 2])
    return distance, distance / math.sqrt(x * x + y * y + z * z), row, column, 0.5 * aperture * (1 + minify)


@numba.njit(nogil=True, cache=True)
def _rectangles(grid_shape, shape, lengths, pinhole, axes, opening_cosine):
    """The voxels inside the opening cone whose disc touches the detector, with the pixels around each disc."""
    voxels = grid_shape[0] * grid_shape[1] * grid_shape[2]
    voxel, corner = np.empty(voxels, np.int32), np.empty(voxels, np.int32)
    width, height = np.empty(voxels, np.int32), np.empty(voxels, np.int32)
    rows, columns = shape
    rays = 0
    for v in range(voxels):
        _, cosine, row, column, radius = _spot(v, grid_shape, shape, lengths, pinhole, axes)
        if cosine < opening_cosine:
            continue
        top, left = max(0, math.floor(row - radius + 0.5)), max(0, math.floor(column - radius + 0.5))
        bottom, right = min(rows - 1, math.ceil(row + radius - 0.5)), min(columns - 1, math.ceil(column + radius - 0.5))
        if bottom < top or right < left:
            continue
        voxel[rays], corner[rays] = v, top * columns + left
        width[rays], height[rays] = right - left + 1, bottom - top + 1
        rays += 1
    return voxel[:rays].copy(), corner[:rays].copy(), width[:rays].copy(), height[:rays].copy()


@numba.njit(nogil=True, cache=True)
def _half_chord_area(t):
    """Area of the unit disc between the lines 0 and t."""
    t = min(1.0, max(-1.0, t))
    return t * math.sqrt(1 - t * t) + math.asin(t)


@numba.njit(nogil=True, cache=True)
def _corner_area(x, y, sx, sy):
    """Area of the unit disc with both coordinates below (x, y); sx and sy are their half chord areas."""
    if x * x + y * y < 1:
        return x * y + 0.5 * (sx + sy) + 0.25 * math.pi
    if x < 0:
        return 0.0 if y < 0 else sx + 0.5 * math.pi
    return sy + 0.5 * math.pi if y < 0 else sx + sy


@numba.njit(nogil=True, cache=True)
def _fill(grid_shape, shape, lengths, pinhole, axes, voxel, corner, width, start, weight):
    """Write the weights of every ray: sensitivity times the share of its disc in each pixel."""
    edge, chord, above = np.empty(shape[1] + 1), np.empty(shape[1] + 1), np.empty(shape[1] + 1)
    for ray in range(len(voxel)):
        distance, cosine, row, column, radius = _spot(voxel[ray], grid_shape, shape, lengths, pinhole, axes)
        sensitivity = cosine**3 * lengths[2] ** 2 / (16 * distance**2)
        top, left = corner[ray] // shape[1], corner[ray] % shape[1]
        columns = width[ray]
        y = (top - 0.5 - row) / radius
        sy = _half_chord_area(y)
        for c in range(columns + 1):
            edge[c] = (left + c - 0.5 - column) / radius
            chord[c] = _half_chord_area(edge[c])
            above[c] = _corner_area(edge[c], y, chord[c], sy)
        entry = start[ray]
        while entry < start[ray + 1]:
            y += 1 / radius
            sy = _half_chord_area(y)
            before, before_above = _corner_area(edge[0], y, chord[0], sy), above[0]
            above[0] = before
            for c in range(columns):
                below = _corner_area(edge[c + 1], y, chord[c + 1], sy)
                area = below - above[c + 1] - before + before_above
                weight[entry + c] = sensitivity * max(0.0, area) / math.pi
                before, before_above, above[c + 1] = below, above[c + 1], below
            entry += columns


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _project(voxel, start, corner, width, weight, factor, columns, first, last, image, seen):
    for ray in range(first, last):
        v, wide, end = voxel[ray], width[ray], np.uint64(start[ray + 1])
        for n in range(image.shape[0]):
            value = factor[ray] * image[n, v]
            entry, pixel = np.uint64(start[ray]), np.uint64(corner[ray])
            while entry < end:
                for c in range(np.uint64(wide)):
                    seen[n, pixel + c] += weight[entry + c] * value
                entry += np.uint64(wide)
                pixel += np.uint64(columns)


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _backproject(voxel, start, corner, width, weight, factor, columns, first, last, seen, image):
    for ray in range(first, last):
        v, wide, end = voxel[ray], width[ray], np.uint64(start[ray + 1])
        for n in range(image.shape[0]):
            value = seen[n, 0] * 0
            entry, pixel = np.uint64(start[ray]), np.uint64(corner[ray])
            while entry < end:
                for c in range(np.uint64(wide)):
                    value += weight[entry + c] * seen[n, pixel + c]
                entry += np.uint64(wide)
                pixel += np.uint64(columns)
            image[n, v] += factor[ray] * value
