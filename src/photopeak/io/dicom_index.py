"""Mixed DICOM files sorted into series, each with its person, study and role; headers are read, pixels are not."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydicom import Dataset

from photopeak.core.errors import BadArgument, PhotopeakError
from photopeak.io.deidentify import Secret, text_of
from photopeak.io.dicom_file import tag_name
from photopeak.io.dicom_roles import SERIES_TEXTS, STUDY_TEXTS, Answer, Role, parsed_choice, role_of
from photopeak.io.dicom_walk import Found, Opener, quiet_pydicom, read_dicom, walk

MAX_SERIES_VOXELS = 2**27
SHOWN = 12
SHORTEST_PREFIX = 6
SLICE_BY_SLICE = ("CT", "PT")
_KEYWORDS = (
    *SERIES_TEXTS, *STUDY_TEXTS, "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID",
    "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "Modality", "PatientID", "IssuerOfPatientID",
    "PatientBirthDate", "PatientSex", "BurnedInAnnotation", "CorrectedImage", "SliceProgressionDirection",
    "DetectorInformationSequence", "ImageOrientationPatient", "ImagePositionPatient", "Rows", "Columns",
    "NumberOfFrames", "SeriesType", "StudyDate", "SeriesDate", "AcquisitionDate", "AcquisitionTime",
)  # fmt: skip


@dataclass
class Series:
    """A CT or PT series, or one NM object, with everything that is asked of it before its pixels are read.

    Parameters
    ----------
    series, item : salted hashes of the series and of the object; CT and PT have one name for both.
    person, study, frame : salted hashes; `frame` is empty without a Frame of Reference UID.
    header : of its first file, reduced to what is asked of it.
    when : date and time of acquisition; for the order of visits only.
    files : its files, in the order of the walk.
    voxels : announced by all of them.
    """

    series: str
    item: str
    person: str
    study: str
    frame: str
    header: Dataset
    when: str
    role: Role
    files: list[Found] = field(default_factory=list)
    voxels: int = 0

    @property
    def shown(self) -> str:
        return self.item[:SHOWN]

    def refuse(self, why: str) -> None:
        self.role = replace(self.role, refused=self.role.refused or why)


@dataclass(frozen=True)
class Left:
    """A file that is no part of any series, and why."""

    file: Found
    why: str


def index(root: Path, secret: Secret, opener: Opener) -> tuple[list[Series], list[Left]]:
    """Every series below `root`, and every file that is none."""
    series: dict[str, Series] = {}
    left: list[Left] = []
    objects: dict[bytes, int] = {}
    for found in walk(root):
        try:
            header = _header(found, opener)
        except PhotopeakError as error:
            left.append(Left(found, found.refused or error.given))
            continue
        uids = {k: text_of(header, k).strip() for k in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")}
        absent = next((k for k, uid in uids.items() if not uid), None)
        if absent:
            left.append(Left(found, f"without {tag_name(absent)}"))
            continue
        mark = bytes.fromhex(secret.hash("object", uids["SOPInstanceUID"])[:32])
        if objects.setdefault(mark, found.number) != found.number:
            left.append(Left(found, f"the same SOP Instance UID as file {objects[mark]}"))
            continue
        one = _series_of(header, uids, secret)
        one = series.setdefault(one.item, one)
        one.files.append(found)
        one.voxels += _voxels(header)
        if one.voxels > MAX_SERIES_VOXELS:
            one.refuse(f"Rows x Columns x Number of Frames in all above {MAX_SERIES_VOXELS}")
    _refuse_mixed_identities(series.values())
    return list(series.values()), left


def _header(found: Found, opener: Opener) -> Dataset:
    if found.refused:
        raise BadArgument(found.refused, needed="a file that may be opened", remedy="")
    try:
        with opener.open(found) as file:
            return read_dicom(file, _KEYWORDS)
    except PhotopeakError:
        raise
    except Exception as error:  # zips and file systems fail in many ways, and their texts quote names
        raise BadArgument(f"it cannot be read ({type(error).__name__})", needed="a whole file", remedy="") from None


def _series_of(header: Dataset, uids: dict[str, str], secret: Secret) -> Series:
    study = secret.hash("study", uids["StudyInstanceUID"])
    patient = text_of(header, "PatientID").strip()
    frame = text_of(header, "FrameOfReferenceUID").strip()
    series = secret.hash("series", uids["SeriesInstanceUID"])
    with quiet_pydicom():
        try:
            role = role_of(header)
        except Exception as error:  # a header of wrong VRs fails in many ways; each means the same
            role = Role(refused=f"a damaged header ({type(error).__name__})")
    dates = (text_of(header, k).strip() for k in ("AcquisitionDate", "SeriesDate", "StudyDate"))
    return Series(
        series=series,
        item=series if text_of(header, "Modality") in SLICE_BY_SLICE else secret.hash("object", uids["SOPInstanceUID"]),
        person=secret.hash("person", patient, text_of(header, "IssuerOfPatientID")) if patient else study,
        study=study,
        frame=secret.hash("frame", frame) if frame else "",
        header=header,
        when=next(filter(None, dates), "") + text_of(header, "AcquisitionTime"),
        role=role,
    )


def _voxels(header: Dataset) -> int:
    """What Rows x Columns x Number of Frames announce; beyond every limit where they are no numbers."""
    try:
        sizes = [int(header.get(k) or 1) for k in ("Rows", "Columns", "NumberOfFrames")]
    except Exception:  # a size of a wrong VR
        return MAX_SERIES_VOXELS + 1
    return int(np.prod([max(n, 1) for n in sizes], dtype=object))


def _refuse_mixed_identities(series: Iterable[Series]) -> None:
    """Refuse whatever stands under one Patient ID with two dates of birth or two sexes: it is of two people."""
    people: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        people[one.person].append(one)
    for theirs in people.values():
        for keyword in ("PatientBirthDate", "PatientSex"):
            if len({text_of(s.header, keyword).strip() for s in theirs} - {""}) > 1:
                for one in theirs:
                    one.refuse(f"one Patient ID with different {tag_name(keyword)}")


def decide(series: Sequence[Series], choices: Sequence[str], rules: Sequence[str]) -> None:
    """Answer open questions by ``--series`` (PREFIX=...), ``--rule`` (REGEX=...) and a shared frame of reference."""
    for text in choices:
        prefix, values = parsed_choice(text)
        prefix = prefix.lower()
        long = len(prefix) >= SHORTEST_PREFIX
        hits = [s for s in series if long and (s.item.startswith(prefix) or s.series.startswith(prefix))]
        if len({s.series for s in hits}) != 1:
            raise BadArgument(
                f"--series {prefix}, which begins {len(hits)} series",
                needed=f"{SHORTEST_PREFIX} or more digits of one series in the table",
                remedy="Import once without the flag and copy the series from the table.",
            )
        for one in hits:
            one.role = one.role.told(values, "--series")
    for number, text in enumerate(rules, 1):
        pattern, values = parsed_choice(text)
        try:
            matcher = re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            raise BadArgument("--rule with no regular expression", needed=str(error), remedy="Correct it.") from error
        for one in series:
            if matcher.search(text_of(one.header, "SeriesDescription")):
                one.role = one.role.told(values, f"--rule {number}")
    _share_states(series)


def _share_states(series: Sequence[Series]) -> None:
    """What lies in the frame of reference of one scan only, in one study, is of that scan."""
    states: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in series:
        if one.frame and not one.role.refused and one.role.state.value:
            states[one.study, one.frame].add(one.role.state.value)
    for one in series:
        known = states[one.study, one.frame]
        silent = one.role.state.value is None and one.role.state.by.startswith("neither")
        if silent and one.frame and len(known) == 1:
            state = Answer(next(iter(known)), f"shared {tag_name('FrameOfReferenceUID')}")
            one.role = one.role.answered("state", state)
