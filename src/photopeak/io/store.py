"""A study on disk: readable JSON beside one .npy array for each volume and each set of projections.

A study folder holds ``study.json`` and its arrays, each named with its SHA-256 (many of them: `photopeak.io.cohort`).
Nothing is pickled, and no file name comes from inside a file.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from photopeak.core import Camera, EnergyWindow, Grid, Projections, Quantity, Step, Study, Volume
from photopeak.core.errors import BadArgument, UnreadableFile
from photopeak.io.atomic import beside

STUDY_FILE, STUDY_SCHEMA = "study.json", "photopeak study 1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def save_study(study: Study, folder: Path | str) -> Path:
    """Write `study` whole into `folder`; a saved study already there is replaced, any other folder is refused."""
    folder = require_free(Path(folder), STUDY_FILE)
    volumes = {f"volume-{plain_name(name)}": v.numpy() for name, v in study.volumes.items()}
    counts = {f"projections-{plain_name(n)}": p.counts.detach().cpu().numpy() for n, p in study.projections.items()}
    with beside(folder) as partial:
        partial.mkdir()
        record = _record(study)
        for file, array in {**volumes, **counts}.items():
            np.save(partial / f"{file}.npy", np.ascontiguousarray(array, dtype=np.float32))
            record["sha256"][file] = file_sha256(partial / f"{file}.npy")
        write_record(record, partial / STUDY_FILE)
    return folder


def load_study(folder: Path | str, *, mmap: bool = False) -> Study:
    """The study saved in `folder`.

    Parameters
    ----------
    mmap : map the arrays instead of reading them; their checksums are then not compared.
    """
    folder = Path(folder)
    record = read_record(folder / STUDY_FILE, STUDY_SCHEMA)
    try:
        volumes = {
            name: Volume(_array(folder, f"volume-{plain_name(name)}", v, record, mmap), _grid(v), _quantity(v))
            for name, v in record["volumes"].items()
        }
        projections = {
            name: Projections(
                _array(folder, f"projections-{plain_name(name)}", p, record, mmap),
                _camera(p["camera"]),
                EnergyWindow(**p["window"]),
            )
            for name, p in record["projections"].items()
        }
        history = tuple(Step(tuple(s["made"]), s["by"], tuple(s["reads"]), s["settings"]) for s in record["history"])
        return Study(record["name"], volumes, projections, record["facts"], history)
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(folder / STUDY_FILE, f"{type(error).__name__} {error}") from error


def require_free(folder: Path, mark: str) -> Path:
    """`folder`, if writing there loses nothing: it is absent, empty, or holds the file `mark` of an earlier writing."""
    if folder.exists() and not (folder.is_dir() and ((folder / mark).exists() or not any(folder.iterdir()))):
        raise BadArgument(
            f"{folder}, which holds something else", needed="a new or empty folder", remedy="Choose another place."
        )
    return folder


def plain_name(name: str) -> str:
    """`name`, if it can be part of a file name everywhere."""
    if not _NAME.fullmatch(name):
        raise BadArgument(
            f"the name {name!r}", needed="letters, digits, '_', '-' and '.'", remedy="Rename it; names become files."
        )
    return name


def _record(study: Study) -> dict[str, Any]:
    return {
        "schema": STUDY_SCHEMA,
        "name": study.name,
        "volumes": {
            name: {"shape": v.grid.shape, "affine": v.grid.affine, "quantity": asdict(v.quantity)}
            for name, v in study.volumes.items()
        },
        "projections": {
            name: {
                "shape": tuple(p.counts.shape),
                "camera": {"kind": p.camera.kind, "record": p.camera.to_dict()},
                "window": asdict(p.window),
            }
            for name, p in study.projections.items()
        },
        "facts": dict(study.facts),
        "history": [{**vars(s), "settings": dict(s.settings)} for s in study.history],
        "sha256": {},
    }


def _array(folder: Path, file: str, entry: Mapping[str, Any], record: Mapping[str, Any], mmap: bool) -> torch.Tensor:
    path = folder / f"{file}.npy"
    try:
        if not mmap and file_sha256(path) != record["sha256"][file]:
            raise damaged(path, "its SHA-256 is not the one in study.json")
        array = np.load(path, allow_pickle=False, mmap_mode="c" if mmap else None)
    except FileNotFoundError as error:
        raise UnreadableFile(
            f"{path} is missing",
            needed="every array that study.json names",
            remedy="Restore it, or make the study again.",
        ) from error
    except (ValueError, EOFError, OSError) as error:
        raise damaged(path, str(error)) from error
    if array.dtype != np.float32 or list(array.shape) != list(entry["shape"]):
        raise damaged(path, f"{array.dtype} {array.shape} is not float32 {tuple(entry['shape'])}")
    return torch.from_numpy(array)


def _grid(entry: Mapping[str, Any]) -> Grid:
    return Grid(tuple(entry["shape"]), tuple(map(tuple, entry["affine"])))


def _quantity(entry: Mapping[str, Any]) -> Quantity:
    return Quantity(**entry["quantity"])


def _camera(entry: Mapping[str, Any]) -> Camera:
    """The camera class whose `kind` is the name of its file in ``photopeak.physics``, rebuilt from its record."""
    kind = str(entry["kind"])
    try:
        if not kind.isidentifier():
            raise ModuleNotFoundError(kind)
        module = import_module(f"photopeak.physics.{kind}")
        classes = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Camera)]
        camera = next(c for c in classes if getattr(c, "kind", None) == kind)
    except (ModuleNotFoundError, StopIteration) as error:
        raise UnreadableFile(
            f"a camera of kind {kind!r}",
            needed="a kind that is a file of photopeak.physics",
            remedy="Install the version of photopeak that wrote it.",
        ) from error
    return camera.from_dict(entry["record"])


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_record(record: Mapping[str, Any], path: Path) -> None:
    """Write `record` as JSON."""
    try:
        path.write_text(json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    except (TypeError, ValueError) as error:
        raise BadArgument(
            f"facts, settings or a camera that JSON cannot hold: {error}",
            needed="finite numbers, strings, lists and dictionaries",
            remedy="Convert them before saving.",
        ) from error


def read_record(path: Path, *schemas: str) -> dict[str, Any]:
    """The JSON record in a file, if it is of one of the `schemas`."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnreadableFile(
            f"{path} is missing", needed=f"a {schemas[-1]} folder", remedy="Check the path."
        ) from error
    except ValueError as error:
        raise damaged(path, str(error)) from error
    found = record.get("schema") if isinstance(record, dict) else None
    if found not in schemas:
        raise UnreadableFile(
            f"{path} has schema {found!r}",
            needed=" or ".join(map(repr, schemas)),
            remedy="Read it with the version that wrote it.",
        )
    return record


def damaged(path: Path, why: str) -> UnreadableFile:
    """The error of a file that is not as it was saved."""
    return UnreadableFile(
        f"{path} is damaged: {why}", needed="the file as it was saved", remedy="Restore it, or make the study again."
    )
