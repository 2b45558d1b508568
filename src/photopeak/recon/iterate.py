"""Loops of updates: MLEM, OSEM and their maximum a posteriori forms, over all views or over subsets of them in turn."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from photopeak.core import SystemOperator
from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.recon.priors import Prior
from photopeak.recon.stopping import Stop
from photopeak.recon.updates import Update, bsrem_update, em_update, inverse_sensitivity, osl_update, require_counts

Watch = Callable[[int, Tensor], None]
LEAST_OF_MEAN = 1e-6


def mlem(
    A: SystemOperator,
    counts: Tensor,
    *,
    iterations: int,
    background: Tensor | float = 0.0,
    prior: Prior | None = None,
    beta: float = 0.0,
    smooth: Update | None = None,
    start: Tensor | None = None,
    stop: Stop | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """`osem` with one subset; without prior and smoothing the log-likelihood never falls. Image [..., z, y, x]."""
    return osem(
        A,
        counts,
        iterations=iterations,
        subsets=1,
        background=background,
        prior=prior,
        beta=beta,
        smooth=smooth,
        start=start,
        stop=stop,
        watch=watch,
    )


def osem(
    A: SystemOperator,
    counts: Tensor,
    *,
    iterations: int,
    subsets: int,
    background: Tensor | float = 0.0,
    prior: Prior | None = None,
    beta: float = 0.0,
    smooth: Update | None = None,
    start: Tensor | None = None,
    stop: Stop | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """Ordered-subsets EM (Hudson and Larkin 1994); with a prior, one step late (Green 1990).

    Parameters
    ----------
    A : system of all views.
    counts : [..., view, row, column].
    iterations, subsets : passes over all views, and groups that the views are dealt into; any number up to the views.
    background : expected counts of scatter, same shape as `counts` or a number.
    prior, beta : maximise ``log-likelihood - beta * prior``; each subset has its share of beta.
    smooth : an update after each pass, for example ``tv_update(axis="z", ...)``.
    start : first image [..., z, y, x]; 1 unless given, and 0 where no view sees.
    stop : ends the loop before `iterations`.
    watch : called with (iteration, image) after each pass.

    Raises
    ------
    BadArgument : numbers that make no loop.
    BadValues : counts, background or start that are NaN, infinite or negative; counts that are all zero.
    ShapeMismatch : counts or background of other views or pixels than those of A, a start on another grid.
    """
    parts = _parts(A, counts, background, start, iterations, subsets)
    steps: list[Update] = []
    seen = torch.zeros(A.domain_shape, dtype=torch.bool, device=counts.device)
    for part in parts:
        system, measured, expected = A.views(part), counts[..., part, :, :], _part(background, part)
        inverse = inverse_sensitivity(system, counts)
        seen |= inverse > 0
        if prior is None:
            steps.append(em_update(system, measured, background=expected, inverse=inverse))
        else:
            share = beta / subsets
            steps.append(osl_update(system, measured, prior, share, background=expected, inverse=inverse))
    passes = ([*steps, smooth] if smooth else steps for _ in range(iterations))
    level = counts.new_ones(*counts.shape[:-3], 1, 1, 1) if start is None else start
    return _repeated(passes, level * seen, stop, watch)


def bsrem(
    A: SystemOperator,
    counts: Tensor,
    *,
    iterations: int,
    subsets: int,
    prior: Prior,
    beta: float,
    background: Tensor | float = 0.0,
    relaxation: float = 0.1,
    start: Tensor | None = None,
    stop: Stop | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """Maximum a posteriori by block-sequential regularised EM (De Pierro and Yamagishi 2001; Ahn and Fessler 2003).

    Steps of ``1 / (1 + relaxation * iteration)`` fall to zero while their sum does not end, so that subsets reach the
    maximum of ``log-likelihood - beta * prior`` itself, where `osem` with a prior runs in a small circle around it.

    Parameters
    ----------
    relaxation : how fast the steps fall.
    start : first image, positive; one pass of OSEM unless given.
    A, counts, iterations, subsets, prior, beta, background, stop, watch : as for `osem`.
    """
    parts = _parts(A, counts, background, start, iterations, subsets)
    if not relaxation >= 0:
        raise BadArgument(f"relaxation={relaxation}", needed="at least 0", remedy="0.1 is a good number.")
    image = osem(A, counts, iterations=1, subsets=subsets, background=background) if start is None else start
    inverse = inverse_sensitivity(A, counts)
    least = LEAST_OF_MEAN * image.mean((-3, -2, -1), keepdim=True)
    blocks = [(A.views(part), counts[..., part, :, :], _part(background, part)) for part in parts]

    def steps(iteration: int) -> Iterable[Update]:
        for system, measured, expected in blocks:
            yield bsrem_update(
                system,
                measured,
                prior,
                beta / subsets,
                step=subsets / (1 + relaxation * iteration),
                least=least,
                inverse=inverse,
                background=expected,
            )

    return _repeated(map(steps, range(iterations)), image * (inverse > 0), stop, watch)


def dealt(views: int, subsets: int) -> list[list[int]]:
    """Views dealt into subsets in bit-reversed order, so that successive subsets lie far apart in angle."""
    width = max(subsets - 1, 1).bit_length()
    order = sorted(range(subsets), key=lambda s: int(f"{s:0{width}b}"[::-1], 2))
    return [list(range(start, views, subsets)) for start in order]


def _repeated(passes: Iterable[Iterable[Update]], image: Tensor, stop: Stop | None, watch: Watch | None) -> Tensor:
    """The image after all passes, or the best one when `stop` says that enough is enough."""
    best, lowest = None, float("inf")
    for iteration, steps in enumerate(passes):
        for step in steps:
            image = step(image)
        if watch is not None:
            watch(iteration, image)
        if stop is None:
            continue
        now = stop.deviance(image)
        if best is not None and now >= lowest:
            return best
        if now > (1 - stop.least_gain) * lowest:
            return image
        best, lowest = image, now
    return image


def _parts(
    A: SystemOperator,
    counts: Tensor,
    background: Tensor | float,
    start: Tensor | None,
    iterations: int,
    subsets: int,
) -> list[list[int]]:
    """The views of each subset, once all that the loop is given makes sense."""
    views = A.range_shape[0]
    if not 1 <= subsets <= views or iterations < 1:
        raise BadArgument(
            f"{iterations} iterations of {subsets} subsets",
            needed=f"at least 1, and 1 to {views} subsets",
            remedy="Use fewer subsets.",
        )
    require_counts(A, counts, background)
    if not bool((counts > 0).any()):
        raise BadValues("counts that are all zero", needed="measured counts", remedy="Check the projections.")
    if start is not None:
        _require_image(A, start)
    return dealt(views, subsets)


def _require_image(A: SystemOperator, start: Tensor) -> None:
    if tuple(start.shape[-3:]) != A.domain_shape:
        raise ShapeMismatch(
            f"start of shape {tuple(start.shape)}",
            needed=f"[..., {', '.join(map(str, A.domain_shape))}], the grid of A",
            remedy="Resample it: volume.on(grid).",
        )
    if not torch.isfinite(start).all() or bool((start < 0).any()):
        raise BadValues(
            "start with NaN, infinite or negative voxels", needed="at least 0", remedy="Use start.clamp(min=0)."
        )


def _part(background: Tensor | float, part: list[int]) -> Tensor | float:
    return background[..., part, :, :] if isinstance(background, Tensor) and background.ndim else background
