"""The Butterworth low-pass that clinical cardiac SPECT is shown through."""

import torch
from torch import Tensor

from photopeak.core.units import MM_PER_CM


def butterworth(image: Tensor, voxel_mm: float, *, cutoff_per_cm: float = 0.45, order: float = 5.0) -> Tensor:
    """Three-dimensional ``1 / sqrt(1 + (f/fc)^(2 order))``; negative ringing is cut at zero.

    Parameters
    ----------
    image : [..., z, y, x].
    voxel_mm : isotropic voxel size.
    cutoff_per_cm : cutoff frequency, cycles/cm; clinical 0.40 to 0.52.
    order : 5 is what some consoles call power 10.
    """
    pad = int(3 * MM_PER_CM / (cutoff_per_cm * voxel_mm)) + 1
    padded = torch.nn.functional.pad(image, (pad,) * 6)
    axes = [
        torch.fft.fftfreq(n, voxel_mm / MM_PER_CM, dtype=image.dtype, device=image.device) for n in padded.shape[-3:]
    ]
    axes[2] = axes[2][: padded.shape[-1] // 2 + 1].abs()
    squared = axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2
    gain = torch.rsqrt(1 + (squared / cutoff_per_cm**2) ** order)
    smooth = torch.fft.irfftn(torch.fft.rfftn(padded, dim=(-3, -2, -1)) * gain, s=padded.shape[-3:], dim=(-3, -2, -1))
    return smooth[..., pad:-pad, pad:-pad, pad:-pad].clamp(min=0)
