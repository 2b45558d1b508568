"""Mean absolute error of the 17 left-ventricular segments, relative perfusion."""

from torch import Tensor

from photopeak.core.errors import ShapeMismatch
from photopeak.metrics.compare import best_factor, require_finite, require_peak
from photopeak.metrics.metric import metric

SEGMENTS = 17


@metric(unit="% of maximum", better="lower", of="segments")
def segment_error(estimate: Tensor, truth: Tensor) -> float:
    """Mean absolute difference of the segment values, in % of the truth's maximum segment.

    The estimate is first multiplied by its one least-squares factor to the truth, as perfusion is read relatively:
    dividing each by its own maximum would let one wrong segment shift all the others.

    Parameters
    ----------
    estimate, truth : Tensor [17], mean value of each AHA segment.
    """
    for name, values in (("estimate", estimate), ("truth", truth)):
        if tuple(values.shape) != (SEGMENTS,):
            raise ShapeMismatch(
                f"{name} of shape {tuple(values.shape)}",
                needed=f"({SEGMENTS},) [segment]",
                remedy="Pass segment means.",
            )
        require_finite(values, name=name)
    e, t = estimate.detach().double(), truth.detach().double()
    return 100 * float((best_factor(e, t) * e - t).abs().mean()) / require_peak(t, None)
