"""Priors: penalties on differences between neighbouring voxels, with their gradients.

Green's log-cosh (P. J. Green, IEEE TMI 9:84, 1990) keeps edges higher than delta; the relative difference prior
(J. Nuyts et al., IEEE TNS 49:56, 2002) penalises differences in relation to the activity, whatever its scale.

A pair of neighbours has a weight that falls with the reciprocal of their distance in mm; the weights of all neighbours
of an inner voxel add up to 1, so that beta means the same for 6 and 26 neighbours and every voxel size. Voxels beyond
the edge do not exist.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument

Window = tuple[slice, slice, slice]


@dataclass(frozen=True, kw_only=True)
class Prior(ABC):
    """A sum over pairs of neighbours, each pair once.

    Parameters
    ----------
    voxel_mm : voxel size (dz, dy, dx), mm.
    neighbours : 6 that share a face, or 26 that share at least a corner.
    """

    voxel_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    neighbours: int = 26

    def __post_init__(self) -> None:
        if self.neighbours not in (6, 26):
            raise BadArgument(f"neighbours={self.neighbours}", needed="6 or 26", remedy="Choose one.")
        if len(self.voxel_mm) != 3 or not all(0 < size < math.inf for size in self.voxel_mm):
            raise BadArgument(
                f"voxel_mm={self.voxel_mm}",
                needed="three positive lengths (dz, dy, dx)",
                remedy="Give grid.spacing_mm.",
            )

    @abstractmethod
    def potential(self, one: Tensor, other: Tensor) -> Tensor:
        """The penalty of each pair."""

    @abstractmethod
    def slopes(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """The derivatives of `potential` by its first and by its second argument."""

    def value(self, image: Tensor) -> Tensor:
        """The penalty of each image [...], of images [..., z, y, x]."""
        total = image.new_zeros(image.shape[:-3])
        for weight, here, there in self._pairs(image):
            total = total + weight * self.potential(image[..., *here], image[..., *there]).sum((-3, -2, -1))
        return total

    def gradient(self, image: Tensor) -> Tensor:
        """The derivative of `value` by each voxel, [..., z, y, x]."""
        total = torch.zeros_like(image)
        for weight, here, there in self._pairs(image):
            first, second = self.slopes(image[..., *here], image[..., *there])
            total[..., *here] += weight * first
            total[..., *there] += weight * second
        return total

    def _pairs(self, image: Tensor) -> Iterator[tuple[float, Window, Window]]:
        steps = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
        if self.neighbours == 6:
            steps = [step for step in steps if sum(map(abs, step)) == 1]
        closeness = [1 / math.hypot(*(k * mm for k, mm in zip(step, self.voxel_mm, strict=True))) for step in steps]
        for step, near in zip(steps, closeness, strict=True):
            here = tuple(slice(max(0, -k), n - max(0, k)) for k, n in zip(step, image.shape[-3:], strict=True))
            there = tuple(slice(max(0, k), n - max(0, -k)) for k, n in zip(step, image.shape[-3:], strict=True))
            yield near / (2 * sum(closeness)), (here[0], here[1], here[2]), (there[0], there[1], there[2])


@dataclass(frozen=True)
class Green(Prior):
    """``delta * log cosh((a - b) / delta)``: square for small differences, absolute for large ones (slope below 1).

    Parameters
    ----------
    delta : difference of counts per voxel at which smoothing gives way to keeping the edge.
    """

    delta: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.delta < math.inf:
            raise BadArgument(f"delta={self.delta}", needed="more than 0", remedy="A tenth of the heart's counts.")

    def potential(self, one: Tensor, other: Tensor) -> Tensor:
        t = (one - other).abs() / self.delta
        return self.delta * (t + torch.log1p(torch.exp(-2 * t)) - math.log(2))

    def slopes(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        slope = torch.tanh((one - other) / self.delta)
        return slope, -slope


@dataclass(frozen=True)
class RelativeDifference(Prior):
    """``(a - b)^2 / (a + b + gamma |a - b|)`` of images that are not negative; twice as much for twice the counts.

    Parameters
    ----------
    gamma : how far large relative differences (edges) are tolerated; Nuyts' value and the usual one is 2.
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.gamma < math.inf:
            raise BadArgument(f"gamma={self.gamma}", needed="at least 0", remedy="2 is usual.")

    def potential(self, one: Tensor, other: Tensor) -> Tensor:
        return (one - other) * self._relative(one, other)

    def slopes(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        r = self._relative(one, other)
        spared = 2 - self.gamma * r.abs()
        return r * (spared - r), -r * (spared + r)

    def _relative(self, one: Tensor, other: Tensor) -> Tensor:
        difference = one - other
        scale = one + other + self.gamma * difference.abs()
        return torch.where(scale > 0, difference / torch.where(scale > 0, scale, 1.0), 0.0)
