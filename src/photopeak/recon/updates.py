"""Updates: functions image to image. In a loop they reconstruct; handed to a sampler they keep it true to the data."""

from collections.abc import Callable

import torch
from torch import Tensor

from photopeak.core import LinearOperator
from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.recon.priors import Prior

Update = Callable[[Tensor], Tensor]

LEAST_SENSITIVITY = 1e-6
"""Of the largest; a voxel below it counts as unseen."""
LEAST_DIVISOR = 0.1
"""One-step-late never divides by less, so that no prior makes a voxel negative or more than tenfold in one step."""


def em_update(
    A: LinearOperator,
    counts: Tensor,
    *,
    background: Tensor | float = 0.0,
    inverse: Tensor | None = None,
) -> Update:
    """One step of maximum-likelihood expectation maximisation (Shepp and Vardi 1982; Lange and Carson 1984).

    Parameters
    ----------
    A : image [..., z, y, x] to expected counts [..., view, row, column].
    counts : measured counts, not negative.
    background : expected counts that do not come from the image (scatter), same shape or a number.
    inverse : ``inverse_sensitivity(A, counts)``, where it is at hand.

    Returns
    -------
    Update : ``x -> x / (A^T 1) * A^T(y / (A x + b))``; voxels that no bin of A sees stay as they are.

    Raises
    ------
    ShapeMismatch, BadArgument, BadValues : as `require_counts`.
    """
    require_counts(A, counts, background)
    known = inverse_sensitivity(A, counts) if inverse is None else inverse

    def update(image: Tensor) -> Tensor:
        back = A.T(_ratio(A, image, counts, background))
        return torch.where(known > 0, image * known * back, image)

    return update


def osl_update(
    A: LinearOperator,
    counts: Tensor,
    prior: Prior,
    beta: float,
    *,
    background: Tensor | float = 0.0,
    inverse: Tensor | None = None,
) -> Update:
    """One step of maximum a posteriori EM, one step late (Green 1990): the prior's slope is that of the last image.

    The maximiser of ``log-likelihood - beta * prior`` stays where it is. The step reaches it while beta times activity
    times the prior's curvature is below about the sensitivity (curvature 1/delta of Green's, about 1/activity of
    relative differences); beyond that it swings between two images. `bsrem_update` does not. With beta 0 it is EM.

    Parameters
    ----------
    prior, beta : penalty and its weight, in the unit of sensitivity.
    A, counts, background, inverse : as for `em_update`.

    Returns
    -------
    Update : ``x -> x / (A^T 1 + beta * gradient of prior) * A^T(y / (A x + b))``.
    """
    _check_beta(beta)
    known = inverse_sensitivity(A, counts) if inverse is None else inverse
    em = em_update(A, counts, background=background, inverse=known)

    def update(image: Tensor) -> Tensor:
        return em(image) / (1 + beta * prior.gradient(image) * known).clamp(min=LEAST_DIVISOR)

    return update


def bsrem_update(
    A: LinearOperator,
    counts: Tensor,
    prior: Prior,
    beta: float,
    *,
    step: float,
    least: Tensor | float,
    inverse: Tensor,
    background: Tensor | float = 0.0,
) -> Update:
    """One block-sequential step uphill, scaled by ``x / sensitivity`` (De Pierro and Yamagishi 2001).

    Parameters
    ----------
    step : relaxation; 1 without a prior is the EM step of a block that has its share of the sensitivity.
    least : smallest value of a voxel that is seen, more than 0, since a voxel at 0 could never leave it; a number, or
        [..., 1, 1, 1] for each image of a batch.
    inverse : of the sensitivity that scales the step; the same image for every block, or there is no convergence.
    A, counts, prior, beta, background : as for `osl_update`; of one block of views, beta its share.

    Returns
    -------
    Update : ``x -> max(x + step * x / s * (A^T(y / (A x + b) - 1) - beta * gradient of prior), least)``.
    """
    _check_beta(beta)
    require_counts(A, counts, background)

    def update(image: Tensor) -> Tensor:
        uphill = A.T(_ratio(A, image, counts, background) - 1) - beta * prior.gradient(image)
        floor = torch.as_tensor(least, dtype=image.dtype, device=image.device)
        return torch.where(inverse > 0, (image + step * image * inverse * uphill).clamp(min=floor), image)

    return update


def sensitivity(A: LinearOperator, like: Tensor) -> Tensor:
    """``A^T 1`` [z, y, x]; dtype and device as `like`."""
    return A.T(torch.ones(A.range_shape, dtype=like.dtype, device=like.device))


def inverse_sensitivity(A: LinearOperator, like: Tensor) -> Tensor:
    """``1 / (A^T 1)`` [z, y, x], and 0 for voxels that A does not see."""
    total = sensitivity(A, like)
    seen = total > LEAST_SENSITIVITY * total.max()
    return torch.where(seen, 1 / torch.where(seen, total, 1.0), 0.0)


def require_counts(A: LinearOperator, counts: Tensor, background: Tensor | float) -> None:
    """What A could have counted: its shape, floating point, finite and not negative; the background likewise.

    Raises
    ------
    ShapeMismatch, BadArgument, BadValues : they are not. (A bin that expects NaN would pass for one that sees nothing.)
    """
    given = {"counts": counts, "background": torch.as_tensor(background)}
    for name, values in given.items():
        is_number = name == "background" and values.ndim == 0
        if not is_number and tuple(values.shape[-len(A.range_shape) :]) != tuple(A.range_shape):
            raise ShapeMismatch(
                f"{name} of shape {tuple(values.shape)}",
                needed=f"[..., {', '.join(map(str, A.range_shape))}], the views and pixels of A",
                remedy="Give the system of the views that were counted: A.views(...).",
            )
        if not (is_number or values.is_floating_point()):
            raise BadArgument(f"{name} in {values.dtype}", needed="floating point", remedy="Use counts.float().")
        if not torch.isfinite(values).all() or bool((values < 0).any()):
            raise BadValues(
                f"{name} that are NaN, infinite or negative",
                needed="finite numbers of at least 0",
                remedy="Check the projections.",
            )


def _ratio(A: LinearOperator, image: Tensor, counts: Tensor, background: Tensor | float) -> Tensor:
    expected = A(image) + background
    return torch.where(expected > 0, counts / expected.clamp(min=torch.finfo(expected.dtype).tiny), 0.0)


def _check_beta(beta: float) -> None:
    if not 0 <= beta < float("inf"):
        raise BadArgument(f"beta={beta}", needed="at least 0, finite", remedy="0 leaves the prior out.")
