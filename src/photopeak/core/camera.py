"""Where the detectors were for each view, and the operator that this makes of an image grid."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, overload

from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.core.grid import Grid
from photopeak.core.operator import LinearOperator
from photopeak.core.volume import Volume


class SystemOperator(LinearOperator):
    """Image [z, y, x] to projections [view, row, column] of one camera; its views can be taken apart."""

    @abstractmethod
    def views(self, indices: Sequence[int]) -> "SystemOperator":
        """The same system restricted to some views, in the order given."""

    @overload
    def __add__(self, other: "SystemOperator") -> "SystemOperator": ...

    @overload
    def __add__(self, other: LinearOperator) -> LinearOperator: ...

    def __add__(self, other: LinearOperator) -> LinearOperator:
        """Both at once, for example attenuated primary and scatter; still a system if `other` is one."""
        return _SystemSum(self, other) if isinstance(other, SystemOperator) else super().__add__(other)


class _SystemSum(SystemOperator):
    def __init__(self, first: SystemOperator, second: SystemOperator) -> None:
        self._first, self._second = first, second
        self._sum = LinearOperator.__add__(first, second)

    @property
    def domain_shape(self) -> tuple[int, ...]:
        return self._sum.domain_shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        return self._sum.range_shape

    def views(self, indices: Sequence[int]) -> SystemOperator:
        return _SystemSum(self._first.views(indices), self._second.views(indices))

    def _forward(self, x: Tensor) -> Tensor:
        return self._sum._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._sum._adjoint(y)


class Camera(ABC):
    """A frozen description of an acquisition; `kind` is the name of its file in ``photopeak.physics``."""

    kind: str

    @property
    @abstractmethod
    def projection_shape(self) -> tuple[int, int, int]:
        """(views, rows, columns)."""

    @abstractmethod
    def views(self, indices: Sequence[int]) -> "Camera":
        """The camera at some of its views, in the order given."""

    @abstractmethod
    def system(self, grid: Grid, mu: Volume | None = None) -> SystemOperator:
        """The operator from images on `grid` to this camera's projections, attenuated by `mu` (1/cm) if given."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings from which ``type(camera).from_dict`` rebuilds it."""

    @classmethod
    @abstractmethod
    def from_dict(cls, record: dict[str, Any]) -> "Camera": ...


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
