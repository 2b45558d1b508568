"""A system that knows where activity can be: its image is zero elsewhere, whatever algorithm inverts it.

Air in front of a pinhole is seen with a hundredfold sensitivity and takes the counts of the body behind it, unless the
reconstruction is told that nothing shines there.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from photopeak.core import SystemOperator, Volume
from photopeak.core.errors import BadValues, ShapeMismatch
from photopeak.core.units import MATTER_PER_CM


class Within(SystemOperator):
    """`system` restricted to the voxels of `mask` [z, y, x]: no other is seen, so that no other gets activity."""

    def __init__(self, system: SystemOperator, mask: Tensor) -> None:
        if tuple(mask.shape) != tuple(system.domain_shape):
            raise ShapeMismatch(
                f"a mask of {tuple(mask.shape)}", needed=f"{tuple(system.domain_shape)}", remedy="Put it on the grid."
            )
        if not bool(mask.any()):
            raise BadValues("a mask without a voxel", needed="somewhere for activity", remedy="Check where it lies.")
        self._system, self._mask = system, mask.bool()

    @property
    def domain_shape(self) -> tuple[int, ...]:
        return self._system.domain_shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        return self._system.range_shape

    def views(self, indices: Sequence[int]) -> "Within":
        return Within(self._system.views(indices), self._mask)

    def _forward(self, x: Tensor) -> Tensor:
        return self._system._forward(x * self._mask.to(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        image = self._system._adjoint(y)
        return image * self._mask.to(image)


def body_of(mu: Volume, *, margin_mm: float = 10.0) -> Tensor:
    """[z, y, x] voxels that attenuate, lung included, widened by `margin_mm` for what lies between map and patient."""
    mask = (mu.data > MATTER_PER_CM).to(torch.float32)
    for axis, voxel_mm in enumerate(mu.grid.spacing_mm):
        reach = round(margin_mm / voxel_mm)
        shape = [1 + 2 * reach if a == axis else 1 for a in range(3)]
        mask = torch.nn.functional.max_pool3d(mask[None], shape, stride=1, padding=[n // 2 for n in shape])[0]
    return mask.bool()
