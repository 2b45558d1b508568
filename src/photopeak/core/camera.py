"""Where the detectors were for each view, and the operator that this makes of an image grid."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from photopeak.core.grid import Grid
from photopeak.core.operator import LinearOperator
from photopeak.core.volume import Volume


class SystemOperator(LinearOperator):
    """Image [z, y, x] to projections [view, row, column] of one camera; its views can be taken apart."""

    @abstractmethod
    def views(self, indices: Sequence[int]) -> "SystemOperator":
        """The same system restricted to some views, in the order given."""


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
