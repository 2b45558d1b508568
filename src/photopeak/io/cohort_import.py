"""A hospital's DICOM as a cohort: series put together to scans, de-identified, read, and written study by study.

Everything that goes into the cohort has passed `deidentify.deidentified` first: the readers never see the original
header, and so neither do their facts, histories and errors.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from photopeak.cardiac.registration import registration
from photopeak.core import Step, Study
from photopeak.core.errors import PhotopeakError
from photopeak.io.deidentify import Secret, text_of
from photopeak.io.dicom_index import SHOWN, SLICE_BY_SLICE, Left, Series, decide, index
from photopeak.io.dicom_walk import Found, Opener
from photopeak.io.import_pet import convert_pet, inputs_of, is_pet
from photopeak.io.import_read import read_series, reason
from photopeak.io.import_scans import EMISSION, Scan, grouped, named
from photopeak.io.import_table import LEFT, TABLE_FILE, TAKEN, Line, write_private, write_table
from photopeak.io.import_target import (
    DEFAULT_SPLIT,
    MANIFEST_EVERY,
    Imported,
    entry_of,
    import_record,
    opened,
    split_of,
    write_present,
)
from photopeak.io.pet_pair import Pairing
from photopeak.io.store import save_study

__all__ = ["Imported", "convert", "import_cohort", "split_of"]
_UNSAID = ("dicom", "named_by", "orientation", "corrected", "kvp")


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
    pairing: Pairing | None = None,
    watch: Callable[[Sequence[Scan]], Iterable[Scan]] = iter,
) -> Imported:
    """Import every stress and rest study and every PET/CT below `source`; what is in `cohort` already stays as it is.

    Parameters
    ----------
    source : a folder, zip or file.
    secret : makes the pseudonyms; the same for every import into one cohort.
    choices, rules : "PREFIX=rest:ac" and "REGEX=rest:ac" for series that their headers leave open.
    split : persons for training, validation and test, in proportion.
    private : file for paths and descriptions, outside the cohort; they may name patients, so none is written unasked.
    pairing : what the user decides about PET/CT: tube voltage, voxels, frame of reference.
    watch : sees the scans go by, for a progress bar.
    """
    how = pairing or Pairing()
    about = {"imported": True, "salt": secret.hash("salt")[:16], "split": list(split), "seed": seed}
    known = opened(source, cohort, about)
    with Opener() as opener:
        series, left = index(source, secret, opener)
        decide(series, choices, rules)
        groups = grouped(series)
        scans, persons = named(groups, cohort, secret)
        entries = known | {s.name: entry_of(s.person, persons, s.state, split, seed) for s in scans}
        write_present(cohort, entries, about)
        made, there = list[str](), list[str]()
        records: dict[str, dict[str, Any]] = {}
        for number, scan in enumerate(watch(scans), 1):
            records[scan.name] = import_record(cohort / scan.name)
            if records[scan.name].get("inputs") == inputs_of(scan, how):
                there.append(scan.name)
            else:
                pet = is_pet(scan)
                study = convert_pet(scan, secret, opener, how) if pet else convert(scan, secret, opener)
                records[scan.name] = dict(study.facts["import"])
                if records[scan.name]["parts"]:
                    save_study(study, cohort / scan.name)
                    made.append(scan.name)
            if number % MANIFEST_EVERY == 0:
                write_present(cohort, entries, about)
    write_present(cohort, entries, about)
    lines = _lines(source, series, left, scans, records, secret)
    write_table(lines, cohort / TABLE_FILE)
    if private is not None:
        _write_private(series, left, private, cohort)
    warnings = [f"{name}: {text}" for name, record in records.items() for text in record.get("warnings", [])]
    return Imported(tuple(lines), tuple(made), tuple(there), tuple(warnings))


def convert(scan: Scan, secret: Secret, opener: Opener) -> Study:
    """One scan as a study of allow-listed facts. A series that cannot be read is left out, and the record says why."""
    study, facts = Study(scan.name), dict[str, Any]()
    record: dict[str, Any] = {"inputs": scan.inputs, "parts": {}, "left": {}, "warnings": []}
    frames: dict[str, str] = {}
    for name, series in sorted(scan.parts.items(), key=lambda part: part[1].role.what.value == "mu"):
        try:
            part, known = read_series(series, secret, opener, facts)
        except PhotopeakError as error:
            record["left"][series.shown] = reason(error)
            continue
        known = {**{k: v for k, v in part.facts.items() if k not in _UNSAID}, **known}
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
    if text_of(series.header, "Modality") in SLICE_BY_SLICE:
        words |= {"state": "stress|rest|static", "what": "pet"}
    return ":".join(words[question] for question in series.role.open)


def _write_private(series: Sequence[Series], left: Sequence[Left], path: Path, cohort: Path) -> None:
    files = [one.file for one in left] + [f for one in series for f in one.files]
    described = {f.number: text_of(one.header, "SeriesDescription") for one in series for f in one.files}
    write_private(sorted(files, key=lambda f: f.number), described, path, cohort)
