"""Normalised root mean square error."""

from torch import Tensor

from photopeak.core import Volume
from photopeak.core.errors import BadValues
from photopeak.metrics.compare import best_factor, values_within
from photopeak.metrics.metric import metric


@metric(unit="%", better="lower")
def nrmse(estimate: Volume, truth: Volume, mask: Tensor | None = None, *, scaled: bool = False) -> float:
    """``100 ||estimate - truth|| / ||truth||`` in %, over the voxels of the mask.

    Parameters
    ----------
    estimate, truth : volumes of one quantity on one grid.
    mask : bool Tensor [z, y, x]; all voxels if None.
    scaled : first multiply the estimate by its least-squares factor to the truth (`least_squares_factor`, same mask),
        which forgives a wrong scale but not a wrong shape.
    """
    e, t = values_within(estimate, truth, mask)
    size = float(t.norm())
    if size == 0:
        raise BadValues(
            "a truth that is zero within the mask", needed="an image", remedy="Check the truth and the mask."
        )
    factor = best_factor(e, t) if scaled else 1.0
    return 100 * float((factor * e - t).norm()) / size
