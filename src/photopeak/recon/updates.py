"""Updates: functions image to image. In a loop they reconstruct; handed to a sampler they keep it true to the data."""

from collections.abc import Callable

import torch
from torch import Tensor

from photopeak.core import LinearOperator

Update = Callable[[Tensor], Tensor]


def em_update(A: LinearOperator, counts: Tensor, *, background: Tensor | float = 0.0) -> Update:
    """One step of maximum-likelihood expectation maximisation (Shepp and Vardi 1982; Lange and Carson 1984).

    Parameters
    ----------
    A : image [..., z, y, x] to expected counts [..., view, row, column].
    counts : measured counts, not negative.
    background : expected counts that do not come from the image (scatter), same shape or a number.

    Returns
    -------
    Update : ``x -> x / (A^T 1) * A^T(y / (A x + b))``; voxels that no bin sees become 0.
    """
    sensitivity = A.T(torch.ones_like(counts))
    seen = sensitivity > 1e-6 * sensitivity.max()
    inverse = torch.where(seen, 1 / torch.where(seen, sensitivity, 1.0), 0.0)

    def update(image: Tensor) -> Tensor:
        expected = A(image) + background
        ratio = torch.where(expected > 0, counts / expected.clamp(min=torch.finfo(expected.dtype).tiny), 0.0)
        return image * inverse * A.T(ratio)

    return update
