"""PET/CT as NIfTI, a folder for each person, as a cohort like that of an import of DICOM.

NIfTI says neither what its numbers are nor of which tube voltage; file names say the first and the user the second.
Names of folders may be names of people, so they go into the cohort as pseudonyms only.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from photopeak.core import Step, Study
from photopeak.core.errors import MissingInput, PhotopeakError, UnreadableFile
from photopeak.io.atomic import beside
from photopeak.io.deidentify import Secret
from photopeak.io.dicom_index import SHOWN
from photopeak.io.import_read import reason
from photopeak.io.import_scans import NAMES_FILE, NAMES_SCHEMA
from photopeak.io.import_table import LEFT, TABLE_FILE, TAKEN, Line, write_table
from photopeak.io.import_target import (
    DEFAULT_SPLIT,
    MANIFEST_EVERY,
    Imported,
    entry_of,
    import_record,
    opened,
    write_present,
)
from photopeak.io.pet_pair import Pairing, nifti_files, read_nifti_pair
from photopeak.io.store import file_sha256, read_record, save_study, write_record


@dataclass(frozen=True)
class NiftiPair:
    """One folder with a CT and a PET.

    Parameters
    ----------
    name, person : pseudonyms of the study and of whom it is of.
    folder, files : where it is, and its files by "ct", "pet" and "lesion".
    """

    name: str
    person: str
    folder: Path
    files: dict[str, Path]


def import_nifti(
    source: Path,
    cohort: Path,
    secret: Secret,
    *,
    pairing: Pairing,
    split: Sequence[int] = DEFAULT_SPLIT,
    seed: int = 0,
    watch: Callable[[Sequence[NiftiPair]], Iterable[NiftiPair]] = iter,
) -> Imported:
    """Import every CT and PET (in HU and SUV) below `source`; what is in `cohort` already is not made again.

    Parameters
    ----------
    source : holds one folder for each person; a person's visits may be folders within.
    secret, split, seed, watch : as `cohort_import.import_cohort`.
    pairing : tube voltage, which is needed, and voxels.

    Raises
    ------
    MissingInput : no tube voltage, or no folder with a CT and a PET below one of a person.
    """
    if pairing.kvp is None:
        raise MissingInput(
            "NIfTI, which has no KVP", needed="the tube voltage of the CTs", remedy="State it: --kvp 120."
        )
    about: dict[str, Any] = {"imported": True, "format": "nifti", "salt": secret.hash("salt")[:16]}
    about |= {"split": list(split), "seed": seed}
    entries = opened(source, cohort, about)
    pairs, persons = _named(_folders(source), source, cohort, secret)
    entries |= {one.name: entry_of(one.person, persons, "", split, seed) for one in pairs}
    made, there, left = list[str](), list[str](), dict[str, str]()
    for one in watch(pairs):
        marks = _marks(one, secret)
        inputs = _inputs(marks, pairing)
        if import_record(cohort / one.name).get("inputs") == inputs:
            there.append(one.name)
            continue
        try:
            study = read_nifti_pair(one.folder, kvp=pairing.kvp, spacing_mm=pairing.spacing_mm)
        except PhotopeakError as error:
            left[one.name] = reason(error)
            continue
        save_study(_said(study, one, marks, inputs), cohort / one.name)
        made.append(one.name)
        if len(made) % MANIFEST_EVERY == 0:
            write_present(cohort, entries, about)
    write_present(cohort, entries, about)
    lines = _lines(source, pairs, left, secret)
    write_table(lines, cohort / TABLE_FILE)
    return Imported(tuple(lines), tuple(made), tuple(there), ())


def _marks(one: NiftiPair, secret: Secret) -> dict[str, str]:
    """Salted hashes of the contents of a pair's files: plain ones would be found again in the archive."""
    return {name: secret.hash("content", file_sha256(path))[:16] for name, path in sorted(one.files.items())}


