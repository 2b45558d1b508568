"""What every camera asks of the views and of the numbers that it is given."""

from collections.abc import Sequence

from torch import Tensor

from photopeak.core.errors import BadArgument


def checked_views(indices: Sequence[int], views: int) -> list[int]:
    """`indices` as a list, if there are some and a camera of so many views has them all.

    Raises
    ------
    BadArgument : no view, or one that does not exist; counting from the end would name another view after a subset.
    """
    chosen = list(indices)
    if not chosen or not all(0 <= index < views for index in chosen):
        raise BadArgument(
            f"views {chosen} of {views}",
            needed=f"at least one of 0 to {views - 1}",
            remedy="Count views from 0, in the camera's order.",
        )
    return chosen


def require_floating(data: Tensor) -> None:
    """Raise BadArgument for whole or complex numbers: weights below one, and their results, would be cut to zero."""
    if not data.is_floating_point():
        raise BadArgument(f"{data.dtype}", needed="floating-point numbers", remedy="Convert the data: data.float().")
