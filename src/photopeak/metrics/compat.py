"""RMSE, SSIM and PSNR as two papers report them: slice by slice, enlarged to 256 x 256, at a fixed range.

PADM (arXiv 2511.06948, Tables 3 to 5) prints numbers that agree with images rescaled to [0, 1] and with means over
slices: its PSNR is that of its RMSE at range 1, plus what the spread between slices adds. The second benchmark of
NAC-to-AC methods states [-1, 1], a range of 2. Both cut 160 mm around the heart into 50 x 50 pixels, so that smooth
enlarged pixels flatter every method. These figures stand beside published ones; they are not for choosing a method.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.metrics.compare import require_finite

ENLARGED = 256
WINDOW = 7
K1, K2 = 0.01, 0.03


@dataclass(frozen=True)
class Convention:
    """The range into which 0 to the peak of the truth is mapped before anything is compared."""

    name: str
    low: float
    high: float

    @property
    def data_range(self) -> float:
        return self.high - self.low


CONVENTIONS = {one.name: one for one in (Convention("padm", 0.0, 1.0), Convention("mst106", -1.0, 1.0))}


def slice_scores(estimate: Tensor, truth: Tensor, *, compat: str) -> dict[str, float]:
    """RMSE, SSIM and PSNR (dB), each the mean over slices.

    Parameters
    ----------
    estimate, truth : slices [slice, row, column] of one patient in the same counts; those outside 0 to the truth's
        maximum over all slices are clipped, as in images of fixed range.
    compat : "padm" or "mst106".

    Raises
    ------
    BadArgument : another convention.
    ShapeMismatch, BadValues : slices that differ in shape, are not finite, or of a truth without counts.
    """
    if compat not in CONVENTIONS:
        raise BadArgument(f"compat={compat!r}", needed=" or ".join(CONVENTIONS), remedy="Use one of these.")
    if truth.ndim != 3 or estimate.shape != truth.shape:
        raise ShapeMismatch(
            f"estimate of shape {tuple(estimate.shape)} and truth of shape {tuple(truth.shape)}",
            needed="both [slice, row, column]",
            remedy="Cut both on the same grid.",
        )
    for name, values in (("estimate", estimate), ("truth", truth)):
        require_finite(values, name=name)
    peak = float(truth.max())
    if peak <= 0:
        raise BadValues("a truth without counts", needed="an image", remedy="Check where the slices are cut.")
    convention = CONVENTIONS[compat]
    e, t = (_rescaled(values / peak, convention) for values in (estimate, truth))
    rmse = (e - t).square().mean(dim=(1, 2)).sqrt()
    psnr = 20 * torch.log10(convention.data_range / rmse)
    similarity = flat_similarity(e, t, convention.data_range).mean(dim=(1, 2))
    return {"RMSE": float(rmse.mean()), "SSIM": float(similarity.mean()), "PSNR": float(psnr.mean())}


def implied_psnr(rmse: float, compat: str) -> float:
    """PSNR in dB of one image with this RMSE; a mean over slices is never below that of the mean RMSE."""
    return 20 * math.log10(CONVENTIONS[compat].data_range / rmse)


def _rescaled(fraction: Tensor, convention: Convention) -> Tensor:
    """Enlarged slices in the convention's range."""
    size = (ENLARGED, ENLARGED)
    large = F.interpolate(fraction.clamp(0, 1).float()[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    return convention.low + convention.data_range * large.double()


def flat_similarity(x: Tensor, y: Tensor, data_range: float) -> Tensor:
    """SSIM [slice, row, column] (Wang et al. 2004) with a flat 7 x 7 window and sample variances, inside the border."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    mean_x, mean_y = _mean(x), _mean(y)
    var_x, var_y = unbiased * (_mean(x * x) - mean_x**2), unbiased * (_mean(y * y) - mean_y**2)
    cov = unbiased * (_mean(x * y) - mean_x * mean_y)
    brightness = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return brightness * (2 * cov + c2) / (var_x + var_y + c2)


def _mean(values: Tensor) -> Tensor:
    """Means over windows [slice, row, column], inside the border, from running sums."""
    sums = F.pad(values.cumsum(1).cumsum(2), (1, 0, 1, 0))
    w = WINDOW
    return (sums[:, w:, w:] - sums[:, :-w, w:] - sums[:, w:, :-w] + sums[:, :-w, :-w]) / w**2
