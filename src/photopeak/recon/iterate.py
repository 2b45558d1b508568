"""MLEM and OSEM: the EM update in a loop, over all views or over subsets of them in turn."""

from collections.abc import Callable

import torch
from torch import Tensor

from photopeak.core import SystemOperator
from photopeak.core.errors import BadArgument, BadValues
from photopeak.recon.updates import em_update

Watch = Callable[[int, Tensor], None]


def mlem(
    A: SystemOperator, counts: Tensor, *, iterations: int, background: Tensor | float = 0.0, watch: Watch | None = None
) -> Tensor:
    """Maximum-likelihood EM from a uniform image; the log-likelihood never falls. Image [..., z, y, x]."""
    return osem(A, counts, iterations=iterations, subsets=1, background=background, watch=watch)


def osem(
    A: SystemOperator,
    counts: Tensor,
    *,
    iterations: int,
    subsets: int,
    background: Tensor | float = 0.0,
    watch: Watch | None = None,
) -> Tensor:
    """Ordered-subsets EM (Hudson and Larkin 1994) from a uniform image.

    Parameters
    ----------
    A : system of all views.
    counts : [..., view, row, column].
    iterations, subsets : passes over all views, and groups that the views are dealt into; any number up to the views.
    background : expected counts of scatter, same shape as `counts` or a number.
    watch : called with (iteration, image) after each pass.
    """
    views = counts.shape[-3]
    if not 1 <= subsets <= views or iterations < 1:
        raise BadArgument(
            f"{iterations} iterations of {subsets} subsets",
            needed=f"at least 1, and 1 to {views} subsets",
            remedy="Use fewer subsets.",
        )
    if not torch.isfinite(counts).all() or bool((counts < 0).any()) or not bool((counts > 0).any()):
        raise BadValues(
            "counts that are NaN, negative or all zero", needed="measured counts", remedy="Check the projections."
        )
    steps = []
    for subset in dealt(views, subsets):
        part = background[..., subset, :, :] if isinstance(background, Tensor) else background
        steps.append(em_update(A.views(subset), counts[..., subset, :, :], background=part))
    image = counts.new_ones(*counts.shape[:-3], *A.domain_shape)
    for iteration in range(iterations):
        for step in steps:
            image = step(image)
        if watch is not None:
            watch(iteration, image)
    return image


def dealt(views: int, subsets: int) -> list[list[int]]:
    """Views dealt into subsets in bit-reversed order, so that successive subsets lie far apart in angle."""
    width = max(subsets - 1, 1).bit_length()
    order = sorted(range(subsets), key=lambda s: int(f"{s:0{width}b}"[::-1], 2))
    return [list(range(start, views, subsets)) for start in order]
