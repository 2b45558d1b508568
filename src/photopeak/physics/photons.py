"""Monte Carlo of SPECT: photons followed through the body, the reference that scatter models are held against.

Photons start in voxels by activity, fly by Woodcock's method, and Compton-scatter by Klein and Nishina's law. At every
emission and scatter the part that would reach the detector is forced there, straight along its normal, as in
convolution-based forced detection (de Jong, Slijpen & Beekman, IEEE Trans Nucl Sci 2001;48:58):
the probability of that direction, times survival on the exact way out, times the window's acceptance of the energy,
spread over the pixels by the collimator's response at that distance. Each history serves one view.

The body is two materials: up to muscle's attenuation, everything behaves as muscle of another density (lung and fat
differ from it by less than 1 % above 100 keV); beyond, a voxel is a mixture of muscle and cortical bone.
Coherent scatter of these energies turns photons by a few degrees: it is taken as going straight on with its energy.
Photons that leave the grid are lost, so scatter from beyond its first and last slice is missing. Activity fills its
voxels, where a system operator puts it in their middles: primaries agree with it but for that share of blur, and noise.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import erf
from torch import Tensor

from photopeak.core import Volume
from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.core.projections import TC99M_WINDOW, EnergyWindow
from photopeak.core.units import MM_PER_CM, TC99M_KEV
from photopeak.physics import photon_kernels as kernels
from photopeak.physics.cross_sections import CORTICAL_BONE, HIGHEST_KEV, LOWEST_KEV, MUSCLE, klein_nishina_total
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.response import FWHM_PER_SIGMA
from photopeak.physics.threads import in_shares

Array = np.ndarray

_ENERGIES = 2048
_NEGLIGIBLE = 1e-4
_CHUNKS = 64
_SHARES_OF_PIXEL = 16
_REACH_IN_SIGMA = 3.5


@dataclass(frozen=True, eq=False)
class PhotonCounts:
    """What a camera sees, in the unit of ``camera.system(grid, mu)(activity)``.

    Parameters
    ----------
    primary, scatter : float64 Tensors [view, row, column], expected counts of unscattered and of scattered photons.
    primary_variance, scatter_variance : [view, row, column], variance of the two: the sum of squared contributions.
    by_order : [view, 2 + orders], totals of primary, straight on (coherent only), scattered once, twice, ...
    histories : photons followed.
    """

    primary: Tensor
    scatter: Tensor
    primary_variance: Tensor
    scatter_variance: Tensor
    by_order: Tensor
    histories: int


class Acceptance(NamedTuple):
    """An energy window on a detector of finite resolution: Gaussian, FWHM growing as the root of the energy."""

    window: EnergyWindow
    resolution: float
    energy_kev: float

    def __call__(self, energy_kev: Array | float) -> Array:
        """Photons counted in the window, over unscattered ones counted in the 20 % window about the photopeak.

        Parameters
        ----------
        energy_kev : true energy of the photon at the crystal.
        """
        low, high = self.window.lower_kev, self.window.upper_kev
        return self._within(low, high, energy_kev) / self._within(
            0.9 * self.energy_kev, 1.1 * self.energy_kev, self.energy_kev
        )

    def _within(self, low_kev: float, high_kev: float, energy_kev: Array | float) -> Array:
        sigma = self.resolution / FWHM_PER_SIGMA * np.sqrt(self.energy_kev * np.asarray(energy_kev, dtype=float))
        scale = math.sqrt(2) * sigma
        return np.asarray(0.5 * (erf((high_kev - energy_kev) / scale) - erf((low_kev - energy_kev) / scale)))


def track(
    activity: Tensor,
    mu: Volume,
    camera: ParallelHole,
    *,
    histories: int,
    generator: torch.Generator,
    window: EnergyWindow = TC99M_WINDOW,
    energy_resolution: float = 0.095,
    energy_kev: float = TC99M_KEV,
    orders: int = 6,
    coherent: bool = True,
) -> PhotonCounts:
    """Primary and scattered photons that a camera counts of an activity, by Monte Carlo.

    Parameters
    ----------
    activity : [z, y, x] on the grid of `mu`, relative, non-negative.
    mu : linear attenuation at 140.5 keV, 1/cm; scaled by the materials' cross sections to other energies.
    camera : its views are shared out evenly among the histories; ``collimator=None`` counts without blur.
    histories : emitted photons, each followed to its end; at least one for each view.
    generator : same seed, same bits, whatever the number of threads.
    window : energies counted. Counts are in units of primaries in the 20 % window, whatever `window` is, so that
        several windows of one acquisition compare.
    energy_resolution : FWHM over energy, at `energy_kev`.
    energy_kev : of the emitted photons, 30 to 511.
    orders : most scatters followed; 0 for primaries (and `coherent`) alone.
    coherent : whether coherently scattered photons go straight on and count as scatter, or are lost.

    Raises
    ------
    WrongQuantity, GridMismatch : `mu` is something else, or its grid is none that the camera can see.
    ShapeMismatch, BadValues : the activity has another shape than `mu`, is negative, not finite, or zero everywhere.
    BadArgument : histories, window, resolution, energy or orders that mean nothing.
    """
    camera.system(mu.grid, mu)
    accept = Acceptance(window, energy_resolution, energy_kev)
    views = len(camera.angles_deg)
    _check(histories, views, accept, orders)
    source, body = _cropped(_checked_activity(activity, mu), mu.numpy())
    medium = _medium(body.mu, camera.pixel_mm, accept, coherent=coherent)
    detectors = [_detector(camera, view, mu.grid.shape, body.start) for view in range(views)]
    parts = -(-_CHUNKS // views)
    seeds = torch.randint(2**62, (views * parts,), generator=generator, device=generator.device).tolist()
    total = float(activity.sum(dtype=torch.float64))
    pad = detectors[0].taps.shape[2]
    rows, columns = camera.shape

    def follow(first: int, last: int) -> list[tuple[Array, Array]]:
        seen = []
        for chunk in range(first, last):
            view, part = divmod(chunk, parts)
            of_view = _share(histories, view, views)
            images, by_order = np.zeros((4, rows + 2 * pad, columns + 2 * pad)), np.zeros(orders + 2)
            kernels.follow(
                np.uint64(seeds[chunk]), _share(of_view, part, parts), total / of_view, orders,
                source, medium, detectors[view], images, by_order,
            )  # fmt: skip
            seen.append((images[:, pad:-pad, pad:-pad].copy(), by_order))
        return seen

    chunks = [chunk for share in in_shares(follow, views * parts) for chunk in share]
    images, by_order = (
        torch.from_numpy(np.stack(kind).reshape(views, parts, *kind[0].shape).sum(1)).to(activity.device)
        for kind in zip(*chunks, strict=True)
    )
    primary, scatter, primary_variance, scatter_variance = images.unbind(1)
    return PhotonCounts(primary, scatter, primary_variance, scatter_variance, by_order, histories)


def _share(whole: int, number: int, shares: int) -> int:
    return whole * (number + 1) // shares - whole * number // shares


def _check(histories: int, views: int, accept: Acceptance, orders: int) -> None:
    if histories < views:
        raise BadArgument(
            f"histories={histories} for {views} views",
            needed="at least one photon for each view",
            remedy="A million a view gives smooth scatter.",
        )
    low, high = accept.window.lower_kev, accept.window.upper_kev
    if not 0 <= low < high:
        raise BadArgument(
            f"window {low:g} to {high:g} keV", needed="0 <= lower_kev < upper_kev", remedy="Swap the limits."
        )
    if not LOWEST_KEV <= accept.energy_kev <= HIGHEST_KEV:
        raise BadArgument(
            f"energy_kev={accept.energy_kev:g}",
            needed=f"{LOWEST_KEV:g} to {HIGHEST_KEV:g} keV",
            remedy="Give the photopeak's energy.",
        )
    if not 0 < accept.resolution < 1:
        raise BadArgument(
            f"energy_resolution={accept.resolution:g}",
            needed="a fraction between 0 and 1",
            remedy="0.095 is usual for NaI at 140.5 keV, 0.06 for CZT.",
        )
    if orders < 0:
        raise BadArgument(f"orders={orders}", needed="0 or more", remedy="0 follows primaries only.")


def _checked_activity(activity: Tensor, mu: Volume) -> Array:
    if tuple(activity.shape) != mu.grid.shape:
        raise ShapeMismatch(
            f"activity of shape {tuple(activity.shape)}",
            needed=f"{mu.grid.shape}, the grid of mu",
            remedy="Resample one of them: volume.on(grid).",
        )
    values = activity.detach().cpu().double().numpy()
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() > 0):
        raise BadValues(
            f"activity from {values.min():g} to {values.max():g}",
            needed="finite numbers of at least zero, some above",
            remedy="Photons start where activity is positive.",
        )
    return values


class _Body(NamedTuple):
    """mu [z, y, x] of the smallest box with all matter and activity, and the box's first voxel (z, y, x)."""

    mu: Array
    start: Array


