"""Compiled inner loops of the photon tracker: one chunk of photons and one detector position in each call.

Positions are in voxels of the cropped body, voxel i reaching from i to i + 1, as (z, y, x); attenuation is per voxel
length. Every chunk has its own splitmix64 stream (Steele, Lea & Flood, OOPSLA 2014, doi:10.1145/2660193.2660195).
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from photopeak.physics.cross_sections import ELECTRON_KEV

Array = np.ndarray

SOFT, BONE = 0, 1
# Columns of Medium.table: first of each pair soft tissue, then bone, over the voxel's attenuation at 140.5 keV.
TRANSPORT, INCOHERENT, COHERENT, MAJORANT, ACCEPTANCE, PER_SIGMA = 0, 2, 4, 6, 7, 8
COLUMNS = 9
PLANES_PER_VOXEL = 2
"""Of distances at which the response is tabulated."""
PRIMARY, SCATTER, PRIMARY_SQUARED, SCATTER_SQUARED = range(4)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 1.0 / 2**53
_PARALLEL, _NEVER = 1e-12, 1e30

_compiled = numba.njit(nogil=True, cache=True, fastmath=True)
_inlined = numba.njit(nogil=True, cache=True, fastmath=True, inline="always")


class Medium(NamedTuple):
    """The body and what its photons can do.

    mu : float32 [z, y, x, (soft, bone)], per voxel length at 140.5 keV.
    table : float64 [energy, column], equal steps from `floor_kev` to `source_kev`; see the column numbers above.
    """

    mu: Array
    table: Array
    floor_kev: float
    source_kev: float
    rows_per_kev: float


class Source(NamedTuple):
    """voxel : int64 [n, (z, y, x)] that emit; cumulative : float64 [n], up to 1."""

    voxel: Array
    cumulative: Array


class Detector(NamedTuple):
    """One view.

    cosine, sine : of the view angle.
    middle_y, middle_x : rotation axis in cropped voxels.
    first_row, middle_column : row of cropped z = 0 and column of the axis, in padded pixels.
    nearest : distance of the first plane of `taps` from the axis, voxels; planes are half a voxel apart.
    taps : float64 [plane, share of a pixel, tap], the response; reach : int64 [plane], taps on either side.
    """

    cosine: float
    sine: float
    middle_y: float
    middle_x: float
    first_row: float
    middle_column: float
    nearest: float
    taps: Array
    reach: Array


@_inlined
def _uniform(state: Array) -> float:
    state[0] += _GOLDEN
    z = state[0]
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    z = z ^ (z >> _S31)
    return (float(z >> _S11) + 0.5) * _UNIT


@_compiled
def compton(energy_kev: float, cosine: float) -> tuple[float, float]:
    """Energy after the scatter, keV, and Klein-Nishina's differential cross section in r_e**2 per steradian."""
    kept = 1.0 / (1.0 + energy_kev / ELECTRON_KEV * (1.0 - cosine))
    return energy_kev * kept, 0.5 * kept * kept * (kept + 1.0 / kept - 1.0 + cosine * cosine)


@_compiled
def scatter_cosine(energy_kev: float, state: Array) -> float:
    """A cosine drawn from Klein-Nishina, by rejection from isotropic: the cross section is largest, 1, straight on."""
    while True:
        cosine = 2.0 * _uniform(state) - 1.0
        if _uniform(state) <= compton(energy_kev, cosine)[1]:
            return cosine


@_compiled
def turned(uz: float, uy: float, ux: float, cosine: float, state: Array) -> tuple[float, float, float]:
    """The direction at an angle of the given cosine to (uz, uy, ux), at a random azimuth."""
    across = math.sqrt(max(0.0, 1.0 - cosine * cosine))
    azimuth = 2.0 * math.pi * _uniform(state)
    a, b = across * math.cos(azimuth), across * math.sin(azimuth)
    flat = math.sqrt(uy * uy + ux * ux)
    if flat < 1e-8:
        return math.copysign(1.0, uz) * cosine, b, a
    vz = uz * cosine - flat * a
    vy = uy * cosine + (uy * uz * a + ux * b) / flat
    vx = ux * cosine + (ux * uz * a - uy * b) / flat
    scale = 1.0 / math.sqrt(vz * vz + vy * vy + vx * vx)
    return vz * scale, vy * scale, vx * scale


