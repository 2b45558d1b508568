"""Series put together to scans: one person's stress or rest, each part under the name that it has in a cohort."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from photopeak.io.atomic import beside
from photopeak.io.deidentify import Secret
from photopeak.io.dicom_index import Series
from photopeak.io.dicom_roles import LEAVE
from photopeak.io.store import read_record, write_record

NAMES_FILE, NAMES_SCHEMA = "import.json", "photopeak import 1"
EMISSION = ("nac", "ac", "raw", "pet")
Key = tuple[str, str, str]
"""Salted hashes of person and study, and the state."""


@dataclass(frozen=True)
class Scan:
    """The series that make one study of the cohort, by the name under which each is kept there."""

    name: str
    person: str
    key: str
    parts: Mapping[str, Series]

    @property
    def state(self) -> str:
        return str(next(iter(self.parts.values())).role.state.value)

    @property
    def inputs(self) -> list[str]:
        return [f"{name} {series.shown} {len(series.files)}" for name, series in sorted(self.parts.items())]


def grouped(series: Sequence[Series]) -> dict[Key, dict[str, Series]]:
    """The parts of each scan (person, study, state) by name. Two series of one name are both left, and so are maps and
    CT of a scan without emission data."""
    named: dict[Key, dict[str, list[Series]]] = defaultdict(lambda: defaultdict(list))
    for one in series:
        role = one.role
        if not role.refused and not role.open:
            cut = role.orientation.value
            name = f"{role.what.value}" if cut == "transaxial" else f"{role.what.value}_{cut}"
            named[one.person, one.study, str(role.state.value)][name].append(one)
    groups = {}
    for key, parts in named.items():
        _part_by_scatter(parts)
        for name, several in parts.items():
            if len(several) > 1:
                for one in several:
                    one.refuse(
                        f"one of {len(several)} series that are {name}: leave all but one (--series HASH={LEAVE})"
                    )
        whole = {name: several[0] for name, several in parts.items() if len(several) == 1}
        if any(one.role.what.value in EMISSION for one in whole.values()):
            groups[key] = whole
        else:
            for one in whole.values():
                one.refuse("no emission data of its scan")
    return groups


def _part_by_scatter(parts: dict[str, list[Series]]) -> None:
    """Of two AC series, "ac" is the one with scatter correction and "ac_nosc" the other, if their headers say so."""
    pair = parts.get("ac", [])
    with_scatter = [one for one in pair if _scatter_corrected(one)]
    if len(pair) == 2 and len(with_scatter) == 1:
        parts["ac_nosc"] = [one for one in pair if one is not with_scatter[0]]
        parts["ac"] = with_scatter


def _scatter_corrected(series: Series) -> bool:
    given = series.header.get("CorrectedImage") or []
    return "SCAT" in ([given] if isinstance(given, str) else list(given))


def named(groups: Mapping[Key, Mapping[str, Series]], cohort: Path, secret: Secret) -> tuple[list[Scan], list[str]]:
    """Scans under names that stay theirs in later imports: new persons come after old, by the order of their hashes."""
    path = cohort / NAMES_FILE
    record = read_record(path, NAMES_SCHEMA) if path.is_file() else {}
    persons: dict[str, str] = dict(record.get("persons", {}))
    names: dict[str, str] = dict(record.get("scans", {}))
    for person in sorted({person for person, _, _ in groups} - set(persons)):
        persons[person] = f"person_{len(persons) + 1:04d}"
    scans = []
    for key in sorted(groups, key=lambda k: (persons[k[0]], min(s.when for s in groups[k].values()), k)):
        scan, (person, _, state) = secret.hash("scan", *key)[:16], key
        if scan not in names:
            plain, taken = f"{persons[person]}_{state}", set(names.values())
            later = (f"{plain}_{n}" for n in range(2, len(taken) + 3))
            names[scan] = next(name for name in (plain, *later) if name not in taken)
        scans.append(Scan(names[scan], persons[person], scan, groups[key]))
    with beside(path) as partial:
        write_record({"schema": NAMES_SCHEMA, "persons": persons, "scans": names}, partial)
    return scans, list(persons.values())
