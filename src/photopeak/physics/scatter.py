"""Scatter as a broad, depth-independent blur of the primary counts: right in amount, approximate in shape."""

import torch
from torch import Tensor

from photopeak.physics.response import FWHM_PER_SIGMA, gaussian_toeplitz


def broad_scatter(primary: Tensor, pixel_mm: float, *, ratio: float = 0.33, fwhm_mm: float = 70.0) -> Tensor:
    """Expected scatter of expected primary counts.

    Parameters
    ----------
    primary : [..., view, row, column], counts.
    pixel_mm : detector pixel.
    ratio : scatter to primary, 0.30 to 0.40 for Tc-99m in the heart region.
    fwhm_mm : width of the blur (sigma 25 to 35 mm).
    """
    rows, columns = primary.shape[-2:]
    sigma = torch.tensor([fwhm_mm / FWHM_PER_SIGMA / pixel_mm], dtype=primary.dtype, device=primary.device)
    over_rows, over_columns = gaussian_toeplitz(rows, sigma)[0], gaussian_toeplitz(columns, sigma)[0]
    return ratio * (over_rows @ primary @ over_columns)