@_compiled
def _emitted(
    u: float, candidate: int, source: Source, state: Array
) -> tuple[int, float, float, float, float, float, float]:
    """The emitting voxel of cumulative activity `u`, at or behind `candidate`, and a place and direction in it."""
    while source.cumulative[candidate] < u and candidate < source.cumulative.size - 1:
        candidate += 1
    z = source.voxel[candidate, 0] + _uniform(state)
    y = source.voxel[candidate, 1] + _uniform(state)
    x = source.voxel[candidate, 2] + _uniform(state)
    uz = 2.0 * _uniform(state) - 1.0
    flat, azimuth = math.sqrt(1.0 - uz * uz), 2.0 * math.pi * _uniform(state)
    return candidate, z, y, x, uz, flat * math.sin(azimuth), flat * math.cos(azimuth)


@_compiled
def flown(
    z: float, y: float, x: float, uz: float, uy: float, ux: float, row: int, medium: Medium, state: Array
) -> tuple[float, float, float, float, bool]:
    """Woodcock's flight to the next interaction: the place, its incoherent share, and False if the photon got out.

    Woodcock et al., ANL-7050 (1965), p. 557: steps by the largest attenuation, kept with probability mu over it.
    """
    mu, table = medium.mu, medium.table
    nz, ny, nx, _ = mu.shape
    soft_ratio, bone_ratio, majorant = table[row, TRANSPORT], table[row, TRANSPORT + 1], table[row, MAJORANT]
    longer = -1.0 / majorant
    while True:
        step = longer * math.log(_uniform(state))
        z += step * uz
        y += step * uy
        x += step * ux
        if not (0.0 <= z < nz and 0.0 <= y < ny and 0.0 <= x < nx):
            return z, y, x, 0.0, False
        k, j, i = int(z), int(y), int(x)
        soft, bone = mu[k, j, i, SOFT], mu[k, j, i, BONE]
        here = soft * soft_ratio + bone * bone_ratio
        if _uniform(state) * majorant < here:
            share = (soft * table[row, INCOHERENT] + bone * table[row, INCOHERENT + 1]) / here
            return z, y, x, share, True


@_compiled
def path_out(z: float, y: float, x: float, dy: float, dx: float, mu: Array) -> tuple[float, float]:
    """Soft and bony attenuation on the straight way out within one slice, voxel by voxel.

    Amanatides & Woo, Eurographics 1987: the exact length in every voxel passed.
    """
    _, ny, nx, _ = mu.shape
    k, j, i = int(z), int(y), int(x)
    step_y, step_x = (1 if dy > 0 else -1), (1 if dx > 0 else -1)
    across_y = 1.0 / abs(dy) if abs(dy) > _PARALLEL else _NEVER
    across_x = 1.0 / abs(dx) if abs(dx) > _PARALLEL else _NEVER
    next_y = (j + 1 - y if dy > 0 else y - j) * across_y if abs(dy) > _PARALLEL else _NEVER
    next_x = (i + 1 - x if dx > 0 else x - i) * across_x if abs(dx) > _PARALLEL else _NEVER
    soft, bone, gone = 0.0, 0.0, 0.0
    while 0 <= j < ny and 0 <= i < nx:
        here_soft, here_bone = mu[k, j, i, SOFT], mu[k, j, i, BONE]
        if next_y < next_x:
            length, gone, j, next_y = next_y - gone, next_y, j + step_y, next_y + across_y
        else:
            length, gone, i, next_x = next_x - gone, next_x, i + step_x, next_x + across_x
        soft += here_soft * length
        bone += here_bone * length
    return soft, bone


@_compiled
def _deposit(image: Array, square: Array, weight: float, z: float, y: float, x: float, detector: Detector) -> None:
    """Spread a count over the pixels as the camera's response at its distance does; squares go beside it."""
    side, back = x - detector.middle_x, y - detector.middle_y
    plane = int(PLANES_PER_VOXEL * (side * detector.sine - back * detector.cosine - detector.nearest) + 0.5)
    row = detector.first_row + z - 0.5
    column = detector.middle_column + side * detector.cosine + back * detector.sine
    r, c = int(row + 0.5), int(column + 0.5)
    reach, middle, shares = detector.reach[plane], detector.taps.shape[2] // 2, detector.taps.shape[1]
    if row < reach or column < reach or r + reach >= image.shape[0] or c + reach >= image.shape[1]:
        return
    down = detector.taps[plane, int((row + 0.5 - r) * shares)]
    along = detector.taps[plane, int((column + 0.5 - c) * shares)]
    for p in range(-reach, reach + 1):
        part = weight * down[middle + p]
        for q in range(-reach, reach + 1):
            value = part * along[middle + q]
            image[r + p, c + q] += value
            square[r + p, c + q] += value * value