def _cropped(activity: Array, mu: Array) -> tuple[kernels.Source, _Body]:
    filled = np.argwhere((activity > 0) | (mu > 0))
    start, stop = filled.min(0), filled.max(0) + 1
    voxel = np.argwhere(activity > 0)
    cumulative = np.cumsum(activity[activity > 0])
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    return kernels.Source(voxel - start, cumulative / cumulative[-1]), _Body(mu[box], start)


def mixture(mu_per_cm: Array) -> tuple[Array, Array]:
    """The parts of an attenuation at 140.5 keV that are soft tissue and cortical bone, 1/cm each.

    Volumes of muscle and bone are mixed between their attenuations; above cortical bone's all is bone, denser.
    """
    soft, bone = float(MUSCLE.mu_per_cm(TC99M_KEV)), float(CORTICAL_BONE.mu_per_cm(TC99M_KEV))
    bony = np.clip((mu_per_cm - soft) / (bone - soft), 0, 1)
    of_soft = np.where(bony > 0, (1 - bony) * soft, mu_per_cm)
    return of_soft, mu_per_cm - of_soft


def _medium(mu_per_cm: Array, voxel_mm: float, accept: Acceptance, *, coherent: bool) -> kernels.Medium:
    energies = np.linspace(LOWEST_KEV, accept.energy_kev, 4 * _ENERGIES)
    accepted = accept(energies)
    counted = energies[accepted > _NEGLIGIBLE * accepted.max()] if accepted.max() > 0 else energies
    floor = max(LOWEST_KEV, min(counted[0], accept.energy_kev - 1))
    energies = np.linspace(floor, accept.energy_kev, _ENERGIES)
    table = np.zeros((_ENERGIES, kernels.COLUMNS))
    for number, material in enumerate((MUSCLE, CORTICAL_BONE)):
        whole = material.mu_per_cm(TC99M_KEV)
        kept_on = material.coherent_per_cm(energies) if coherent else np.zeros(_ENERGIES)
        table[:, kernels.TRANSPORT + number] = (material.mu_per_cm(energies) - kept_on) / whole
        table[:, kernels.INCOHERENT + number] = material.incoherent_per_cm(energies) / whole
        table[:, kernels.COHERENT + number] = kept_on / whole
    parts = np.stack(mixture(mu_per_cm), axis=-1) * (voxel_mm / MM_PER_CM)
    densest = parts.reshape(-1, 2)[int(np.argmax(mu_per_cm))]
    largest = table[:, [kernels.TRANSPORT, kernels.TRANSPORT + 1]] @ densest
    table[:, kernels.MAJORANT] = np.maximum(largest * (1 + 1e-6), 1e-9)
    table[:, kernels.ACCEPTANCE] = accept(energies)
    table[:, kernels.PER_SIGMA] = 4 * math.pi / klein_nishina_total(energies)
    per_kev = (_ENERGIES - 1) / (accept.energy_kev - floor)
    return kernels.Medium(np.ascontiguousarray(parts, np.float32), table, floor, accept.energy_kev, per_kev)


