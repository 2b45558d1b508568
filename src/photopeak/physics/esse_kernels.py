"""Kernels of effective-source scatter estimation: how a point source in water scatters toward a detector.

Photons of an isotropic point source walk through boundless water, by the cross sections of the photon tracker. Every
Compton collision counts as a new source that shines toward the detector with its Klein-Nishina weight, times the chance
that its photon is counted in the energy window. What a point of unit activity makes of an offset r is then

    k_n(r) = < weight (mu(E) / mu_0 - 1)^n / n! >,   n = 0, 1, 2,

with E the energy after the last scatter and mu_0 the attenuation of unscattered photons, both of water: the moments
that the series of Frey and Tsui needs (see `photopeak.physics.esse`). By symmetry they depend on the distance and on
the angle between offset and detector alone, and are tallied in shells and cosines. Coherent scatter goes straight on
with its energy: before a Compton collision its last event counts as a source of the foremost cosine; after one it is no
loss, so that mu(E) is without it while mu_0 is with it.
"""

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from photopeak.core import EnergyWindow
from photopeak.core.errors import BadArgument, UnreadableFile
from photopeak.core.projections import TC99M_WINDOW
from photopeak.core.units import MM_PER_CM, TC99M_KEV
from photopeak.physics.cross_sections import ELECTRON_KEV, HIGHEST_KEV, LOWEST_KEV, WATER, klein_nishina_total
from photopeak.physics.photons import Acceptance
from photopeak.physics.threads import in_shares

Array = np.ndarray

TERMS, SHELLS, COSINES = 3, 100, 40
SHELL_MM = 4.0
SHIPPED = Path(__file__).with_name("esse_kernels.safetensors")

_ENERGIES = 1024
_NEGLIGIBLE = 1e-4
_DIRECTIONS = 8
_BLOCKS = 64
_TRANSPORT, _COMPTON, _DENSITY, _COUNTED, _EXCESS = range(5)


@dataclass(frozen=True, eq=False)
class ScatterKernels:
    """Scatter of a unit point source in water, for one energy window.

    Parameters
    ----------
    moments : [term, shell, cosine], effective activity in each shell of 4 mm and each of 40 equal steps of the cosine
        between offset and detector from -1 to 1; the term n holds ``(mu(E) / mu_0 - 1)^n / n!``.
    window : what is counted, in units of unscattered photons counted in the 20 % window about the photopeak.
    energy_kev, energy_resolution : of the photons emitted; of the detector, FWHM over energy.
    histories, seed : of the random walk.
    """

    moments: Array
    window: EnergyWindow
    energy_kev: float
    energy_resolution: float
    histories: int
    seed: int

    def save(self, path: Path) -> None:
        """Write the moments, and how they were made, as safetensors."""
        record = {name: value for name, value in vars(self).items() if name not in ("moments", "window")}
        record["window_kev"] = [self.window.lower_kev, self.window.upper_kev]
        save_file({"moments": self.moments.astype(np.float32)}, path, metadata={"kernels": json.dumps(record)})

    @classmethod
    def load(cls, path: Path) -> "ScatterKernels":
        """Read what `save` wrote."""
        try:
            with safe_open(path, framework="numpy") as file:
                record = json.loads(file.metadata()["kernels"])
                return cls(file.get_tensor("moments"), EnergyWindow(*record.pop("window_kev")), **record)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise UnreadableFile(
                f"{path}: {error}", needed="scatter kernels", remedy="Make them: make_kernels(window).save(path)."
            ) from error


@functools.cache
def shipped_kernels() -> ScatterKernels:
    """Tc-99m, 126.45 to 154.55 keV, 9.5 % energy resolution."""
    return ScatterKernels.load(SHIPPED)


