"""Normalised mean square error, as the cardiac SPECT literature prints it."""

from torch import Tensor

from photopeak.core import Volume
from photopeak.metrics.metric import metric
from photopeak.metrics.nrmse import nrmse


@metric(unit="%", better="lower")
def nmse(estimate: Volume, truth: Volume, mask: Tensor | None = None, *, scaled: bool = False) -> float:
    """``100 ||estimate - truth||^2 / ||truth||^2`` in %; arguments as `nrmse`, of which it is the square."""
    return 100 * (nrmse(estimate, truth, mask, scaled=scaled) / 100) ** 2
