"""What makes a function a metric: its unit, and which direction is better."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, ParamSpec

Direction = Literal["lower", "higher"]
Subject = Literal["volumes", "segments"]
P = ParamSpec("P")


@dataclass(frozen=True)
class Metric(Generic[P]):
    """A function ``(estimate, truth, ...) -> float`` that knows how its number is to be read.

    Parameters
    ----------
    function : the metric itself; its name is the metric's name.
    unit : unit of the number, "1" where it has none.
    better : the direction of improvement.
    of : "volumes" compares two Volumes, "segments" two tensors [17] of segment values.
    """

    function: Callable[P, float]
    unit: str
    better: Direction
    of: Subject = "volumes"

    def __post_init__(self) -> None:
        object.__setattr__(self, "__doc__", self.function.__doc__)
        object.__setattr__(self, "__wrapped__", self.function)

    @property
    def name(self) -> str:
        return self.function.__name__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> float:
        return self.function(*args, **kwargs)


def metric(*, unit: str, better: Direction, of: Subject = "volumes") -> Callable[[Callable[P, float]], Metric[P]]:
    """Declare the metric of a file: ``photopeak/metrics/<name>.py`` holds ``<name>``."""

    def declare(function: Callable[P, float]) -> Metric[P]:
        return Metric(function, unit, better, of)

    return declare
