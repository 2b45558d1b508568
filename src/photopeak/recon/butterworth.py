"""The Butterworth low-pass that clinical cardiac SPECT is shown through."""

from collections.abc import Sequence

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.core.units import MM_PER_CM


def butterworth(
    image: Tensor, voxel_mm: float | Sequence[float], *, cutoff_per_cm: float = 0.45, order: float = 5.0
) -> Tensor:
    """Three-dimensional ``1 / sqrt(1 + (f/fc)^(2 order))``; negative ringing is cut at zero.

    Parameters
    ----------
    image : [..., z, y, x].
    voxel_mm : voxel size, one number or (dz, dy, dx).
    cutoff_per_cm : cutoff frequency, cycles/cm; clinical 0.40 to 0.52.
    order : 5 is what some consoles call power 10.

    Raises
    ------
    BadArgument : cutoff or order is not positive.
    """
    require_positive(cutoff_per_cm, order)
    sizes = (voxel_mm,) * 3 if isinstance(voxel_mm, int | float) else tuple(voxel_mm)
    pads = [edge(size, cutoff_per_cm) for size in sizes]
    padded = torch.nn.functional.pad(image, [pad for pad in reversed(pads) for _ in range(2)])
    axes = [
        torch.fft.fftfreq(n, size / MM_PER_CM, dtype=image.dtype, device=image.device)
        for n, size in zip(padded.shape[-3:], sizes, strict=True)
    ]
    axes[2] = axes[2][: padded.shape[-1] // 2 + 1].abs()
    squared = axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2
    spectrum = torch.fft.rfftn(padded, dim=(-3, -2, -1)) * gain(squared, cutoff_per_cm, order)
    smooth = torch.fft.irfftn(spectrum, s=padded.shape[-3:], dim=(-3, -2, -1))
    return smooth[..., *(slice(pad, -pad) for pad in pads)].clamp(min=0)


def gain(squared_per_cm: Tensor, cutoff_per_cm: float, order: float) -> Tensor:
    """``1 / sqrt(1 + (f^2 / fc^2)^order)`` of squared frequencies, 1/cm^2."""
    return torch.rsqrt(1 + (squared_per_cm / cutoff_per_cm**2) ** order)


def require_positive(cutoff_per_cm: float, order: float) -> None:
    """Raise BadArgument unless both are what a filter can have."""
    if not (cutoff_per_cm > 0 and order > 0):
        raise BadArgument(
            f"Butterworth cutoff {cutoff_per_cm} per cm, order {order}",
            needed="positive numbers",
            remedy="Clinical: 0.45 cycles/cm, order 5.",
        )


def edge(size_mm: float, cutoff_per_cm: float) -> int:
    """Zeros to add at an edge, so that what rings across it does not come back at the other."""
    return int(3 * MM_PER_CM / (cutoff_per_cm * size_mm)) + 1
