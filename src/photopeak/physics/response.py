"""Distance-dependent resolution of a parallel-hole collimator, as pixel-integrated Gaussians.

Geometric resolution after Anger 1964 (effective hole length = length - 2/mu of the septa); hole data of GE LEHR from
the public SIMIND and GATE model definitions.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.core.units import MM_PER_CM

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
LEAD_PER_CM_AT_140_KEV = 26.9
Kernel = Literal["integrated", "sampled"]


@dataclass(frozen=True)
class Collimator:
    """A parallel-hole collimator with the intrinsic resolution of the detector behind it.

    Parameters
    ----------
    name : as users know it.
    hole_mm, length_mm : hole diameter and length.
    intrinsic_fwhm_mm : resolution of the crystal and its electronics.
    septa_mm : thickness of the walls between holes.
    septa_per_cm : attenuation of the walls, at 140.5 keV unless the table says otherwise.
    """

    name: str
    hole_mm: float
    length_mm: float
    intrinsic_fwhm_mm: float
    septa_mm: float = 0.2
    septa_per_cm: float = LEAD_PER_CM_AT_140_KEV

    def __post_init__(self) -> None:
        positive = (self.hole_mm, self.length_mm, self.septa_per_cm)
        walls = (self.intrinsic_fwhm_mm, self.septa_mm)
        known = all(0 < v < math.inf for v in positive) and all(0 <= v < math.inf for v in walls)
        if not known or self.effective_length_mm <= 0:
            raise BadArgument(
                f"collimator {self.name!r} with hole_mm {self.hole_mm:g}, length_mm {self.length_mm:g}, "
                f"intrinsic_fwhm_mm {self.intrinsic_fwhm_mm:g}, septa_mm {self.septa_mm:g}, "
                f"septa_per_cm {self.septa_per_cm:g}",
                needed="positive lengths, and holes longer than what septa let through at both ends",
                remedy="Give millimetres, and the septa's attenuation in 1/cm.",
            )

    @property
    def effective_length_mm(self) -> float:
        """Hole length less what the septa let through at both ends."""
        return self.length_mm - 2 * MM_PER_CM / self.septa_per_cm

    def fwhm_mm(self, distance_mm: Tensor) -> Tensor:
        """System resolution at a distance from the collimator's face, mm."""
        effective = self.effective_length_mm
        geometric = self.hole_mm * (effective + distance_mm.clamp(min=0)) / effective
        return torch.sqrt(geometric**2 + self.intrinsic_fwhm_mm**2)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


GE_LEHR = Collimator("GE LEHR", hole_mm=1.5, length_mm=35.0, intrinsic_fwhm_mm=3.8)


def gaussian_taps(
    offset_px: Tensor, sigma_px: Tensor, kernel: Kernel = "integrated", reach: int | None = None
) -> Tensor:
    """A Gaussian's share in the pixels at some offsets.

    Parameters
    ----------
    offset_px : whole numbers, broadcast against `sigma_px`.
    sigma_px : standard deviations, pixels.
    kernel : "integrated" over the receiving pixel, so that the variance grows by the pixel's 1/12; or "sampled" at its
        middle and normalised, as most codes do, whose variance is wrong where sigma is less than about 0.7 pixels.
    reach : taps beyond it are 0; needed by "sampled", whose sum depends on it.
    """
    if kernel == "integrated":
        scale = sigma_px * math.sqrt(2)
        taps = 0.5 * (torch.erf((offset_px + 0.5) / scale) - torch.erf((offset_px - 0.5) / scale))
        return taps if reach is None else torch.where(offset_px.abs() <= reach, taps, 0.0)
    if kernel != "sampled" or reach is None:
        raise BadArgument(
            f"kernel={kernel!r} with reach={reach}", needed="integrated, or sampled with a reach", remedy="Choose one."
        )
    every = torch.arange(-reach, reach + 1, dtype=sigma_px.dtype, device=sigma_px.device)
    total = torch.exp(-0.5 * (every / sigma_px[..., None]) ** 2).sum(-1)
    return torch.where(offset_px.abs() <= reach, torch.exp(-0.5 * (offset_px / sigma_px) ** 2) / total, 0.0)


def gaussian_toeplitz(size: int, sigma_px: Tensor, kernel: Kernel = "integrated", reach: int | None = None) -> Tensor:
    """Blur matrices [plane, out, in] of Gaussians of each sigma [plane]; what leaves the row is lost."""
    offset = torch.arange(size, dtype=sigma_px.dtype, device=sigma_px.device)
    return gaussian_taps(offset[:, None] - offset[None, :], sigma_px.reshape(-1, 1, 1), kernel, reach)


@dataclass(frozen=True, eq=False)
class Response:
    """The Gaussian of every plane of every view.

    Parameters
    ----------
    sigmas_px : [view, depth], depth 0 nearest the detector.
    kernel : as in `gaussian_taps`.
    reaches : [view], where a sampled kernel ends.
    """

    sigmas_px: Tensor
    kernel: Kernel
    reaches: tuple[int, ...]

    def toeplitz(self, view: int, size: int) -> Tensor:
        """Blur matrices [depth, out, in] of one view."""
        reach = self.reaches[view] if self.kernel == "sampled" else None
        return gaussian_toeplitz(size, self.sigmas_px[view], self.kernel, reach)

    def half_taps(self) -> Tensor:
        """One side of each kernel, [view, depth, tap] from its middle outward; odd in length, the last tap is 0."""
        sampled = self.kernel == "sampled"
        longest = max(self.reaches) if sampled else math.ceil(5 * float(self.sigmas_px.max())) + 1
        offset = torch.arange(longest + 2 + longest % 2, dtype=self.sigmas_px.dtype)
        reaches = self.reaches if sampled else (longest,) * len(self.reaches)
        return torch.stack(
            [gaussian_taps(offset, s[:, None], self.kernel, r) for s, r in zip(self.sigmas_px, reaches, strict=True)]
        )
