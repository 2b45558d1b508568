"""Smooth bodies in space as approximate signed distances (mm, negative inside), each with a box that holds it.

Coordinates come as three arrays that broadcast to [z, y, x], so that what depends on one axis is computed once.
Distances are exact to first order at the surface, which is all that partial volume needs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Distance = Callable[[Array, Array, Array], Array]
Point = Sequence[float] | np.ndarray
_FAR = 1e6
_IDENTITY = np.eye(3)


@dataclass(frozen=True)
class Shape:
    """A body: its signed distance and a box (LPS x, y, z in mm) outside which it has nothing."""

    distance: Distance
    low: tuple[float, float, float] = (-_FAR, -_FAR, -_FAR)
    high: tuple[float, float, float] = (_FAR, _FAR, _FAR)


def boxed(distance: Distance, low: Point, high: Point) -> Shape:
    return Shape(distance, (low[0], low[1], low[2]), (high[0], high[1], high[2]))


def ellipsoid(centre: Point, radii: Point, axes: Array = _IDENTITY) -> Shape:
    """Semi-axes `radii` along the rows of `axes`, unit vectors in LPS."""
    frame = np.asarray(axes, dtype=np.float32)
    reach = np.sqrt(((np.asarray(radii)[:, None] * frame) ** 2).sum(axis=0))
    middle = np.asarray(centre, dtype=float)
    inverse = [np.float32(1 / radius) for radius in radii]

    def distance(x: Array, y: Array, z: Array) -> Array:
        offset = [axis - np.float32(m) for axis, m in zip((x, y, z), centre, strict=True)]
        # Not quite zero, so that the very middle, which has no direction, is a radius deep.
        square = np.full(1, 1e-8, dtype=np.float32)
        steep = square * inverse[0] ** 2
        for row, scale in zip(frame, inverse, strict=True):
            along = sum(c * o for c, o in zip(row, offset, strict=True) if c) * scale
            along = along * along
            square = square + along
            steep = steep + along * (scale * scale)
        length = np.sqrt(square)
        return length * (length - 1) / np.sqrt(steep)

    return boxed(distance, tuple(middle - reach), tuple(middle + reach))


def tube(points: Sequence[Point], radii: Sequence[float]) -> Shape:
    """Round bar through `points`, its radius changing linearly from each to the next."""
    path, radius = np.asarray(points, dtype=np.float32), np.asarray(radii, dtype=np.float32)

    def distance(x: Array, y: Array, z: Array) -> Array:
        nearest = np.full(1, _FAR, dtype=np.float32)
        for start, step, r0, r1 in zip(path[:-1], np.diff(path, axis=0), radius[:-1], radius[1:], strict=True):
            dx, dy, dz = x - start[0], y - start[1], z - start[2]
            part = np.clip((dx * step[0] + dy * step[1] + dz * step[2]) / float(step @ step), 0, 1)
            gap = (dx - part * step[0]) ** 2 + (dy - part * step[1]) ** 2 + (dz - part * step[2]) ** 2
            nearest = np.minimum(nearest, np.sqrt(gap) - (r0 + part * (r1 - r0)))
        return nearest

    reach = radius[:, None]
    return boxed(distance, tuple((path - reach).min(axis=0)), tuple((path + reach).max(axis=0)))


def half_space(normal: Point, offset: float) -> Shape:
    """All points with ``normal . (x, y, z) < offset``."""
    a, b, c = (np.float32(v / np.linalg.norm(normal)) for v in normal)
    level = np.float32(offset / np.linalg.norm(normal))
    return Shape(lambda x, y, z: a * x + b * y + c * z - level)


def superellipse(
    half_width: Callable[[Array], Array],
    half_depth: Callable[[Array], Array],
    centre_y: float,
    exponent: float,
    z_range: tuple[float, float],
    reach: tuple[float, float],
) -> Shape:
    """A trunk along z whose sections are superellipses; `reach` bounds its half width and half depth."""

    def distance(x: Array, y: Array, z: Array) -> Array:
        width, depth = half_width(z), half_depth(z)
        u, v = np.abs(x) / width, np.abs(y - np.float32(centre_y)) / depth
        slope_x, slope_y = u ** (exponent - 1), v ** (exponent - 1)
        value = u * slope_x + v * slope_y - 1
        slope = (exponent * slope_x / width) ** 2 + (exponent * slope_y / depth) ** 2
        return value / np.sqrt(slope + np.float32(1e-10))

    low = (-reach[0], centre_y - reach[1], z_range[0])
    return boxed(distance, low, (reach[0], centre_y + reach[1], z_range[1]))


def intersection(*shapes: Shape) -> Shape:
    def distance(x: Array, y: Array, z: Array) -> Array:
        deepest = shapes[0].distance(x, y, z)
        for shape in shapes[1:]:
            deepest = np.maximum(deepest, shape.distance(x, y, z))
        return deepest

    return boxed(
        distance,
        tuple(np.max([shape.low for shape in shapes], axis=0)),
        tuple(np.min([shape.high for shape in shapes], axis=0)),
    )


def smooth_union(shapes: Sequence[Shape], blend_mm: float) -> Shape:
    """Bodies that run into each other over about `blend_mm` (polynomial smooth minimum)."""
    blend = np.float32(blend_mm)

    def distance(x: Array, y: Array, z: Array) -> Array:
        nearest = shapes[0].distance(x, y, z)
        for shape in shapes[1:]:
            other = shape.distance(x, y, z)
            overlap = np.maximum(blend - np.abs(nearest - other), 0)
            nearest = np.minimum(nearest, other) - overlap * overlap / (4 * blend)
        return nearest

    low = np.min([shape.low for shape in shapes], axis=0) - blend_mm
    return boxed(distance, tuple(low), tuple(np.max([shape.high for shape in shapes], axis=0) + blend_mm))


def outside(shape: Shape) -> Shape:
    """Everything that is not in `shape`."""
    return Shape(lambda x, y, z: -shape.distance(x, y, z))


def grown(shape: Shape, by_mm: float) -> Shape:
    """`shape` with its surface moved outward (inward if negative)."""
    move = np.float32(by_mm)
    return boxed(
        lambda x, y, z: shape.distance(x, y, z) - move,
        tuple(np.array(shape.low) - by_mm),
        tuple(np.array(shape.high) + by_mm),
    )
