"""What a series is of a study, and which element of its header says so; where none does, nothing is guessed.

Three questions: the state (stress or rest; static for PET/CT that is neither), what was made (nac, ac, mu, raw, ct,
pet) and how the slices are cut (transaxial, sa, hla, vla). Descriptions are read word by word, since TRANSAXIAL and
ACQ both contain AC.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydicom import Dataset

from photopeak.core.errors import BadArgument, MissingGeometry
from photopeak.io.deidentify import text_of
from photopeak.io.dicom_file import plane_directions, tag_name
from photopeak.io.dicom_nm import AC_WORDS, NAC_WORDS, PROJECTIONS, placed_item
from photopeak.io.dicom_nm_slices import orientation_of

Question = Literal["state", "what", "orientation"]
QUESTIONS: tuple[Question, ...] = ("state", "what", "orientation")
ANSWERS: Mapping[Question, tuple[str, ...]] = {
    "state": ("stress", "rest", "static"),
    "what": ("nac", "ac", "mu", "raw", "ct", "pet"),
    "orientation": ("transaxial", "sa", "hla", "vla"),
}
LEAVE = "leave"
SERIES_TEXTS = (
    "SeriesDescription", "ProtocolName", "PerformedProcedureStepDescription", "PerformedProtocolCodeSequence",
    "ViewCodeSequence", "AcquisitionContextSequence",
)  # fmt: skip
STUDY_TEXTS = ("StudyDescription", "RequestedProcedureDescription", "ProcedureCodeSequence")
AXIAL_DEG = 2.0


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STRESS = _listed(
    "STRESS STR STRS STRESSED EXERCISE TREADMILL ERGOMETRY ADENOSINE REGADENOSON LEXISCAN DIPYRIDAMOLE PERSANTINE "
    "DOBUTAMINE BELASTUNG ESFUERZO EFFORT SFORZO INSPANNING"
)
_REST = _listed("REST RST RESTING RUHE REPOSO REPOS RIPOSO RUST")
_MAPS = _listed("MU MUMAP UMAP ATTMAP ATTENUATIONMAP ACMAP ATTNMAP CTACMAP TRANSMISSION")
_CUTS: Mapping[str, frozenset[str]] = {
    "transaxial": _listed("TRANSAXIAL TRANSVERSE TRANSVERSAL TRANSAX TRAN TRANS TRA AXIAL AXIALS"),
    "sa": _listed("SA SAX SHORTAXIS"),
    "hla": frozenset({"HLA", "HLAX"}),
    "vla": frozenset({"VLA", "VLAX"}),
}
_NEGATIONS = _listed("NO NON NOT WITHOUT")
_NOT_RECONSTRUCTED = frozenset({"STATIC", "DYNAMIC", "GATED", "WHOLE BODY", "RECON GATED TOMO", "LOCALIZER"})
_MODALITIES = _listed("CR CT DX MG MR NM OT PT RF SC SEG SR US XA DOC KO PR REG RTSTRUCT")


@dataclass(frozen=True)
class Answer:
    """One question's answer, None where it is open, and what decided it or why it is open."""

    value: str | None
    by: str


@dataclass(frozen=True)
class Role:
    """What a series is; `refused` says why it is nothing that can be imported."""

    state: Answer = Answer(None, "")
    what: Answer = Answer(None, "")
    orientation: Answer = Answer(None, "")
    refused: str = ""

    @property
    def open(self) -> tuple[Question, ...]:
        """The questions without an answer."""
        return tuple(q for q in QUESTIONS if self.answer(q).value is None)

    def answer(self, question: Question) -> Answer:
        found: Answer = getattr(self, question)
        return found

    def answered(self, question: Question, answer: Answer) -> "Role":
        answers = {q: self.answer(q) for q in QUESTIONS} | {question: answer}
        return Role(answers["state"], answers["what"], answers["orientation"], self.refused)

    def told(self, values: Iterable[str], by: str) -> "Role":
        """This role with open questions answered by the user; a value against the header refuses the series."""
        role = self
        for value in values:
            if value == LEAVE:
                return replace(role, refused=f"left by {by}")
            question = next(q for q in QUESTIONS if value in ANSWERS[q])
            found = self.answer(question)
            if found.value is None:
                role = role.answered(question, Answer(value, by))
            elif found.value != value:
                return replace(role, refused=f"{by} says {value}, and {found.by} says {found.value}")
        return role


