"""A cohort on disk: a manifest beside one study folder for each scan, split by person.

A person's scans (stress and rest) are in one split, always. The manifest holds the SHA-256 of every ``study.json``,
which holds those of its arrays, so that one small file vouches for the whole (`photopeak.io.damage`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, overload

from photopeak.core import Step, Study
from photopeak.core.errors import BadArgument, MissingInput, UnreadableFile
from photopeak.io.atomic import beside
from photopeak.io.damage import Damage, find_damage
from photopeak.io.slices import Orientation, SlicePairs
from photopeak.io.store import STUDY_FILE, damaged, file_sha256, load_study, plain_name, read_record, write_record

MANIFEST_FILE, MANIFEST_SCHEMA, OLD_SCHEMA = "manifest.json", "photopeak cohort 2", "photopeak cohort 1"
SPLITS = ("train", "validation", "test")
STATES = ("stress", "rest")


@dataclass(frozen=True)
class Scan:
    """What a manifest says of one study.

    Parameters
    ----------
    split : "train", "validation" or "test".
    person : who was scanned; all scans of one person are in one split.
    state : "stress", "rest", or None where nobody knows.
    sha256 : of ``study.json``; None until the study is there.
    """

    split: str
    person: str
    state: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        for what, value, known in (("split", self.split, SPLITS), ("state", self.state, (*STATES, None))):
            if value not in known:
                raise BadArgument(f"{what} {value!r}", needed=" or ".join(map(str, known)), remedy="Use one of these.")


@dataclass(frozen=True)
class Cohort(Sequence[Study]):
    """A lazy sequence of saved studies; each is read when it is asked for, and checked then.

    Parameters
    ----------
    folder : where the manifest and the studies are.
    scans : what the manifest says of each study of this part, in order.
    about : where the studies come from.
    mmap : map arrays instead of reading them; their checksums are then not compared.
    damage : why studies of the manifest were left out.
    instead : volumes of each study that are replaced by another of its volumes, name by name.
    """

    folder: Path
    scans: Mapping[str, Scan]
    about: Mapping[str, Any]
    mmap: bool = False
    damage: tuple[Damage, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.scans)

    @property
    def persons(self) -> dict[str, tuple[str, ...]]:
        """Names of the studies of each person."""
        found: dict[str, tuple[str, ...]] = {}
        for name, scan in self.scans.items():
            found[scan.person] = (*found.get(scan.person, ()), name)
        return found

    def split(self, name: str) -> "Cohort":
        """The part "train", "validation" or "test"."""
        if name not in SPLITS:
            raise BadArgument(f"split {name!r}", needed=" or ".join(SPLITS), remedy="Use one of these names.")
        return replace(self, scans={n: scan for n, scan in self.scans.items() if scan.split == name})

    def taking(self, instead: Mapping[str, str]) -> "Cohort":
        """This cohort with other volumes under some names: ``{"ac": "ac_clean"}`` makes "ac" the noise-free one."""
        return replace(self, instead=dict(instead))

    def slices(self, *volumes: str, orientation: Orientation = "transaxial") -> SlicePairs:
        """Slices of several volumes at the same place, read at random."""
        return SlicePairs(self.folder, self.names, volumes, orientation)

    def __len__(self) -> int:
        return len(self.scans)

    @overload
    def __getitem__(self, index: int) -> Study: ...
    @overload
    def __getitem__(self, index: slice) -> "Cohort": ...
    def __getitem__(self, index: int | slice) -> "Study | Cohort":
        if isinstance(index, slice):
            return replace(self, scans={name: self.scans[name] for name in self.names[index]})
        study = load_study(self.folder / self.names[index], mmap=self.mmap)
        if not self.instead:
            return study
        step = Step(tuple(self.instead), "copy", tuple(self.instead.values()))
        return study.add({name: study[other] for name, other in self.instead.items()}, step)

    def __iter__(self) -> Iterator[Study]:
        return (self[index] for index in range(len(self)))


def write_manifest(
    folder: Path | str, entries: Mapping[str, str | Mapping[str, str | None]], *, about: Mapping[str, Any]
) -> Path:
    """Write down which studies make a cohort, who they are of, the split of each, and where they come from.

    Write it before the first study, for the promise, and after the last, for their checksums.

    Parameters
    ----------
    entries : by study name "split", "person" and "state"; a bare split stands for a person with this one scan.
    about : plain values; a cohort that is already there must say the same, since its studies would otherwise be mixed.

    Raises
    ------
    BadArgument : a person in two splits, an unknown split or state, or a cohort of something else in the folder.
    """
    path = Path(folder) / MANIFEST_FILE
    scans = {name: _promised(name, entries[name]) for name in sorted(entries)}
    _require_one_split_each(scans)
    if path.is_file() and (there := read_record(path, OLD_SCHEMA, MANIFEST_SCHEMA).get("about")) != dict(about):
        raise BadArgument(
            f"{folder}, a cohort of {there}",
            needed=f"one of {dict(about)}",
            remedy="Use the same settings, or another folder.",
        )
    studies = {name: asdict(_sealed(scan, path.parent / name / STUDY_FILE)) for name, scan in scans.items()}
    with beside(path) as partial:
        write_record({"schema": MANIFEST_SCHEMA, "about": dict(about), "studies": studies}, partial)
    return path


def open_cohort(
    folder: Path | str,
    *,
    mmap: bool = False,
    on_damage: Literal["refuse", "skip"] = "refuse",
    checksums: bool = False,
) -> Cohort:
    """The cohort of a manifest, once every study that it names is found to be there.

    Parameters
    ----------
    on_damage : "skip" leaves studies with missing or damaged files out and says so in `Cohort.damage`.
    checksums : compare those of all arrays too; without, records and sizes are looked at here, and arrays when read.

    Raises
    ------
    MissingInput, UnreadableFile : files are missing, or damaged, and `on_damage` is "refuse".
    """
    folder = Path(folder)
    scans, about = read_manifest(folder)
    digests = {name: scan.sha256 for name, scan in scans.items()}
    damage = [d for d in find_damage(folder, digests, checksums=checksums) if d.kind != "extra"]
    broken = {d.study for d in damage}
    if damage and on_damage == "refuse":
        lost = [name for name in scans if any(d.study == name and d.kind == "missing" for d in damage)]
        kind = MissingInput if lost else UnreadableFile
        raise kind(
            f"{folder} lacks {len(broken)} of {len(scans)} studies: {', '.join([n for n in scans if n in broken][:10])}"
            f" ({damage[0]})",
            needed="every study of the manifest",
            remedy='Look with "photopeak cohort verify", and restore them or make them again; or open the rest with '
            'on_damage="skip".',
        )
    return Cohort(folder, {n: s for n, s in scans.items() if n not in broken}, about, mmap, tuple(damage))


def read_manifest(folder: Path) -> tuple[dict[str, Scan], dict[str, Any]]:
    """Scans by study name, and what the cohort is about; the first schema knew splits only."""
    path = folder / MANIFEST_FILE
    record = read_record(path, OLD_SCHEMA, MANIFEST_SCHEMA)
    known = {field.name for field in fields(Scan)}
    try:
        scans = {
            plain_name(name): Scan(**{"person": name} | {key: entry[key] for key in known & set(entry)})
            for name, entry in record["studies"].items()
        }
        about = dict(record["about"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise damaged(path, f"{type(error).__name__} {error}") from error
    _require_one_split_each(scans)
    return scans, about


def _promised(name: str, entry: str | Mapping[str, str | None]) -> Scan:
    values: dict[str, Any] = {"split": entry} if isinstance(entry, str) else dict(entry)
    unknown = sorted(set(values) - {"split", "person", "state"})
    if unknown or "split" not in values:
        raise BadArgument(
            f"{name} with {', '.join(values) or 'nothing'}",
            needed="split, and person and state where there are two scans",
            remedy="Checksums are taken here.",
        )
    return Scan(**{"person": plain_name(name)} | values)


def _sealed(scan: Scan, path: Path) -> Scan:
    return replace(scan, sha256=file_sha256(path) if path.is_file() else None)


def _require_one_split_each(scans: Mapping[str, Scan]) -> None:
    split_of: dict[str, str] = {}
    for scan in scans.values():
        if split_of.setdefault(scan.person, scan.split) != scan.split:
            raise BadArgument(
                f"{scan.person} in the splits {split_of[scan.person]} and {scan.split}",
                needed="all scans of a person in one split",
                remedy="Split persons, not scans: a network would be tested on people it was trained on.",
            )