@_compiled
def follow(
    seed: np.uint64,
    histories: int,
    weight: float,
    orders: int,
    source: Source,
    medium: Medium,
    detector: Detector,
    images: Array,
    by_order: Array,
) -> None:
    """Follow photons to their end and force what they send to one detector into `images` [4, row, column], padded.

    Emission is spread evenly over the cumulative activity; absorption lowers the weight; a scattered photon ends when
    it leaves the body, falls below the energy that the window can accept, or has scattered `orders` times. Totals go to
    `by_order` [primary, straight on by coherent scatter, scattered once, twice, ...].
    """
    state = np.empty(1, np.uint64)
    state[0] = seed
    dy, dx = -detector.cosine, detector.sine
    table, mu, last = medium.table, medium.mu, medium.table.shape[0] - 1
    primary, scatter = images[PRIMARY], images[SCATTER]
    primary_squared, scatter_squared = images[PRIMARY_SQUARED], images[SCATTER_SQUARED]
    candidate = 0
    for n in range(histories):
        u = (n + _uniform(state)) / histories
        candidate, z, y, x, uz, uy, ux = _emitted(u, candidate, source, state)
        soft, bone = path_out(z, y, x, dy, dx, mu)
        straight = soft * table[last, COHERENT] + bone * table[last, COHERENT + 1]
        through = (
            weight
            * table[last, ACCEPTANCE]
            * math.exp(-soft * table[last, TRANSPORT] - bone * table[last, TRANSPORT + 1])
        )
        seen = through * math.exp(-straight)
        _deposit(primary, primary_squared, seen, z, y, x, detector)
        by_order[0] += seen
        if through > seen:
            _deposit(scatter, scatter_squared, through - seen, z, y, x, detector)
            by_order[1] += through - seen
        energy, row, alive = medium.source_kev, last, weight
        for order in range(1, orders + 1):
            z, y, x, share, inside = flown(z, y, x, uz, uy, ux, row, medium, state)
            if not inside:
                break
            alive *= share
            energy_seen, per_sr = compton(energy, uy * dy + ux * dx)
            if energy_seen > medium.floor_kev:
                at = int((energy_seen - medium.floor_kev) * medium.rows_per_kev + 0.5)
                soft, bone = path_out(z, y, x, dy, dx, mu)
                seen = (
                    alive
                    * per_sr
                    * table[row, PER_SIGMA]
                    * table[at, ACCEPTANCE]
                    * math.exp(-soft * table[at, TRANSPORT] - bone * table[at, TRANSPORT + 1])
                )
                _deposit(scatter, scatter_squared, seen, z, y, x, detector)
                by_order[order + 1] += seen
            cosine = scatter_cosine(energy, state)
            energy, _ = compton(energy, cosine)
            if energy <= medium.floor_kev:
                break
            uz, uy, ux = turned(uz, uy, ux, cosine, state)
            row = int((energy - medium.floor_kev) * medium.rows_per_kev + 0.5)


@_compiled
def follow_analogue(
    seed: np.uint64, histories: int, orders: int, source: Source, medium: Medium, widest: float, by_order: Array
) -> None:
    """Photons as nature has them, no forcing and no weights: those that leave with ``|uz| < widest`` are counted.

    The solid angle of that band is ``4 pi widest``, so for a body of revolution about z ``by_order[order]`` is what one
    detector position sees of each photon emitted; order n of it scattered n times (incoherently).
    """
    state = np.empty(1, np.uint64)
    state[0] = seed
    last = medium.table.shape[0] - 1
    candidate = 0
    for n in range(histories):
        u = (n + _uniform(state)) / histories
        candidate, z, y, x, uz, uy, ux = _emitted(u, candidate, source, state)
        energy, row = medium.source_kev, last
        for order in range(orders + 1):
            z, y, x, share, inside = flown(z, y, x, uz, uy, ux, row, medium, state)
            if not inside:
                if abs(uz) < widest:
                    by_order[order] += medium.table[row, ACCEPTANCE] / (widest * histories)
                break
            if _uniform(state) > share:
                break
            cosine = scatter_cosine(energy, state)
            energy, _ = compton(energy, cosine)
            if energy <= medium.floor_kev:
                break
            uz, uy, ux = turned(uz, uy, ux, cosine, state)
            row = int((energy - medium.floor_kev) * medium.rows_per_kev + 0.5)
