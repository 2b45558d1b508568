"""Distance-dependent resolution of a parallel-hole collimator, as pixel-integrated Gaussians.

Geometric resolution after Anger 1964 (effective hole length = length - 2/mu of the septa); hole data of GE LEHR from
the public SIMIND and GATE model definitions.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from photopeak.core.units import MM_PER_CM

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
LEAD_PER_CM_AT_140_KEV = 26.9


@dataclass(frozen=True)
class Collimator:
    """A parallel-hole collimator with the intrinsic resolution of the detector behind it.

    Parameters
    ----------
    name : as users know it.
    hole_mm, length_mm : hole diameter and length.
    intrinsic_fwhm_mm : resolution of the crystal and its electronics.
    """

    name: str
    hole_mm: float
    length_mm: float
    intrinsic_fwhm_mm: float

    def fwhm_mm(self, distance_mm: Tensor) -> Tensor:
        """System resolution at a distance from the collimator's face, mm."""
        effective = self.length_mm - 2 * MM_PER_CM / LEAD_PER_CM_AT_140_KEV
        geometric = self.hole_mm * (effective + distance_mm.clamp(min=0)) / effective
        return torch.sqrt(geometric**2 + self.intrinsic_fwhm_mm**2)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


GE_LEHR = Collimator("GE LEHR", hole_mm=1.5, length_mm=35.0, intrinsic_fwhm_mm=3.8)


def gaussian_toeplitz(size: int, sigma_px: Tensor) -> Tensor:
    """Blur matrices [plane, out, in]: a Gaussian of each sigma, integrated over the receiving pixel."""
    offset = torch.arange(size, dtype=sigma_px.dtype, device=sigma_px.device)
    distance = offset[:, None] - offset[None, :]
    scale = (sigma_px * math.sqrt(2)).reshape(-1, 1, 1)
    return 0.5 * (torch.erf((distance + 0.5) / scale) - torch.erf((distance - 0.5) / scale))
