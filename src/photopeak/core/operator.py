"""Linear operators that know their adjoint, and are differentiable through it.

A subclass supplies four members: `domain_shape`, `range_shape`, `_forward`, `_adjoint`. Everything else is inherited.
The gradient of the forward is the adjoint and the gradient of the adjoint is the forward, to any order (after MRpro,
PTB-MR; the four-member contract after parallelproj, G. Schramm). Leading axes before the domain are a batch.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument, ShapeMismatch

Shape = tuple[int, ...]


class LinearOperator(ABC):
    """A frozen linear map ``[..., *domain_shape] -> [..., *range_shape]``."""

    @property
    @abstractmethod
    def domain_shape(self) -> Shape: ...

    @property
    @abstractmethod
    def range_shape(self) -> Shape: ...

    @abstractmethod
    def _forward(self, x: Tensor) -> Tensor:
        """[batch, *domain_shape] -> [batch, *range_shape]."""

    @abstractmethod
    def _adjoint(self, y: Tensor) -> Tensor:
        """[batch, *range_shape] -> [batch, *domain_shape]."""

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the operator; differentiable, with any batch axes in front."""
        return _apply(self, x, adjoint=False)

    @property
    def T(self) -> "LinearOperator":
        """The adjoint as an operator."""
        return _Adjoint(self)

    def __matmul__(self, other: "LinearOperator") -> "LinearOperator":
        return _Composition(self, other)

    def __add__(self, other: "LinearOperator") -> "LinearOperator":
        return _Sum(self, other)


class _Adjoint(LinearOperator):
    def __init__(self, original: LinearOperator) -> None:
        self._original = original

    @property
    def domain_shape(self) -> Shape:
        return self._original.range_shape

    @property
    def range_shape(self) -> Shape:
        return self._original.domain_shape

    def _forward(self, x: Tensor) -> Tensor:
        return self._original._adjoint(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._original._forward(y)

    @property
    def T(self) -> LinearOperator:
        return self._original


class _Composition(LinearOperator):
    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        if outer.domain_shape != inner.range_shape:
            raise ShapeMismatch(
                f"A @ B where A takes {outer.domain_shape} and B gives {inner.range_shape}",
                needed="equal shapes",
                remedy="Check the order of the operators.",
            )
        self._outer, self._inner = outer, inner

    @property
    def domain_shape(self) -> Shape:
        return self._inner.domain_shape

    @property
    def range_shape(self) -> Shape:
        return self._outer.range_shape

    def _forward(self, x: Tensor) -> Tensor:
        return self._outer._forward(self._inner._forward(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._inner._adjoint(self._outer._adjoint(y))


class _Sum(LinearOperator):
    def __init__(self, first: LinearOperator, second: LinearOperator) -> None:
        mine, theirs = ((o.domain_shape, o.range_shape) for o in (first, second))
        if mine != theirs:
            raise ShapeMismatch(
                f"A + B where A maps {mine[0]} to {mine[1]} and B maps {theirs[0]} to {theirs[1]}",
                needed="equal shapes",
                remedy="Give both the same grid and camera.",
            )
        self._first, self._second = first, second

    @property
    def domain_shape(self) -> Shape:
        return self._first.domain_shape

    @property
    def range_shape(self) -> Shape:
        return self._first.range_shape

    def _forward(self, x: Tensor) -> Tensor:
        return self._first._forward(x) + self._second._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._first._adjoint(y) + self._second._adjoint(y)


class _Linear(torch.autograd.Function):
    """Differentiates to itself with the pair swapped, so any order of derivative is exact."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, operator: LinearOperator, adjoint: bool) -> Tensor:
        ctx.operator, ctx.adjoint = operator, adjoint
        return operator._adjoint(x) if adjoint else operator._forward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _Linear.apply(gradients[0].contiguous(), ctx.operator, not ctx.adjoint), None, None


def _apply(operator: LinearOperator, x: Tensor, *, adjoint: bool) -> Tensor:
    expected = operator.range_shape if adjoint else operator.domain_shape
    rank = len(expected)
    if tuple(x.shape[-rank:]) != tuple(expected):
        raise ShapeMismatch(
            f"{type(operator).__name__} was given shape {tuple(x.shape)}",
            needed=f"[..., {', '.join(map(str, expected))}]",
            remedy="Batch axes go in front.",
        )
    if x.dtype not in (torch.float32, torch.float64):
        raise BadArgument(
            f"{type(operator).__name__} was given {x.dtype}",
            needed="float32 or float64",
            remedy="Convert the data: whole numbers would cut weights below one to zero.",
        )
    batch = x.shape[: x.ndim - rank]
    flat = x.reshape(-1, *expected)
    result: Tensor = _Linear.apply(flat, operator, adjoint)
    return result.reshape(*batch, *result.shape[1:])