def parsed_choice(text: str) -> tuple[str, tuple[str, ...]]:
    """Key and values of ``KEY=rest:ac``."""
    key, sign, rest = text.rpartition("=")
    values = tuple(rest.lower().split(":"))
    each = ", ".join("|".join(answers) for answers in ANSWERS.values())
    known = {LEAVE, *(value for group in ANSWERS.values() for value in group)}
    questions = [next((q for q in QUESTIONS if v in ANSWERS[q]), LEAVE) for v in values]
    if not sign or not key or not set(values) <= known or len(set(questions)) < len(questions):
        raise BadArgument(
            "a choice that says nothing or too much",
            needed=f"KEY=VALUE[:VALUE...] with one each of {each}, or leave",
            remedy="For example --series 3fa9c2=stress:nac or --rule REST.*IRAC=rest:ac.",
        )
    return key, values


def role_of(header: Dataset) -> Role:
    """What the header says that the series is."""
    modality, kind = text_of(header, "Modality"), _image_type(header)
    if text_of(header, "BurnedInAnnotation").strip().upper() == "YES":
        return Role(refused=f"{tag_name('BurnedInAnnotation')} YES: names may be in the pixels")
    if modality == "CT":
        return _ct_role(header, kind)
    if modality == "PT":
        return _pt_role(header)
    if modality != "NM":
        return Role(refused=f"{tag_name('Modality')} {modality if modality in _MODALITIES else 'unknown'}")
    third = kind[2] if len(kind) > 2 else ""
    if third in PROJECTIONS:
        return Role(state_of(header), Answer("raw", tag_name("ImageType")), Answer("transaxial", "projections"))
    if third != "RECON TOMO":
        named = third if third in _NOT_RECONSTRUCTED else "unknown"
        return Role(refused=f"{tag_name('ImageType')} {named}: neither ungated slices nor tomographic projections")
    return Role(state_of(header), what_of(header), cut_of(header))


def _ct_role(header: Dataset, kind: list[str]) -> Role:
    if "LOCALIZER" in kind:
        return Role(refused=f"{tag_name('ImageType')} LOCALIZER")
    if _is_map(_spoken(text_of(header, "SeriesDescription"))):
        return Role(refused="CT objects that are called an attenuation map: their unit is not certain")
    return Role(state_of(header), Answer("ct", tag_name("Modality")), Answer("transaxial", tag_name("Modality")))


def _pt_role(header: Dataset) -> Role:
    """PET: static images with attenuation correction; without stress or rest in its texts its state is static."""
    kind = {"DYNAMIC", "GATED", "REPROJECTION"} & set(text_of(header, "SeriesType").split())
    if kind:
        return Role(refused=f"{tag_name('SeriesType')} {min(kind)}: no static or whole-body image")
    corrected = text_of(header, "CorrectedImage").split()
    if corrected and "ATTN" not in corrected:
        return Role(refused=f"{tag_name('CorrectedImage')} without ATTN: not corrected for attenuation")
    by = tag_name("CorrectedImage")
    what = Answer("pet", f"{by} ATTN") if corrected else Answer(None, f"{by} is absent")
    state = state_of(header)
    if state.by.startswith("neither"):
        state = Answer("static", f"{tag_name('Modality')} PT, neither stress nor rest")
    return Role(state, what, Answer("transaxial", tag_name("Modality")))


