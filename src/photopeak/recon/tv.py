"""Total variation as an update: the proximal step, by fast gradient projection on the dual (Beck and Teboulle 2009).

Differences are forward; nothing flows through the edge of the image (zero flux), so that the sum of the counts stays.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.recon.updates import Update

AXES = {"z": -3, "y": -2, "x": -1}


def total_variation(
    image: Tensor, *, axis: str = "zyx", voxel_mm: Sequence[float] = (1.0, 1.0, 1.0), smallest: float = 0.0
) -> Tensor:
    """Sum over voxels of the length of the gradient along some axes.

    Parameters
    ----------
    image : [..., z, y, x].
    axis : any of "z", "y", "x", "yx", "zyx": lengths are Euclidean over the axes named.
    voxel_mm : (dz, dy, dx); ones measure per voxel.
    smallest : added in square below the root, where a derivative is wanted.

    Returns
    -------
    Tensor [...].
    """
    squared = torch.stack([d.square() for d in _differences(image, _scales(axis, voxel_mm))]).sum(0)
    return (squared + smallest**2).sqrt().sum((-3, -2, -1))


def tv_update(
    *, strength: float, axis: str = "zyx", voxel_mm: Sequence[float] = (1.0, 1.0, 1.0), iterations: int = 50
) -> Update:
    """``x -> argmin_u |u - x|^2 / 2 + strength * TV(u)``, along z alone for slice consistency or in 3-D.

    Parameters
    ----------
    strength : along one axis, a flat run of n voxels beside a step comes nearer to the other side by strength / n;
        in counts, or in counts x mm where `voxel_mm` is given.
    axis, voxel_mm : as for `total_variation`.
    iterations : of the dual.

    Returns
    -------
    Update : keeps the mean of every image of a batch.
    """
    scales = _scales(axis, voxel_mm)
    if not 0 <= strength < math.inf or iterations < 1:
        raise BadArgument(
            f"strength={strength}, iterations={iterations}",
            needed="a strength of at least 0 and at least 1 iteration",
            remedy="0 changes nothing.",
        )
    rate = 1 / sum(4 * scale**2 for scale in scales.values())

    def update(image: Tensor) -> Tensor:
        if strength == 0:
            return image
        dual = image.new_zeros(len(scales), *image.shape)
        ahead, momentum = dual, 1.0
        for _ in range(iterations):
            raised = ahead + rate * torch.stack(_differences(image - _divergence(ahead, scales), scales))
            following = raised * (strength / raised.norm(dim=0).clamp(min=strength))
            slower = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            ahead = following + (momentum - 1) / slower * (following - dual)
            dual, momentum = following, slower
        return image - _divergence(dual, scales)

    return update


def _scales(axis: str, voxel_mm: Sequence[float]) -> dict[int, float]:
    """Tensor axis to one over voxel size."""
    if not axis or len(set(axis)) != len(axis) or not set(axis) <= set(AXES):
        raise BadArgument(f"axis={axis!r}", needed='some of "z", "y", "x"', remedy='For example "z" or "zyx".')
    if len(voxel_mm) != 3 or not all(0 < size < math.inf for size in voxel_mm):
        raise BadArgument(
            f"voxel_mm={tuple(voxel_mm)}", needed="three positive lengths (dz, dy, dx)", remedy="Give grid.spacing_mm."
        )
    return {AXES[name]: 1 / voxel_mm[AXES[name]] for name in axis}


def _differences(image: Tensor, scales: dict[int, float]) -> list[Tensor]:
    """Forward differences along each axis, 0 at its end."""
    return [torch.diff(image, dim=dim, append=image.narrow(dim, -1, 1)) * scale for dim, scale in scales.items()]


def _divergence(dual: Tensor, scales: dict[int, float]) -> Tensor:
    """The transpose of `_differences`; each axis of it adds up to 0 along every line."""
    total = torch.zeros_like(dual[0])
    for flow, (dim, scale) in zip(dual, scales.items(), strict=True):
        inner = flow.narrow(dim, 0, flow.shape[dim] - 1) * scale
        total.narrow(dim, 0, flow.shape[dim] - 1).sub_(inner)
        total.narrow(dim, 1, flow.shape[dim] - 1).add_(inner)
    return total
