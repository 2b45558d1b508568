"""The table of an import: one line for each file, with what became of it and why, and nothing that names anybody."""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from photopeak.core.errors import BadArgument
from photopeak.io.atomic import beside
from photopeak.io.dicom_walk import Found

TABLE_FILE = "import.csv"
TAKEN, LEFT = "taken", "left"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Line:
    """What became of one file.

    Parameters
    ----------
    file : its running number in the walk.
    file_hash : salted, of its path below the folder.
    series : salted hash, for ``--series``; empty for what is no part of one.
    outcome : "taken" or "left".
    study, as_ : where it went, and under which name.
    why : what decided it, or why it was left.
    """

    file: int
    file_hash: str
    series: str
    outcome: str
    study: str
    as_: str
    why: str


def write_table(lines: Iterable[Line], path: Path) -> Path:
    """`lines` as CSV in which no cell can be a formula."""
    rows = [tuple(f.name.rstrip("_") for f in fields(Line))]
    rows += [astuple(line) for line in sorted(lines, key=lambda line: line.file)]
    return _write_rows(rows, path)


def write_private(files: Sequence[Found], descriptions: dict[int, str], path: Path, cohort: Path) -> Path:
    """File number, path and description: for whoever must decide on a series, and never inside the cohort."""
    if path.resolve().is_relative_to(cohort.resolve()):
        raise BadArgument(
            "--private inside the cohort",
            needed="a file elsewhere: it may name patients",
            remedy="Choose another place.",
        )
    rows: list[tuple[object, ...]] = [("file", "path", "member", "description")]
    rows += [(f.number, f.path, "" if f.member is None else f.member, descriptions.get(f.number, "")) for f in files]
    return _write_rows(rows, path)


def _write_rows(rows: Sequence[tuple[object, ...]], path: Path) -> Path:
    with beside(path) as partial:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([plain_cell(cell) for cell in row] for row in rows)
    return path


def plain_cell(cell: object) -> str:
    """`cell` as text that no spreadsheet takes for a formula."""
    text = str(cell)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
