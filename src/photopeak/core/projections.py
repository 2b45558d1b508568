"""Counts seen by a camera in an energy window."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from photopeak.core.camera import Camera
from photopeak.core.errors import BadValues, ShapeMismatch


@dataclass(frozen=True)
class EnergyWindow:
    """Lower and upper limit, keV."""

    lower_kev: float
    upper_kev: float


TC99M_WINDOW = EnergyWindow(126.45, 154.55)


@dataclass(frozen=True, eq=False)
class Projections:
    """Measured or simulated projections.

    Parameters
    ----------
    counts : Tensor [view, row, column], counts; non-negative.
    camera : the acquisition that saw them.
    window : energy window.
    """

    counts: Tensor
    camera: Camera
    window: EnergyWindow = TC99M_WINDOW

    def __post_init__(self) -> None:
        if tuple(self.counts.shape) != self.camera.projection_shape:
            raise ShapeMismatch(
                f"counts of shape {tuple(self.counts.shape)}",
                needed=f"{self.camera.projection_shape} [view, row, column] of this camera",
                remedy="Check the number of views and the detector size.",
            )
        if not torch.isfinite(self.counts).all() or bool((self.counts < 0).any()):
            raise BadValues(
                "counts with NaN, infinite or negative entries",
                needed="counts of at least zero",
                remedy="Check the source of the projections.",
            )

    def with_counts(self, counts: Tensor) -> "Projections":
        return replace(self, counts=counts)

    def views(self, indices: Sequence[int]) -> "Projections":
        """Some of the views, in the order given: a few-view acquisition made of a full one."""
        return replace(self, counts=self.counts[list(indices)], camera=self.camera.views(indices))

    def __str__(self) -> str:
        views, rows, columns = self.camera.projection_shape
        window = f"{self.window.lower_kev:g}-{self.window.upper_kev:g} keV"
        return f"{views} views of {rows}x{columns}, {self.camera.kind}, {window}, {float(self.counts.sum()):.4g} counts"
