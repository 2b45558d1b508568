"""The folder that an import makes: the split of each person, the manifest, and what earlier imports left there."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from photopeak.core.errors import BadArgument, PhotopeakError
from photopeak.io.cohort import MANIFEST_FILE, SPLITS, STATES, read_manifest, write_manifest
from photopeak.io.import_table import Line
from photopeak.io.store import load_study

DEFAULT_SPLIT = (254, 84, 86)
MANIFEST_EVERY = 20
Entry = Mapping[str, str | None]
_LEFTOVER = re.compile(r"\.[0-9a-f]{8}\.(partial|replaced)")


@dataclass(frozen=True)
class Imported:
    """What an import did: a line for each file, the studies made now, and those that were there already."""

    lines: tuple[Line, ...]
    made: tuple[str, ...]
    there: tuple[str, ...]
    warnings: tuple[str, ...]


def split_of(number: int, sizes: Sequence[int], seed: int) -> str:
    """Split of person `number` (from 0): `sizes` of every sum(sizes) persons, shuffled; later ones change nothing."""
    whole = sum(sizes)
    place = int(np.random.default_rng(seed).permutation(whole)[number % whole])
    return SPLITS[int(np.searchsorted(np.cumsum(sizes), place, side="right"))]


def entry_of(person: str, persons: Sequence[str], state: str, split: Sequence[int], seed: int) -> Entry:
    """What the manifest says of a scan; a state that is neither stress nor rest is none."""
    known = state if state in STATES else None
    return {"split": split_of(persons.index(person), split, seed), "person": person, "state": known}


def opened(source: Path, cohort: Path, about: Mapping[str, Any]) -> dict[str, Entry]:
    """Studies of earlier imports in `cohort`, once it is known to be one `about` the same, and is swept."""
    inner, outer = cohort.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise BadArgument(
            "COHORT inside DICOM_DIR, or the other way round", needed="two places", remedy="Choose another COHORT."
        )
    known: dict[str, Entry] = {}
    if (cohort / MANIFEST_FILE).is_file():
        scans, there = read_manifest(cohort)
        if there != dict(about):
            raise BadArgument(
                f"a cohort of {there}",
                needed=f"one of {dict(about)}",
                remedy="Use the salt, split and seed of the first import, or another folder.",
            )
        known = {name: {"split": s.split, "person": s.person, "state": s.state} for name, s in scans.items()}
    cohort.mkdir(parents=True, exist_ok=True)
    _sweep(cohort)
    return known


def write_present(cohort: Path, entries: Mapping[str, Entry], about: Mapping[str, Any]) -> None:
    """Name the studies that are there, so that the cohort opens whenever the import stops."""
    present = {name: entry for name, entry in entries.items() if (cohort / name).is_dir()}
    write_manifest(cohort, present, about=about)


def import_record(folder: Path) -> dict[str, Any]:
    """What an earlier import says of the study in `folder`; nothing if there is none that can be read."""
    try:
        return dict(load_study(folder, mmap=True).facts.get("import", {})) if folder.is_dir() else {}
    except PhotopeakError:
        return {}


def _sweep(cohort: Path) -> None:
    """Remove what a killed import left half written."""
    for path in cohort.iterdir():
        if _LEFTOVER.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
