"""Peak signal-to-noise ratio."""

import math

from torch import Tensor

from photopeak.core import Volume
from photopeak.metrics.compare import require_peak, values_within
from photopeak.metrics.metric import metric


@metric(unit="dB", better="higher")
def psnr(estimate: Volume, truth: Volume, mask: Tensor | None = None, *, data_range: float | None = None) -> float:
    """``20 log10(peak / RMSE)`` in dB, over the voxels of the mask; infinite where nothing differs.

    Parameters
    ----------
    estimate, truth : volumes of one quantity on one grid.
    mask : bool Tensor [z, y, x]; all voxels if None.
    data_range : the peak, in the unit of the volumes; the truth's maximum within the mask if None.
    """
    e, t = values_within(estimate, truth, mask)
    peak = require_peak(t, data_range)
    rmse = float((e - t).square().mean().sqrt())
    return math.inf if rmse == 0 else 20 * math.log10(peak / rmse)
