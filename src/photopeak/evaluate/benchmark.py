"""The plan of a benchmark: which methods, trained on what for how long, scored against which truth, in which table.

A plan is read from TOML and checked in whole before anything is simulated or trained. All entries share one budget;
an entry with another one states why, and the reason is printed under the tables.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

from photopeak.core.errors import BadArgument

UNCORRECTED = "NAC"
TABLES = ("padm 3", "padm 4", "padm 5", "mst106", "diffspect 1", "diffspect 2", "cpdm 4", "cpdm 5")


@dataclass(frozen=True)
class Entry:
    """One row of the benchmark.

    Parameters
    ----------
    label : the row's name.
    method : of photopeak.methods; None for the image as it was given.
    arguments : of the method's constructor.
    teacher, code, map, initial : label of an entry that is trained first: to learn from, to encode slices with, to
        predict attenuation with, or whose weights training starts from.
    weights : label of an entry whose weights serve here as they are; nothing is trained.
    using : settings of use, such as ``steps``.
    sees : volumes that the method is given under another's name, such as ``mu = "mu_true"``.
    seeds : one training for each; the row is the mean over them.
    budget : own values in place of the common ones, for a stated `reason`.
    tables : of the papers, in which the row stands beside the published ones.
    answers : False for what is trained only for the sake of others.
    ships : the weights get the card that `photopeak correct` or `synthesize` needs: calibration on validation, and for
        hearts the training domain.
    """

    label: str
    method: str | None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    teacher: str | None = None
    code: str | None = None
    map: str | None = None
    initial: str | None = None
    weights: str | None = None
    using: Mapping[str, Any] = field(default_factory=dict)
    sees: Mapping[str, str] = field(default_factory=dict)
    seeds: Sequence[int] = (1,)
    budget: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    tables: Sequence[str] = ()
    answers: bool = True
    ships: bool = False

    def __post_init__(self) -> None:
        if self.budget and not self.reason:
            raise BadArgument(
                f"{self.label} with a budget of its own", needed="a reason", remedy="State it, or share the budget."
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise BadArgument(f"{self.label} with seeds {list(self.seeds)}", needed="different seeds", remedy="[1, 2]")
        unknown = sorted(set(self.tables) - set(TABLES))
        if unknown:
            raise BadArgument(f"{self.label} in {unknown[0]!r}", needed=" or ".join(TABLES), remedy="Use one of these.")

    @property
    def stands_on(self) -> dict[str, str]:
        """Entries that must be trained first, by what they are for."""
        named = {what: getattr(self, what) for what in ("teacher", "code", "map", "initial", "weights")}
        return {what: label for what, label in named.items() if label is not None}


@dataclass(frozen=True)
class Run:
    """One training of one entry."""

    entry: Entry
    seed: int

    @property
    def name(self) -> str:
        alone = len(self.entry.seeds) == 1
        return self.entry.label if alone else f"{self.entry.label}, seed {self.seed}"

    @property
    def folder(self) -> str:
        """A plain name for its files."""
        return re.sub(r"[^a-z0-9]+", "_", self.entry.label.lower()).strip("_") + f"-{self.seed}"


@dataclass(frozen=True)
class Plan:
    """All of it; the entries in the order of the tables.

    Parameters
    ----------
    entries : without the uncorrected image, which is always scored.
    reference : label of the entry that all others are compared with.
    cohort : how the cohort is simulated where there is none: studies, seed, matrix.
    volumes : what training takes under the name of a volume, such as ``ac = "ac_clean"``.
    truths : volumes that answers are compared with, the most telling first.
    budget : of every training on one thread, fields of photopeak.learn.loop.Budget.
    train_persons, scored_persons : only so many persons of each split; None for all.
    one_scan_each : of the persons that are scored, stress and rest by turns, instead of all their scans.
    quick : what `quickly` puts in place.
    """

    entries: tuple[Entry, ...]
    reference: str
    cohort: Mapping[str, Any] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    truths: tuple[str, ...] = ("ac_clean", "ac")
    budget: Mapping[str, Any] = field(default_factory=dict)
    train_persons: int | None = None
    scored_persons: int | None = None
    one_scan_each: bool = False
    quick: Mapping[str, Any] = field(default_factory=dict)
    uncorrected: ClassVar[str] = UNCORRECTED
    quick_keys: ClassVar[frozenset[str]] = frozenset({"cohort", "budget", "train_persons", "scored_persons"})

    def __post_init__(self) -> None:
        labels = [entry.label for entry in self.entries]
        folders = [Run(entry, 0).folder for entry in self.entries]
        for what, names in (("labels", [self.uncorrected, *labels]), ("folders", folders)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise BadArgument(f"two {what} {twice[0]!r}", needed="one of each", remedy="Rename one.")
        for asked in (self.reference, *(label for e in self.entries for label in e.stands_on.values())):
            if asked not in labels:
                raise BadArgument(f"entry {asked!r}", needed=f"one of {', '.join(labels)}", remedy="Add or rename it.")
        if not self[self.reference].answers:
            raise BadArgument(f"reference {self.reference!r}", needed="an entry that answers", remedy="Choose another.")
        for entry in self.entries:
            self._require_no_circle(entry.label, ())

    def __getitem__(self, label: str) -> Entry:
        return next(entry for entry in self.entries if entry.label == label)

    @property
    def scored(self) -> Mapping[str, Any]:
        """Which scans of a split are scored: "persons" and "one_scan_each"."""
        return {"persons": self.scored_persons, "one_scan_each": self.one_scan_each}

    def runs(self) -> tuple[Run, ...]:
        """The uncorrected image and every training, those that others stand on before them."""
        ordered: dict[str, Entry] = {}

        def take(entry: Entry) -> None:
            for label in entry.stands_on.values():
                take(self[label])
            ordered.setdefault(entry.label, entry)

        for entry in self.entries:
            take(entry)
        return (Run(Entry(self.uncorrected, None), 0), *(Run(e, seed) for e in ordered.values() for seed in e.seeds))

    def stands_on(self, run: Run) -> dict[str, Run]:
        """The trainings that a run needs: those of its own seed where there are such."""
        needed = {what: self[label] for what, label in run.entry.stands_on.items()}
        return {what: Run(e, run.seed if run.seed in e.seeds else e.seeds[0]) for what, e in needed.items()}

    def quickly(self) -> Self:
        """The same plan on fewer persons with the budget of its quick table, one seed for each entry."""
        if not self.quick:
            raise BadArgument("a recipe without [quick]", needed="the smaller form", remedy="Add it to the recipe.")
        quick = dict(self.quick)
        cohort, budget = ({**there, **quick.pop(key, {})} for key, there in self._nested())
        entries = tuple(replace(e, seeds=e.seeds[:1], budget={}, reason="") for e in self.entries)
        return replace(self, entries=entries, cohort=cohort, budget=budget, quick={}, **quick)

    def only(self, labels: Sequence[str]) -> Self:
        """The plan of some entries, with what they stand on and the reference."""
        for label in labels:
            if label not in [entry.label for entry in self.entries]:
                raise BadArgument(f"entry {label!r}", needed="a label of the recipe", remedy="Check the spelling.")
        kept: set[str] = set()

        def keep(label: str) -> None:
            kept.add(label)
            for other in self[label].stands_on.values():
                keep(other)

        for label in (*labels, self.reference):
            keep(label)
        return replace(self, entries=tuple(entry for entry in self.entries if entry.label in kept))

    def _nested(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        return (("cohort", self.cohort), ("budget", self.budget))

    def _require_no_circle(self, label: str, above: tuple[str, ...]) -> None:
        if label in above:
            raise BadArgument(
                f"{' from '.join((*above, label))}",
                needed="an entry that can be trained first",
                remedy="Break the circle.",
            )
        for other in self[label].stands_on.values():
            self._require_no_circle(other, (*above, label))


def read_plan(record: Mapping[str, Any], kind: type[Plan] = Plan) -> Plan:
    """A plan from the values of a TOML file; an unknown key stops it.

    Parameters
    ----------
    kind : the plan of another task, with fields of its own.

    Raises
    ------
    BadArgument : unknown or missing keys, labels that are not there, a circle of teachers.
    """
    given = dict(record)
    entries = tuple(_made(Entry, one, f"entry {one.get('label', '?')}") for one in given.pop("entry", []))
    if not entries:
        raise BadArgument("a recipe without [[entry]]", needed="at least one method", remedy="See recipes/ac.toml.")
    quick = set(given.get("quick", {})) - kind.quick_keys
    if quick:
        raise BadArgument(
            f"[quick] with {', '.join(sorted(quick))}",
            needed=", ".join(sorted(kind.quick_keys)),
            remedy="Check the spelling.",
        )
    if "truths" in given:
        given["truths"] = tuple(given["truths"])
    plan: Plan = _made(kind, {**given, "entries": entries}, "the recipe")
    return plan


def _made(kind: Any, values: Mapping[str, Any], what: str) -> Any:
    known = {f.name for f in fields(kind)}
    unknown, needed = sorted(set(values) - known), sorted(known)
    if unknown:
        raise BadArgument(f"{what} with {', '.join(unknown)}", needed=", ".join(needed), remedy="Check the spelling.")
    try:
        return kind(**values)
    except TypeError as error:
        raise BadArgument(f"{what}: {error}", needed=", ".join(needed), remedy="Complete it.") from error
