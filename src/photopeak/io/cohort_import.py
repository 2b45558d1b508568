"""A hospital's DICOM as a cohort: series put together to scans, de-identified, read, and written study by study.

Everything that goes into the cohort has passed `deidentify.deidentified` first: the readers never see the original
header, and so neither do their facts, histories and errors.
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from photopeak.cardiac.registration import registration
from photopeak.core import Step, Study
from photopeak.core.errors import BadArgument, PhotopeakError
from photopeak.core.units import TC99M_KEV
from photopeak.io.cohort import MANIFEST_FILE, SPLITS, read_manifest, write_manifest
from photopeak.io.deidentify import Secret, deidentified, facts_of, text_of
from photopeak.io.dicom_ct import read_ct
from photopeak.io.dicom_index import SHOWN, Left, Series, decide, index
from photopeak.io.dicom_nm import read_nm
from photopeak.io.dicom_nm_mu import read_nm_mu
from photopeak.io.dicom_nm_tomo import PHOTOPEAK_KEV, read_nm_tomo
from photopeak.io.dicom_walk import Found, Opener, quiet_pydicom, read_dicom
from photopeak.io.import_scans import EMISSION, Scan, grouped, named
from photopeak.io.import_table import LEFT, TABLE_FILE, TAKEN, Line, write_private, write_table
from photopeak.io.store import load_study, save_study

DEFAULT_SPLIT = (254, 84, 86)
MANIFEST_EVERY = 20
_LEFTOVER = re.compile(r"\.[0-9a-f]{8}\.(partial|replaced)")
_TAG = re.compile(r"\([0-9A-F]{4},[0-9A-F]{4}\)")


@dataclass(frozen=True)
class Imported:
    """What an import did: a line for each file, the studies made now, and those that were there already."""

    lines: tuple[Line, ...]
    made: tuple[str, ...]
    there: tuple[str, ...]
    warnings: tuple[str, ...]


def import_cohort(
    source: Path,
    cohort: Path,
    secret: Secret,
    *,
    choices: Sequence[str] = (),
    rules: Sequence[str] = (),
    split: Sequence[int] = DEFAULT_SPLIT,
    seed: int = 0,
    private: Path | None = None,
    watch: Callable[[Sequence[Scan]], Iterable[Scan]] = iter,
) -> Imported:
    """Import every stress and rest study below `source`; what is in `cohort` already stays and is not made again.

    Parameters
    ----------
    source : a folder, zip or file.
    secret : makes the pseudonyms; the same for every import into one cohort.
    choices, rules : "PREFIX=rest:ac" and "REGEX=rest:ac" for series that their headers leave open.
    split : persons for training, validation and test, in proportion.
    private : file for paths and descriptions, outside the cohort; they may name patients, so none is written unasked.
    watch : sees the scans go by, for a progress bar.
    """
    _require_apart(source, cohort)
    about = {"imported": True, "salt": secret.hash("salt")[:16], "split": list(split), "seed": seed}
    known = _known(cohort, about)
    cohort.mkdir(parents=True, exist_ok=True)
    _sweep(cohort)
    with Opener() as opener:
        series, left = index(source, secret, opener)
        decide(series, choices, rules)
        groups = grouped(series)
        scans, persons = named(groups, cohort, secret)
        entries = known | {
            scan.name: {
                "split": split_of(persons.index(scan.person), split, seed),
                "person": scan.person,
                "state": scan.state,
            }
            for scan in scans
        }
        _write_manifest(cohort, entries, about)
        made, there = list[str](), list[str]()
        records: dict[str, dict[str, Any]] = {}
        for number, scan in enumerate(watch(scans), 1):
            records[scan.name] = _import_record(cohort / scan.name)
            if records[scan.name].get("inputs") == scan.inputs:
                there.append(scan.name)
            else:
                study = convert(scan, secret, opener)
                records[scan.name] = dict(study.facts["import"])
                if records[scan.name]["parts"]:
                    save_study(study, cohort / scan.name)
                    made.append(scan.name)
            if number % MANIFEST_EVERY == 0:
                _write_manifest(cohort, entries, about)
    _write_manifest(cohort, entries, about)
    lines = _lines(source, series, left, scans, records, secret)
    write_table(lines, cohort / TABLE_FILE)
    if private is not None:
        _write_private(series, left, private, cohort)
    warnings = [f"{name}: {text}" for name, record in records.items() for text in record.get("warnings", [])]
    return Imported(tuple(lines), tuple(made), tuple(there), tuple(warnings))


def split_of(number: int, sizes: Sequence[int], seed: int) -> str:
    """Split of person `number` (from 0): `sizes` of every sum(sizes) persons, shuffled; later ones change nothing."""
    whole = sum(sizes)
    place = int(np.random.default_rng(seed).permutation(whole)[number % whole])
    return SPLITS[int(np.searchsorted(np.cumsum(sizes), place, side="right"))]


def convert(scan: Scan, secret: Secret, opener: Opener) -> Study:
    """One scan as a study of allow-listed facts. A series that cannot be read is left out, and the record says why."""
    study, facts = Study(scan.name), dict[str, Any]()
    record: dict[str, Any] = {"inputs": scan.inputs, "parts": {}, "left": {}, "warnings": []}
    frames: dict[str, str] = {}
    for name, series in sorted(scan.parts.items(), key=lambda part: part[1].role.what.value == "mu"):
        try:
            part, known = _read(series, secret, opener, facts)
        except PhotopeakError as error:
            record["left"][series.shown] = reason(error)
            continue
        by = {q: series.role.answer(q).by for q in ("state", "what", "orientation")}
        record["parts"][name] = {"item": series.shown, "decided_by": by}
        step = Step((name,), "import", (), {"item": series.shown, "what": series.role.what.by})
        if part.projections:
            study = replace(study, projections=part.projections, history=(*study.history, step))
        for volume in part.volumes.values():
            study = study.add({name: volume}, step)
        facts = {**known, **facts} if series.role.what.value in EMISSION else facts
        frames[name] = str(part.facts.get("dicom", {}).get("frame_of_reference_sha256", ""))[:SHOWN]
    if not any(scan.parts[name].role.what.value in EMISSION for name in record["parts"]):
        why = "no emission data of its scan can be read"
        record["left"] |= {scan.parts[name].shown: why for name in record["parts"]}
        record["parts"] = {}
    facts["frames"] = {name: frame for name, frame in frames.items() if frame}
    if "mu" in study and "nac" in study:
        found = registration(study["mu"], study["nac"])
        facts["registration"] = found.to_dict()
        record["warnings"] += found.warnings
    return study.with_facts(
        **facts, person=scan.person, state=scan.state, simulated=False, **{"import": {**record, "scan": scan.key}}
    )


def _read(series: Series, secret: Secret, opener: Opener, facts: Mapping[str, Any]) -> tuple[Study, dict[str, Any]]:
    """A series through the reader of its kind, from a de-identified copy that lives as long as this call."""
    what = series.role.what.value
    known: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="photopeak-") as name, quiet_pydicom():
        folder = Path(name)
        for number, found in enumerate(series.files):
            _copy(found, folder / f"{number:06d}.dcm", secret, opener, known, series.person)
        first = folder / "000000.dcm"
        if what == "ct":
            part = read_ct(folder)
        elif what == "raw":
            part = read_nm_tomo(first)
        elif what == "mu":
            part = read_nm_mu(first, energy_kev=PHOTOPEAK_KEV.get(str(facts.get("isotope")), TC99M_KEV))
        else:
            part = read_nm(first, as_=what)
    kept = {k: v for k, v in part.facts.items() if k not in ("dicom", "named_by", "orientation", "corrected", "kvp")}
    return part, {**kept, **known}


def _copy(found: Found, target: Path, secret: Secret, opener: Opener, known: dict[str, Any], person: str) -> None:
    try:
        with opener.open(found) as file:
            original = read_dicom(file)
            if not known:
                known |= facts_of(original, secret, person)
            clean = deidentified(original, secret)
        clean.save_as(target, enforce_file_format=True)
    except PhotopeakError:
        raise
    except Exception as error:  # what is damaged fails in many ways, and the text may quote the header
        raise BadArgument(f"damaged DICOM ({type(error).__name__})", needed="a whole file", remedy="") from None


def reason(error: PhotopeakError) -> str:
    """What an error says without the values that it quotes: its kind, the tags it names, and what was needed."""
    tags = " ".join(dict.fromkeys(_TAG.findall(error.given)))
    return " ".join(filter(None, [type(error).__name__, tags])) + f": needed {error.needed}"


def _known(cohort: Path, about: Mapping[str, Any]) -> dict[str, dict[str, str | None]]:
    """Studies of earlier imports."""
    if not (cohort / MANIFEST_FILE).is_file():
        return {}
    scans, there = read_manifest(cohort)
    if there != dict(about):
        raise BadArgument(
            f"a cohort of {there}",
            needed=f"one of {dict(about)}",
            remedy="Use the salt, split and seed of the first import, or another folder.",
        )
    return {name: {"split": s.split, "person": s.person, "state": s.state} for name, s in scans.items()}


def _write_manifest(cohort: Path, entries: Mapping[str, Mapping[str, str | None]], about: Mapping[str, Any]) -> None:
    """Name the studies that are there, so that the cohort opens whenever the import stops."""
    present = {name: entry for name, entry in entries.items() if (cohort / name).is_dir()}
    write_manifest(cohort, present, about=about)


def _import_record(folder: Path) -> dict[str, Any]:
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


def _require_apart(source: Path, cohort: Path) -> None:
    inner, outer = cohort.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise BadArgument(
            "COHORT inside DICOM_DIR, or the other way round", needed="two places", remedy="Choose another COHORT."
        )


def _lines(
    source: Path,
    series: Sequence[Series],
    left: Sequence[Left],
    scans: Sequence[Scan],
    records: Mapping[str, Mapping[str, Any]],
    secret: Secret,
) -> list[Line]:
    """The table: a line for each file."""
    root = source.resolve()
    place = {id(s): (scan.name, name) for scan in scans for name, s in scan.parts.items()}

    def mark(found: Found) -> str:
        inside = "" if found.path == root else str(found.path.relative_to(root))
        return secret.hash("file", inside, str(found.member))[:SHOWN]

    lines = [Line(one.file.number, mark(one.file), "", LEFT, "", "", one.why) for one in left]
    for one in series:
        study, name = place.get(id(one), ("", ""))
        why = one.role.refused or records.get(study, {}).get("left", {}).get(one.shown, "")
        if one.role.open and not why:
            asked = "; ".join(one.role.answer(q).by for q in one.role.open)
            why = f"open: {asked}. Decide with --series {one.shown}={_flag(one)}"
        outcome = LEFT if why else TAKEN
        decided = "; ".join(dict.fromkeys(one.role.answer(q).by for q in ("state", "what", "orientation")))
        study, name = ("", "") if why else (study, name)
        lines += [Line(f.number, mark(f), one.shown, outcome, study, name, why or f"by {decided}") for f in one.files]
    return lines


def _flag(series: Series) -> str:
    """What a flag must still say of a series."""
    words = {"state": "stress|rest", "what": "nac|ac|mu", "orientation": "transaxial|sa|hla|vla"}
    return ":".join(words[question] for question in series.role.open)


def _write_private(series: Sequence[Series], left: Sequence[Left], path: Path, cohort: Path) -> None:
    files = [one.file for one in left] + [f for one in series for f in one.files]
    described = {f.number: text_of(one.header, "SeriesDescription") for one in series for f in one.files}
    write_private(sorted(files, key=lambda f: f.number), described, path, cohort)
