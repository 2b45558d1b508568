"""What turns a study into a study with more in it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from photopeak.core.errors import MissingInput
from photopeak.core.study import Step, Study
from photopeak.core.volume import Volume


class Method(ABC):
    """``study = method(study)``: reads some volumes or projections, writes others, and says so.

    A subclass states `name`, `reads`, `writes` and implements `make`. `reads_projections` names projections it needs.
    """

    name: str
    reads: tuple[str, ...] = ()
    reads_projections: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()

    @abstractmethod
    def make(self, study: Study) -> Mapping[str, Volume]:
        """The volumes named by `writes`, from a study that holds what the method reads."""

    def settings(self) -> Mapping[str, Any]:
        """What the history should remember of this method: arguments, seed, weights."""
        return {}

    def __call__(self, study: Study) -> Study:
        missing = [n for n in self.reads if n not in study.volumes]
        missing += [n for n in self.reads_projections if n not in study.projections]
        if missing:
            raise MissingInput(
                f"{self.name} was given study {study.name} without {', '.join(missing)}",
                needed=", ".join((*self.reads, *self.reads_projections)),
                remedy="Load or make them first.",
            )
        made = self.make(study)
        step = Step(tuple(made), self.name, (*self.reads, *self.reads_projections), self.settings())
        return study.add(made, step)