def _detector(camera: ParallelHole, view: int, shape: tuple[int, int, int], start: Array) -> kernels.Detector:
    _, n, _ = shape
    angle = math.radians(camera.angles_deg[view])
    nearest = -math.ceil(n / math.sqrt(2))
    planes = np.arange(-2 * nearest * kernels.PLANES_PER_VOXEL + 1) / kernels.PLANES_PER_VOXEL + nearest
    taps, reach = _taps(camera, camera.radii_mm[view] - planes * camera.pixel_mm)
    pad = taps.shape[2]
    return kernels.Detector(
        math.cos(angle), math.sin(angle),
        n / 2 - start[1], n / 2 - start[2],
        float(start[0] + pad), (n - 1) / 2 + pad,
        float(nearest), taps, reach,
    )  # fmt: skip


def _taps(camera: ParallelHole, distance_mm: Array) -> tuple[Array, Array]:
    """Shares of the pixels around a count [plane, place within its pixel, tap], and their reach [plane]."""
    if camera.collimator is None:
        return np.ones((len(distance_mm), _SHARES_OF_PIXEL, 1)), np.zeros(len(distance_mm), np.int64)
    fwhm = camera.collimator.fwhm_mm(torch.from_numpy(distance_mm)).numpy()
    sigma = fwhm / FWHM_PER_SIGMA / camera.pixel_mm
    reach = np.ceil(_REACH_IN_SIGMA * sigma).astype(np.int64)
    tap = np.arange(-reach.max(), reach.max() + 1)
    place = (np.arange(_SHARES_OF_PIXEL) + 0.5) / _SHARES_OF_PIXEL - 0.5
    offset = tap[None, None, :] - place[None, :, None]
    scale = math.sqrt(2) * sigma[:, None, None]
    share = 0.5 * (erf((offset + 0.5) / scale) - erf((offset - 0.5) / scale))
    share = np.where(np.abs(tap) <= reach[:, None, None], share, 0)
    return share / share.sum(2, keepdims=True), reach
