"""What every metric needs first: two volumes that may be compared, and the voxels that count."""

import torch
from torch import Tensor

from photopeak.core import Volume
from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch


def require_mask(mask: Tensor | None, like: Tensor) -> Tensor:
    """The mask as bool [z, y, x] on the device of `like`; everything if None."""
    if mask is None:
        return torch.ones_like(like, dtype=torch.bool)
    if mask.shape != like.shape:
        raise ShapeMismatch(
            f"mask of shape {tuple(mask.shape)}",
            needed=f"{tuple(like.shape)} [z, y, x], as the volumes",
            remedy="Make the mask on the grid of the volumes.",
        )
    if mask.dtype != torch.bool or not mask.any():
        raise BadArgument(
            f"mask of {mask.dtype} with {int((mask != 0).sum())} voxels set",
            needed="a bool mask with at least one voxel",
            remedy="Threshold it: mask > 0.5.",
        )
    return mask.to(like.device)


def require_comparable(estimate: Volume, truth: Volume) -> tuple[Tensor, Tensor]:
    """Both arrays [z, y, x] in float64; one grid, one quantity, finite numbers."""
    truth.grid.require_same(estimate.grid, mine="truth", theirs="estimate")
    estimate.require(truth.quantity, name="estimate")
    for name, volume in (("estimate", estimate), ("truth", truth)):
        require_finite(volume.data, name=name)
    return estimate.data.detach().double(), truth.data.detach().double().to(estimate.data.device)


def require_finite(values: Tensor, *, name: str) -> None:
    """Raise BadValues, naming the thing, at NaN or infinity."""
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise BadValues(
            f'"{name}" has {bad} NaN or infinite entries', needed="finite numbers", remedy="Mend its source."
        )


def values_within(estimate: Volume, truth: Volume, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Values of both volumes at the voxels of the mask, [voxel], float64."""
    e, t = require_comparable(estimate, truth)
    inside = require_mask(mask, t)
    return e[inside], t[inside]


def best_factor(estimate: Tensor, truth: Tensor) -> float:
    """The number c that minimises ``||c estimate - truth||``: <estimate, truth> / <estimate, estimate>."""
    power = float((estimate * estimate).sum())
    if power == 0:
        raise BadValues("an estimate that is zero everywhere", needed="an image", remedy="Nothing can be scaled to it.")
    return float((estimate * truth).sum()) / power


def least_squares_factor(estimate: Volume, truth: Volume, mask: Tensor | None = None) -> float:
    """The one factor that brings `estimate` closest to `truth` in least squares, within the mask."""
    return best_factor(*values_within(estimate, truth, mask))


def require_peak(truth: Tensor, data_range: float | None) -> float:
    """The stated range, or the truth's maximum; positive."""
    peak = float(truth.max()) if data_range is None else float(data_range)
    if peak <= 0:
        raise BadValues(
            f"a range of {peak:g}",
            needed="a positive maximum of the truth",
            remedy="Check the truth, or give data_range.",
        )
    return peak