def make_kernels(
    window: EnergyWindow = TC99M_WINDOW,
    *,
    energy_kev: float = TC99M_KEV,
    energy_resolution: float = 0.095,
    histories: int = 1_000_000,
    seed: int = 0,
) -> ScatterKernels:
    """Kernels of any energy window by a random walk; the same seed gives the same kernels on any number of threads.

    Parameters
    ----------
    window : what is counted.
    energy_kev : energy of the photons emitted, at most 600.
    energy_resolution : FWHM of the detector over energy, at `energy_kev`; it widens with the root of energy.

    Raises
    ------
    BadArgument : a window, energy or resolution that no camera has.
    """
    low, high = window.lower_kev, window.upper_kev
    if not (0 <= low < high and LOWEST_KEV < energy_kev <= HIGHEST_KEV and 0 < energy_resolution < 1 and histories > 0):
        raise BadArgument(
            f"window {low:g} to {high:g} keV, energy_kev={energy_kev:g}, energy_resolution={energy_resolution:g}, "
            f"histories={histories}",
            needed=f"lower below upper, {LOWEST_KEV:g} to {HIGHEST_KEV:g} keV, a fraction, and some photons",
            remedy="Give keV, and the resolution as a fraction (0.095 for 9.5 %).",
        )
    floor_kev, table = _table(Acceptance(window, energy_resolution, energy_kev))
    coherent = float(WATER.coherent_per_cm(energy_kev))
    each = -(-histories // _BLOCKS)

    def walk(start: int, stop: int) -> list[Array]:
        tallies = []
        for block in range(start, stop):
            tally = np.zeros((TERMS, SHELLS, COSINES))
            _walk(each, np.random.default_rng((seed, block)), energy_kev, floor_kev, table, coherent, tally)
            tallies.append(tally)
        return tallies

    blocks = [tally for share in in_shares(walk, _BLOCKS) for tally in share]
    moments = (np.sum(blocks, axis=0) / _BLOCKS).astype(np.float32)
    return ScatterKernels(moments, window, energy_kev, energy_resolution, each * _BLOCKS, seed)


def _table(accept: Acceptance) -> tuple[float, Array]:
    """Lowest energy that is worth following, and [energy, column] in equal steps from there to the emitted energy."""
    energies = np.linspace(LOWEST_KEV, accept.energy_kev, 4 * _ENERGIES)
    counted = accept(energies)
    floor_kev = max(LOWEST_KEV, min(energies[counted > _NEGLIGIBLE * counted.max()][0], accept.energy_kev - 1))
    energies = np.linspace(floor_kev, accept.energy_kev, _ENERGIES)
    table = np.zeros((_ENERGIES, 5))
    table[:, _TRANSPORT] = WATER.mu_per_cm(energies) - WATER.coherent_per_cm(energies)
    table[:, _COMPTON] = WATER.incoherent_per_cm(energies)
    table[:, _DENSITY] = 4 * math.pi * WATER.incoherent_per_cm(energies) / klein_nishina_total(energies)
    table[:, _COUNTED] = accept(energies)
    table[:, _EXCESS] = table[:, _TRANSPORT] / WATER.mu_per_cm(accept.energy_kev) - 1
    return float(floor_kev), table


@numba.njit(nogil=True, cache=True, fastmath=True)
def _klein_nishina(energy_kev, cosine):
    """Differential cross section of one electron, in squared electron radii per steradian, and the energy left."""
    kept = 1 / (1 + energy_kev / ELECTRON_KEV * (1 - cosine))
    return 0.5 * kept**2 * (kept + 1 / kept - 1 + cosine**2), kept * energy_kev


@numba.njit(nogil=True, cache=True, fastmath=True)
def _turned(direction, cosine, azimuth):
    """The direction at an angle to another, both of unit length."""
    x, y, z = direction
    sine = math.sqrt(max(0.0, 1 - cosine**2))
    along, across = sine * math.cos(azimuth), sine * math.sin(azimuth)
    flat = math.sqrt(max(1e-24, 1 - z * z))
    if flat < 1e-9:
        return along, across, math.copysign(cosine, z * cosine)
    return (
        cosine * x + (along * x * z - across * y) / flat,
        cosine * y + (along * y * z + across * x) / flat,
        cosine * z - along * flat,
    )


@numba.njit(nogil=True, cache=True, fastmath=True)
def _walk(histories, rng, emitted_kev, floor_kev, table, coherent, tally):
    """Add the scatter of photons from the origin to `tally` [term, shell, cosine]; what is absorbed loses weight."""
    reach_cm = SHELLS * SHELL_MM / MM_PER_CM
    rows_per_kev = (_ENERGIES - 1) / (emitted_kev - floor_kev)
    for _ in range(histories):
        energy, weight = emitted_kev, 1.0 / histories
        direction = _turned((0.0, 0.0, 1.0), 2 * rng.random() - 1, 2 * math.pi * rng.random())
        x = y = z = 0.0
        while energy > floor_kev:
            row = table[int((energy - floor_kev) * rows_per_kev + 0.5)]
            path = -math.log(1 - rng.random()) / row[_TRANSPORT]
            x, y, z = x + path * direction[0], y + path * direction[1], z + path * direction[2]
            distance = math.sqrt(x * x + y * y + z * z)
            if distance >= reach_cm:
                break
            shell = int(distance / reach_cm * SHELLS)
            offset = (x / distance, y / distance, z / distance)
            if energy == emitted_kev:
                tally[0, shell, COSINES - 1] += weight / row[_TRANSPORT] * coherent * row[_COUNTED]
            shone = weight / row[_TRANSPORT] * row[_DENSITY]
            _shine(shone, energy, direction, offset, rng, floor_kev, rows_per_kev, table, tally[:, shell])
            weight *= row[_COMPTON] / row[_TRANSPORT]
            cosine, energy = _scattered(energy, rng)
            direction = _turned(direction, cosine, 2 * math.pi * rng.random())


@numba.njit(nogil=True, cache=True, fastmath=True)
def _shine(weight, energy_kev, direction, offset, rng, floor_kev, rows_per_kev, table, tally):
    """Add what one collision sends to detectors in eight stratified directions to `tally` [term, cosine]."""
    for k in range(_DIRECTIONS):
        cosine = 2 * (k + rng.random()) / _DIRECTIONS - 1
        density, left_kev = _klein_nishina(energy_kev, cosine)
        if left_kev <= floor_kev:
            continue
        row = table[int((left_kev - floor_kev) * rows_per_kev + 0.5)]
        toward = _turned(direction, cosine, 2 * math.pi * rng.random())
        facing = offset[0] * toward[0] + offset[1] * toward[1] + offset[2] * toward[2]
        place = min(COSINES - 1, max(0, int(0.5 * (facing + 1) * COSINES)))
        score = weight * density * row[_COUNTED] / _DIRECTIONS
        for term in range(TERMS):
            tally[term, place] += score
            score *= row[_EXCESS] / (term + 1)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _scattered(energy_kev, rng):
    """Cosine and energy after a Compton scatter, by rejection."""
    while True:
        cosine = 2 * rng.random() - 1
        density, left_kev = _klein_nishina(energy_kev, cosine)
        if rng.random() <= density:
            return cosine, left_kev


@functools.lru_cache(maxsize=4)
def voxel_kernels(kernels: ScatterKernels, voxel_mm: float, reach: tuple[int, int, int]) -> Array:
    """The kernels between voxels: what a voxel of unit activity makes of another one, both taken as filled evenly.

    Parameters
    ----------
    reach : largest offset (depth, column, z), voxels; what falls farther is left out.

    Returns
    -------
    Array [term, depth, column, z] of ``2 reach + 1`` offsets each; the detector is at depth minus infinity.
    """
    points, mass = _spread(kernels.moments)
    index = points / voxel_mm + np.array(reach)
    base = np.floor(index).astype(int)
    share = index - base
    shape = tuple(2 * r + 1 for r in reach)
    made = np.zeros((len(mass), math.prod(shape)))
    for corner in np.ndindex(2, 2, 2):
        place = base + corner
        weight = np.prod(np.where(corner, share, 1 - share), axis=-1)
        inside = ((place >= 0) & (place < shape)).all(-1)
        flat = np.ravel_multi_index(tuple(place[inside].T), shape)
        for term, values in enumerate(mass):
            made[term] += np.bincount(flat, values[inside] * weight[inside], minlength=math.prod(shape))
    whole = made.reshape(-1, *shape)
    whole = 0.5 * (whole + whole[:, :, ::-1])
    return 0.5 * (whole + whole[..., ::-1])


def _spread(moments: Array, *, finer: int = 2, azimuths: int = 32) -> tuple[Array, Array]:
    """Points [point, (depth, column, z)] in mm that fill a quarter of the shells, and their mass [term, point]."""
    _, shells, cosines = moments.shape
    radius = (np.arange(shells * finer) + 0.5) * SHELL_MM / finer
    cosine = (np.arange(cosines * finer) + 0.5) * 2 / (cosines * finer) - 1
    golden = (math.sqrt(5) - 1) / 2
    start = (golden * np.arange(len(radius) * len(cosine)) % 1).reshape(len(radius), len(cosine), 1)
    azimuth = (np.arange(azimuths) + start) / azimuths * math.pi / 2
    across = radius[:, None, None] * np.sqrt(1 - cosine**2)[:, None]
    depth = np.broadcast_to(-radius[:, None, None] * cosine[:, None], azimuth.shape)
    points = np.stack([depth, across * np.cos(azimuth), across * np.sin(azimuth)], axis=-1)
    each = moments.astype(float).repeat(finer, axis=1).repeat(finer, axis=2) / (finer**2 * azimuths)
    return points.reshape(-1, 3), np.broadcast_to(each[..., None], (*each.shape, azimuths)).reshape(len(moments), -1)