def state_of(header: Dataset) -> Answer:
    """Stress or rest: by what is said of the series, else of the whole study; both or neither decides nothing."""
    for keywords in (SERIES_TEXTS, STUDY_TEXTS):
        said = {k: _states(_spoken(_all_text(header, k))) for k in keywords}
        values = set().union(*said.values())
        if len(values) == 1:
            return Answer(values.pop(), tag_name(next(k for k in keywords if said[k])))
        if len(values) > 1:
            return Answer(None, "stress and rest are both named")
    return Answer(None, "neither stress nor rest is named")


def _states(words: frozenset[str]) -> set[str]:
    bare = {re.sub(r"^(ATTMAP|MUMAP|UMAP)|(ATTMAP|MUMAP|UMAP)$", "", word) for word in words}
    return ({"stress"} if bare & _STRESS else set()) | ({"rest"} if bare & _REST else set())


def what_of(header: Dataset) -> Answer:
    """nac, ac or mu: Image Type and a map's name first, then Corrected Image, then the description."""
    words = _spoken(text_of(header, "SeriesDescription"))
    if "TRANSMISSION" in _image_type(header):
        return Answer("mu", f"{tag_name('ImageType')} TRANSMISSION")
    if _is_map(words):
        return Answer("mu", tag_name("SeriesDescription"))
    if "ATTN" in text_of(header, "CorrectedImage").split():
        return Answer("ac", f"{tag_name('CorrectedImage')} ATTN")
    is_ac, is_nac = bool(words & AC_WORDS), bool(words & NAC_WORDS)
    if is_ac != is_nac and not words & _NEGATIONS:
        return Answer("ac" if is_ac else "nac", tag_name("SeriesDescription"))
    return Answer(None, "attenuation correction is both named and denied" if is_ac or is_nac else "neither AC nor NAC")


def _is_map(words: frozenset[str]) -> bool:
    mapped = {re.sub(r"(STRESS|REST)$|^(STRESS|REST)", "", word) for word in words}
    return bool(mapped & _MAPS) or ("MAP" in words and bool(words & {"AC", "ATTENUATION", "ATT", "ATTN", "CTAC", "U"}))


def cut_of(header: Dataset) -> Answer:
    """How slices are cut: Slice Progression Direction, then the description, then the orientation in the patient."""
    words = _spoken(text_of(header, "SeriesDescription"))
    named = {cut for cut, names in _CUTS.items() if words & names}
    if {"SHORT", "AXIS"} <= words:
        named.add("sa")
    elif {"LONG", "AXIS"} <= words:
        named |= {"hla"} if "HORIZONTAL" in words else {"vla"} if "VERTICAL" in words else {"hla", "vla"}
    if "SliceProgressionDirection" in header and (direction := orientation_of(header)):
        if named - {direction}:
            return Answer(None, "Slice Progression Direction and description disagree")
        return Answer(direction, tag_name("SliceProgressionDirection"))
    try:
        axial = bool(np.abs(plane_directions(placed_item(header))[2]).max() > np.cos(np.deg2rad(AXIAL_DEG)))
    except MissingGeometry:
        return Answer(None, f"{tag_name('ImageOrientationPatient')} is absent or no orientation")
    if len(named) == 1:
        if named == {"transaxial"} and not axial:
            return Answer(None, "called transaxial, and oblique by Image Orientation (Patient)")
        return Answer(named.pop(), tag_name("SeriesDescription"))
    if named or not axial:
        return Answer(None, "several cuts are named" if named else "oblique slices without a name")
    return Answer("transaxial", tag_name("ImageOrientationPatient"))


def _image_type(header: Dataset) -> list[str]:
    given = header.get("ImageType") or []
    return [given] if isinstance(given, str) else list(map(str, given))


def _spoken(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W_]+", text.upper()))


def _all_text(header: Dataset, keyword: str) -> str:
    """The text of an element, or the meanings of the codes of a sequence, one item deep."""
    if not keyword.endswith("Sequence"):
        return text_of(header, keyword)
    detector = next(iter(header.get("DetectorInformationSequence") or []), Dataset())
    items = [*(header.get(keyword) or []), *(detector.get(keyword) or [])]
    return " ".join(text_of(item, "CodeMeaning") for item in items if isinstance(item, Dataset))
