"""What the body takes away on the way out, and Chang's factor that gives it back on average."""

import math

import torch
from torch import Tensor

from photopeak.core import Grid, Volume, attenuation
from photopeak.core.errors import BadValues
from photopeak.core.units import MM_PER_CM, TC99M_KEV
from photopeak.physics.rotate import rotation_matrix

LARGEST_MU_PER_CM = 1.0


def checked_mu(mu: Volume | None, grid: Grid, energy_kev: float = TC99M_KEV) -> Volume | None:
    """`mu` as a camera may use it: linear attenuation at its photon energy, on the image's grid, 0 to 1/cm.

    Raises
    ------
    WrongQuantity, GridMismatch, BadValues : it is something else, lies elsewhere, or holds HU or negative numbers.
    """
    if mu is None:
        return None
    mu.require(attenuation(energy_kev), name="mu")
    grid.require_same(mu.grid, mine="image", theirs="mu")
    low, high = (float(v) for v in torch.aminmax(mu.data))
    if not (low >= 0 and high <= LARGEST_MU_PER_CM):
        raise BadValues(
            f"mu from {low:g} to {high:g} 1/cm",
            needed=f"0 to {LARGEST_MU_PER_CM:g} 1/cm",
            remedy="If these are HU, use photopeak.physics.mumap.mu_from_ct.",
        )
    return mu


def survival(mu_rotated: Tensor, step_mm: float) -> Tensor:
    """Probability of leaving toward the detector from the middle of each voxel.

    Parameters
    ----------
    mu_rotated : [depth, column, z], 1/cm; depth 0 is nearest the detector.
    step_mm : depth of a voxel.
    """
    path = (mu_rotated.cumsum(0) - 0.5 * mu_rotated) * (step_mm / MM_PER_CM)
    return torch.exp(-path)


def factor_of_paths(exponents: Tensor, dim: int) -> Tensor:
    """Inverse of the mean survival over angles: PADM Eq. 11 and 13 (Chang 1978, first order).

    ``1 / mean_m exp(-e_m)``, as ``exp(-(logsumexp(-e) - log N))`` with N the number of exponents along `dim`;
    at least 1 for exponents of at least 0.
    """
    n = exponents.shape[dim]
    return torch.exp(math.log(n) - torch.logsumexp(-exponents, dim=dim))


def correction_factor(
    mu: Tensor, voxel_mm: float, *, views: int = 60, start_deg: float = 0.0, arc_deg: float = 360.0
) -> Tensor:
    """Chang's multiplicative correction factor of every voxel.

    Parameters
    ----------
    mu : [z, y, x], 1/cm, square transaxial slices.
    voxel_mm : voxel size.
    views, start_deg, arc_deg : angles over which survival is averaged; Chang's is the whole circle.

    Returns
    -------
    Tensor [z, y, x], at least 1.
    """
    nz, n, _ = mu.shape
    flat = mu.permute(1, 2, 0).reshape(n * n, nz).contiguous()
    exponents = []
    for view in range(views):
        forward, back = rotation_matrix(n, start_deg + arc_deg * view / views, dtype=mu.dtype, device=mu.device)
        path = -torch.log(survival((forward @ flat).reshape(n, n, nz), voxel_mm))
        weight = (back @ torch.ones(n * n, 1, dtype=mu.dtype, device=mu.device)).clamp(min=0.25)
        exponents.append((back @ path.reshape(n * n, nz)) / weight)
    return factor_of_paths(torch.stack(exponents), dim=0).reshape(n, n, nz).permute(2, 0, 1)
