"""One patient's images and projections by name, and the history of how each was made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from photopeak.core.errors import MissingInput
from photopeak.core.projections import Projections
from photopeak.core.volume import Volume


@dataclass(frozen=True)
class Step:
    """How something in a study was made: who made it, from what, with which settings."""

    made: tuple[str, ...]
    by: str
    reads: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        settings = ", ".join(f"{k}={v}" for k, v in self.settings.items())
        source = f" from {', '.join(self.reads)}" if self.reads else ""
        return f"{', '.join(self.made)}: {self.by}({settings}){source}"


@dataclass(frozen=True, eq=False)
class Study:
    """A readable dictionary of one patient's images; every change returns a new study.

    Parameters
    ----------
    name : an identifier free of personal data.
    volumes : images by name, for example "nac", "ac", "mu".
    projections : measured counts by name.
    facts : plain values about patient and acquisition (sex, tracer, camera model, truth of a simulation).
    history : one Step for each thing made.
    """

    name: str
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    projections: Mapping[str, Projections] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        for attribute in ("volumes", "projections", "facts"):
            object.__setattr__(self, attribute, MappingProxyType(dict(getattr(self, attribute))))

    def __getitem__(self, name: str) -> Volume:
        if name not in self.volumes:
            raise MissingInput(
                f'study {self.name} has no "{name}"',
                needed=f'a volume "{name}"; it has {", ".join(self.volumes) or "none"}',
                remedy="Load or make it first.",
            )
        return self.volumes[name]

    def __contains__(self, name: object) -> bool:
        return name in self.volumes

    def __iter__(self) -> Iterator[str]:
        return iter(self.volumes)

    def add(self, volumes: Mapping[str, Volume], step: Step) -> "Study":
        """This study with more (or replaced) volumes and the step that made them."""
        return replace(self, volumes={**self.volumes, **volumes}, history=(*self.history, step))

    def with_facts(self, **facts: Any) -> "Study":
        return replace(self, facts={**self.facts, **facts})

    def only(self, *names: str) -> "Study":
        """This study reduced to the named volumes, without projections: what a method of these inputs may see."""
        return replace(self, volumes={n: self[n] for n in names}, projections={})

    def __str__(self) -> str:
        lines = [f"study {self.name}"]
        lines += [f"  {name}: {volume}" for name, volume in self.volumes.items()]
        lines += [f"  {name}: {projections}" for name, projections in self.projections.items()]
        lines += [f"  made {step}" for step in self.history]
        return "\n".join(lines)
