"""What is wrong with the files of a cohort: missing, damaged, or nobody's."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

from photopeak.core.errors import PhotopeakError
from photopeak.io.slices import FLOAT32_BYTES, array_header
from photopeak.io.store import STUDY_FILE, STUDY_SCHEMA, file_sha256, plain_name, read_record


@dataclass(frozen=True)
class Damage:
    """One file that is not as it should be.

    Parameters
    ----------
    study : name of the study that cannot be used because of it; None where none suffers.
    file : path relative to the cohort's folder.
    """

    study: str | None
    file: str
    kind: Literal["missing", "damaged", "extra"]
    reason: str

    def __str__(self) -> str:
        return f"{self.file} {self.kind}: {self.reason}"


def find_damage(
    folder: Path, digests: Mapping[str, str | None], *, checksums: bool, threads: int | None = None
) -> list[Damage]:
    """Everything wrong in a cohort's folder, in order of names.

    Parameters
    ----------
    digests : SHA-256 of each study's ``study.json`` by study name; None is not compared.
    checksums : read every array and compare its SHA-256; without, only its header and size.
    threads : that read at the same time; as many as there are cores unless given.
    """

    def of_study(name: str) -> list[Damage]:
        return list(_study_damage(folder, name, digests[name], checksums))

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        found = [damage for one in pool.map(of_study, digests) for damage in one]
    return found + list(_strangers(folder, digests))


def _study_damage(folder: Path, name: str, digest: str | None, checksums: bool) -> Iterator[Damage]:
    path = folder / name / STUDY_FILE
    if not path.is_file():
        yield Damage(name, f"{name}/{STUDY_FILE}", "missing", "the manifest names this study")
        return
    if digest is not None and file_sha256(path) != digest:
        yield Damage(name, f"{name}/{STUDY_FILE}", "damaged", "its SHA-256 is not the one in the manifest")
        return
    try:
        record = read_record(path, STUDY_SCHEMA)
        shapes = _array_shapes(record)
        digests = {file: str(record["sha256"][file]) for file in shapes}
    except (PhotopeakError, KeyError, TypeError, AttributeError) as error:
        yield Damage(name, f"{name}/{STUDY_FILE}", "damaged", f"it does not describe a study: {error}")
        return
    for file, shape in shapes.items():
        yield from _array_damage(folder, name, f"{file}.npy", shape, digests[file] if checksums else None)
    for stranger in sorted({p.name for p in path.parent.iterdir()} - {STUDY_FILE, *(f"{file}.npy" for file in shapes)}):
        yield Damage(None, f"{name}/{stranger}", "extra", "study.json does not name it")


def _array_shapes(record: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {
        f"{kind}-{plain_name(name)}": tuple(map(int, entry["shape"]))
        for kind, entries in (("volume", record["volumes"]), ("projections", record["projections"]))
        for name, entry in entries.items()
    }


def _array_damage(folder: Path, study: str, file: str, shape: tuple[int, ...], digest: str | None) -> Iterator[Damage]:
    path = folder / study / file
    if not path.is_file():
        yield Damage(study, f"{study}/{file}", "missing", "study.json names it")
        return
    reason = _header_damage(path, shape)
    if reason is None and digest is not None and file_sha256(path) != digest:
        reason = "its SHA-256 is not the one in study.json"
    if reason is not None:
        yield Damage(study, f"{study}/{file}", "damaged", reason)


def _header_damage(path: Path, shape: tuple[int, ...]) -> str | None:
    try:
        offset, there = array_header(path)
    except PhotopeakError as error:
        return error.given
    if there != shape:
        return f"shape {there} is not the {shape} of study.json"
    size, needed = path.stat().st_size, offset + FLOAT32_BYTES * prod(shape)
    return None if size == needed else f"{size} bytes are not {needed}"


def _strangers(folder: Path, names: Mapping[str, object]) -> Iterator[Damage]:
    """Folders that are no study of the manifest, and what an interrupted writing left; other files are the owner's."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            yield Damage(None, path.name, "extra", "left by an interrupted writing; it can be deleted")
        elif path.is_dir() and path.name not in names:
            yield Damage(None, path.name, "extra", "the manifest names no such study")