def _inputs(marks: Mapping[str, str], how: Pairing) -> list[str]:
    """What decides the study of a pair: its files' contents, voltage and voxels."""
    return [*(f"{name} {mark}" for name, mark in marks.items()), f"kvp {how.kvp} spacing_mm {how.spacing_mm}"]


def _said(study: Study, one: NiftiPair, marks: Mapping[str, str], inputs: Sequence[str]) -> Study:
    steps = [Step((name,), "import", (), {"item": mark, "what": "file name"}) for name, mark in marks.items()]
    record = {"inputs": list(inputs), "parts": {name: {"decided_by": "file name"} for name in one.files}}
    facts = {"person": one.person, "state": None, "simulated": False, "import": record}
    return replace(study, name=one.name, history=(*steps, study.history[-1])).with_facts(**facts)


def _folders(source: Path) -> list[Path]:
    """Folders below `source`, links left alone, that hold a CT and a PET."""
    if not source.is_dir():
        raise MissingInput("a SOURCE that is no folder", needed="a folder of folders", remedy="Check the path.")
    below = [p for p in sorted(source.rglob("*")) if p.is_dir() and not p.is_symlink()]
    found = [folder for folder in below if _holds_a_pair(folder)]
    if not found:
        raise MissingInput(
            "a SOURCE without NIfTI pairs",
            needed="one folder for each person, with CT_image and PET_image (or ct and pet, CTres and SUV) in it",
            remedy="Name the files so.",
        )
    return found


def _holds_a_pair(folder: Path) -> bool:
    """True for one CT and one PET; of two of a kind none is taken, and the table says so of each file."""
    try:
        return {"ct", "pet"} <= set(nifti_files(folder))
    except UnreadableFile:
        return False


def _named(folders: Sequence[Path], source: Path, cohort: Path, secret: Secret) -> tuple[list[NiftiPair], list[str]]:
    """Pairs under names that stay theirs in later imports; new persons come after old, by the order of their hashes."""
    path = cohort / NAMES_FILE
    record = read_record(path, NAMES_SCHEMA) if path.is_file() else {}
    persons: dict[str, str] = dict(record.get("persons", {}))
    names: dict[str, str] = dict(record.get("scans", {}))
    inside = {folder: folder.relative_to(source) for folder in folders}
    whose = {folder: secret.hash("person", inside[folder].parts[0]) for folder in folders}
    for person in sorted(set(whose.values()) - set(persons)):
        persons[person] = f"person_{len(persons) + 1:04d}"
    pairs = []
    for folder in folders:
        key, plain = secret.hash("scan", inside[folder].as_posix())[:16], persons[whose[folder]]
        if key not in names:
            taken = set(names.values())
            later = (f"{plain}_{n}" for n in range(2, len(taken) + 3))
            names[key] = next(name for name in (plain, *later) if name not in taken)
        pairs.append(NiftiPair(names[key], plain, folder, nifti_files(folder)))
    with beside(path) as partial:
        write_record({"schema": NAMES_SCHEMA, "persons": persons, "scans": names}, partial)
    return sorted(pairs, key=lambda one: one.name), list(persons.values())


def _lines(source: Path, pairs: Sequence[NiftiPair], left: dict[str, str], secret: Secret) -> list[Line]:
    """The table: a line for each file below `source`."""
    place = {path: (one.name, name) for one in pairs for name, path in one.files.items()}
    lines = []
    for number, path in enumerate((p for p in sorted(source.rglob("*")) if not p.is_dir()), 1):
        mark = secret.hash("file", path.relative_to(source).as_posix(), "None")[:SHOWN]
        study, name = place.get(path, ("", ""))
        why = (
            left.get(study, "")
            if study
            else "its folder does not hold just one CT and one PET by their names, or it is none of them"
        )
        if why:
            lines.append(Line(number, mark, "", LEFT, "", "", why))
        else:
            lines.append(Line(number, mark, "", TAKEN, study, name, "by its file name"))
    return lines
