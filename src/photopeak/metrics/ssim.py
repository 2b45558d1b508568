"""Structural similarity in three dimensions (Wang et al. 2004, doi:10.1109/TIP.2003.819861), Gaussian window."""

from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter
from torch import Tensor

from photopeak.core import Volume
from photopeak.core.errors import BadArgument
from photopeak.metrics.compare import require_comparable, require_mask, require_peak
from photopeak.metrics.metric import metric

SIGMA_VOXELS = 1.5
RADIUS_VOXELS = 5
K1, K2 = 0.01, 0.03


@metric(unit="1", better="higher")
def ssim(estimate: Volume, truth: Volume, mask: Tensor | None = None, *, data_range: float | None = None) -> float:
    """Mean structural similarity; 1 for identical volumes.

    Gaussian window of sigma 1.5 voxels cut at 5 voxels along every axis longer than one voxel (so a single slice is
    judged in 2-D), K = (0.01, 0.03), population variances.

    Parameters
    ----------
    estimate, truth : volumes of one quantity on one grid.
    mask : bool Tensor [z, y, x], the voxels averaged over; windows reach beyond it, mirrored at the border. If None,
        the voxels whose window lies wholly inside the volume.
    data_range : L in the constants, in the unit of the volumes; the truth's maximum within the mask if None.
    """
    e, t = require_comparable(estimate, truth)
    peak = require_peak(t[require_mask(mask, t)], data_range)
    similarity = similarity_map(e.cpu().numpy(), t.cpu().numpy(), peak)
    if mask is None:
        return float(similarity[_interior(similarity.shape)].mean())
    return float(similarity[mask.cpu().numpy()].mean())


def similarity_map(x: np.ndarray, y: np.ndarray, data_range: float) -> np.ndarray:
    """SSIM at every voxel, [z, y, x]; eq. 13 of the paper."""
    axes = tuple(axis for axis, n in enumerate(x.shape) if n > 1)
    mean = partial(gaussian_filter, sigma=SIGMA_VOXELS, radius=RADIUS_VOXELS, mode="reflect", axes=axes)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mu_x, mu_y = mean(x), mean(y)
    var_x, var_y, cov = mean(x * x) - mu_x**2, mean(y * y) - mu_y**2, mean(x * y) - mu_x * mu_y
    return (2 * mu_x * mu_y + c1) * (2 * cov + c2) / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2))


def _interior(shape: tuple[int, ...]) -> tuple[slice, ...]:
    window = 2 * RADIUS_VOXELS + 1
    if any(1 < n < window for n in shape):
        raise BadArgument(
            f"volumes of {'x'.join(map(str, shape))} voxels without a mask",
            needed=f"at least {window} voxels (or one) along every axis, the size of the window",
            remedy="Give a mask; windows are then mirrored at the border.",
        )
    return tuple(slice(None) if n == 1 else slice(RADIUS_VOXELS, n - RADIUS_VOXELS) for n in shape)
