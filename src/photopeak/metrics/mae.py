"""Mean absolute error."""

from torch import Tensor

from photopeak.core import Volume
from photopeak.metrics.compare import values_within
from photopeak.metrics.metric import metric


@metric(unit="of the volumes", better="lower")
def mae(estimate: Volume, truth: Volume, mask: Tensor | None = None) -> float:
    """``mean |estimate - truth|`` over the voxels of the mask, in the unit of the volumes.

    Parameters
    ----------
    estimate, truth : volumes of one quantity on one grid.
    mask : bool Tensor [z, y, x]; all voxels if None.
    """
    e, t = values_within(estimate, truth, mask)
    return float((e - t).abs().mean())
