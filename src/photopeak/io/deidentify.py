"""De-identification by allow-list: what is not named here does not pass.

The Basic Application Level Confidentiality Profile of DICOM PS3.15 Annex E, with its options Retain Patient
Characteristics (sex, age up to 89, height, weight) and Retain Longitudinal Temporal Information with Modified Dates
(one random shift for each person). Free text passes only through a vocabulary, codes and enumerations only by value,
numbers only as finite numbers, UIDs only re-mapped; private elements, overlays and the rest are dropped at any depth.
"""

import hashlib
import hmac
import math
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
)

from photopeak.core.errors import BadArgument
from photopeak.io.deidentify_pt import pass_suv
from photopeak.io.dicom_walk import quiet_pydicom

MAX_NESTING = 6
SALT_BYTES = 32
OLDEST_YEARS = 90
LONGEST_SHIFT_DAYS = 3650
MOST_NUMBERS = 2
_MU_DIVISOR = Tag(0x0033, 0x1038)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NUMBERS = _words(
    "Rows Columns NumberOfFrames SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation PixelSpacing "
    "SliceThickness SpacingBetweenSlices ImagePositionPatient ImageOrientationPatient RescaleSlope RescaleIntercept "
    "RealWorldValueSlope RealWorldValueIntercept KVP NumberOfSlices SliceVector NumberOfEnergyWindows "
    "EnergyWindowVector NumberOfDetectors DetectorVector NumberOfRotations RotationVector NumberOfRRIntervals "
    "RRIntervalVector NumberOfTimeSlots TimeSlotVector AngularViewVector FrameIncrementPointer "
    "EnergyWindowLowerLimit EnergyWindowUpperLimit StartAngle AngularStep ScanArc RadialPosition "
    "NumberOfFramesInRotation ActualFrameDuration TableHeight TableTraverse CenterOfRotationOffset ZoomCenter "
    "FocalDistance"
)
VALUES: Mapping[str, frozenset[str]] = {
    "Modality": frozenset({"NM", "CT", "PT"}),
    "ImageType": _words("ORIGINAL DERIVED PRIMARY SECONDARY TOMO EMISSION TRANSMISSION AXIAL LOCALIZER")
    | {"RECON TOMO", "GATED TOMO"},
    "PhotometricInterpretation": frozenset({"MONOCHROME2"}),
    "CorrectedImage": _words("UNIF COR NCO DECY ATTN SCAT DTIM NRGY LIN MOTN CLN RAN RADL DCAL NORM PMOT"),
    "Units": _words("BQML CNTS GML"),
    "DecayCorrection": _words("NONE START ADMIN"),
    "SUVType": _words("BW BSA LBM LBMJAMES128 LBMJANMA IBW"),
    "SeriesType": _words("STATIC DYNAMIC GATED IMAGE REPROJECTION") | {"WHOLE BODY"},
    "RotationDirection": frozenset({"CW", "CC"}),
    "CollimatorType": _words("PARA PINH FANB CONE SLNT ASTG DIVG UNKN NONE"),
    "TypeOfDetectorMotion": frozenset({"CONTINUOUS", "STEP AND SHOOT", "CONT AND STEP"}),
    "PatientPosition": frozenset({"HFS", "HFP", "FFS", "FFP"}),
    "PatientSex": frozenset("MFO"),
    # Radionuclides (CID 18), recumbency (CID 20), gantry relationship (CID 21) and units, in all schemes in use.
    "CodeValue": _words(
        "72454006 C-163A8 60057003 C-138A9 21572004 C-114A4 56609000 C-145A4 2008008 C-131A2 102540008 F-10470 "
        "102541007 F-10480 40199007 F-10340 1240000 F-10310 102538003 F-10450 {counts} Bq/ml /cm cm-1 1/cm"
    ),
    "CodingSchemeDesignator": frozenset({"SCT", "SRT", "SNM3", "99SDM", "UCUM"}),
}
SEQUENCES = _words(
    "DetectorInformationSequence RotationInformationSequence EnergyWindowInformationSequence "
    "EnergyWindowRangeSequence RadiopharmaceuticalInformationSequence RadionuclideCodeSequence "
    "PatientOrientationCodeSequence PatientOrientationModifierCodeSequence PatientGantryRelationshipCodeSequence "
    "RealWorldValueMappingSequence MeasurementUnitsCodeSequence"
)
UIDS = _words("SOPInstanceUID SeriesInstanceUID StudyInstanceUID FrameOfReferenceUID")
STORAGE = frozenset({NuclearMedicineImageStorage, CTImageStorage, PositronEmissionTomographyImageStorage})
MAKERS = _words(
    "GE HEALTHCARE MEDICAL SYSTEMS SIEMENS NM PHILIPS ADAC PICKER MARCONI ELSCINT TOSHIBA CANON HITACHI MEDISO DDD "
    "DIGIRAD SPECTRUM DYNAMICS SOPHA SMV TRIONIX PRISM UNITED IMAGING HERMES HEALTHINEERS PHOTOPEAK CPS CTI UIH"
)
MODELS = _words(
    "NM CT NMCT PRO ES EVO INFINIA HAWKEYE DISCOVERY VENTRI MILLENNIUM MYOSIGHT OPTIMA STARGUIDE ALCYONE UFC "
    "SYMBIA T S E TRUEPOINT INTEVO BOLD EXCEL EVO ECAM CAM BRIGHTVIEW X XCT FORTE SKYLIGHT PRECEDENCE CARDIOMD "
    "VERTEX IRIX AXIS SPECT D DSPECT VERITON ANYSCAN SC TRIO NUCLINE INTERVIEWXP CARDIUS CZT LIGHTSPEED VCT BIOGRAPH "
    "SENSATION EMOTION BRILLIANCE AQUILION SIMULATED STE ST RX LS IQ MI OMNI LEGEND MCT VISION QUADRA HOROS "
    "GEMINI TF GXL VEREOS INGENUITY ALLEGRO UMI UEXPLORER CARTESION CELESTEION"
)
COLLIMATORS = _words(
    "LEHR LEHRS LEAP LEAPS LEGP LEUHR LEHS LEFB MEGP MELP HEGP ELEGP ELEHR WEHR VXGP VXHR CHR SMARTZOOM MPH PINHOLE "
    "LE ME HE HR GP"
)
KERNELS = _words("STANDARD SOFT DETAIL BONE BONEPLUS LUNG CHEST EDGE ULTRA PARALLEL")
TRACERS = {
    "fluorodeoxyglucose": ("FLUORODEOXYGLUCOSE", "FLUDEOXYGLUCOSE", "FDG"),
    "sestamibi": ("SESTAMIBI", "MIBI", "CARDIOLITE", "CARDIOLYTE"),
    "tetrofosmin": ("TETROFOSMIN", "MYOVIEW"),
    "thallous chloride": ("THALLIUM", "THALLOUS"),
}


@dataclass(frozen=True, repr=False)
class Secret:
    """What makes pseudonyms: whoever lacks the salt can neither undo nor confirm them."""

    salt: bytes

    @classmethod
    def kept_in(cls, path: Path) -> "Secret":
        """The salt in a file readable by its owner only, made on first use."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(SALT_BYTES) + "\n")
        text = path.read_text(encoding="ascii", errors="replace").strip()
        if not re.fullmatch(rf"[0-9a-f]{{{2 * SALT_BYTES}}}", text):
            raise BadArgument(
                "a salt file with something else in it",
                needed=f"{2 * SALT_BYTES} hexadecimal digits",
                remedy="Restore the file of the first import; another salt makes other persons.",
            )
        return cls(bytes.fromhex(text))

    def hash(self, *parts: str) -> str:
        """64 hexadecimal digits; parts cannot run into one another."""
        message = b"".join(len(p).to_bytes(8, "big") + p for p in (part.encode("utf-8", "replace") for part in parts))
        return hmac.new(self.salt, message, hashlib.sha256).hexdigest()

    def uid(self, uid: str) -> str:
        """The UID that stands for `uid` everywhere, below 2.25 (PS3.5 B.2)."""
        return f"2.25.{int(self.hash('uid', uid)[:32], 16)}"

    def shift_days(self, person: str) -> int:
        """How many days the dates of `person` move into the past: 1 to 3650, the same for all his scans."""
        return 1 + int(self.hash("days", person)[:16], 16) % LONGEST_SHIFT_DAYS


def deidentified(original: Dataset, secret: Secret, person: str = "") -> Dataset:
    """A copy that holds what the readers need of an NM, CT or PT object of `person`, and nothing else of the header."""
    with quiet_pydicom():
        clean = _allowed(original, secret, 0)
        if (divisor := mu_divisor(original)) and clean.get("RescaleSlope", 1) == 1:
            clean.RescaleSlope, clean.RescaleIntercept = f"{1 / divisor:.9g}", "0"
        if text_of(original, "Modality") == "PT":
            pass_suv(original, clean, secret.shift_days(person))
        if "PixelData" in original:
            clean.add(DataElement(Tag("PixelData"), "OW", _little_endian(original)))
        if original.get("SOPClassUID") in STORAGE:
            clean.SOPClassUID = original.SOPClassUID
    clean.PatientIdentityRemoved, clean.DeidentificationMethod = "YES", "photopeak allow-list, PS3.15 E.1"
    clean.file_meta = FileMetaDataset()
    clean.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return clean


def mu_divisor(dataset: Dataset) -> float | None:
    """What stored values are divided by to give 1/cm in attenuation maps of GE: private (0033,1038)."""
    if _MU_DIVISOR not in dataset:
        return None
    try:
        value = dataset[_MU_DIVISOR].value
        number = float(value.decode("ascii").strip(" \0") if isinstance(value, bytes) else value)
    except (ValueError, TypeError, UnicodeDecodeError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def facts_of(dataset: Dataset, secret: Secret, person: str) -> dict[str, Any]:
    """What may be known of a person's scan beside the image: sex, age, height, weight, dose and a shifted date."""
    with quiet_pydicom():
        when = next((d for k in ("AcquisitionDate", "SeriesDate", "StudyDate") if (d := _date(dataset, k))), None)
        tracer = _first_item(dataset, "RadiopharmaceuticalInformationSequence")
        facts = {
            "sex": (text_of(dataset, "PatientSex").strip().upper() or None),
            "age_years": _age(dataset, when),
            "height_m": _between(dataset, "PatientSize", 0.3, 2.6, digits=2),
            "weight_kg": _between(dataset, "PatientWeight", 2, 400, digits=0),
            "dose_mbq": _dose_mbq(tracer, in_bq=text_of(dataset, "Modality") == "PT"),
            "radiopharmaceutical": _tracer(text_of(tracer, "Radiopharmaceutical")),
            "acquired_on": _shifted(when, secret.shift_days(person)),
        }
    if facts["sex"] not in VALUES["PatientSex"]:
        facts["sex"] = None
    return {name: fact for name, fact in facts.items() if fact is not None}


def in_vocabulary(text: str, words: frozenset[str], secret: Secret, kind: str) -> str:
    """`text` if its words are known and its numbers short and two at most (three may be a date); else a pseudonym."""
    parts = re.findall(r"[A-Z]+|\d+|[^\W\dA-Z_]+", text.upper())
    counted = [len(p) <= 3 for p in parts if p.isdigit()]
    spoken = [p in words for p in parts if not p.isdigit()]
    if spoken and all(spoken) and all(counted) and len(counted) <= MOST_NUMBERS and len(text) <= 64:
        return text
    return f"{kind}-{secret.hash(kind, text)[:8]}"


def text_of(dataset: Dataset, keyword: str) -> str:
    """The text of an element, values of several joined by spaces; empty where it is absent or cannot be read."""
    try:
        value = dataset.get(keyword)
    except Exception:  # a value of a wrong VR fails in many ways; text that cannot be read decides nothing
        return ""
    if value is None or isinstance(value, Dataset | bytes):
        return ""
    several = not isinstance(value, str) and hasattr(value, "__iter__") and not hasattr(value, "components")
    return " ".join(map(str, value)) if several else str(value)


def _little_endian(original: Dataset) -> bytes:
    """The pixels as they are written in the copy, whatever the order of bytes in the file."""
    pixels = original["PixelData"]
    if original.original_encoding[1] is False and pixels.VR == "OW":
        return np.frombuffer(pixels.value, ">u2").astype("<u2").tobytes()
    return bytes(pixels.value)


def _allowed(source: Dataset, secret: Secret, depth: int) -> Dataset:
    clean = Dataset()
    for keyword in NUMBERS | UIDS | set(VALUES) | set(_TEXTS) | (SEQUENCES if depth < MAX_NESTING else frozenset()):
        tag = tag_for_keyword(keyword)
        if tag is None or tag not in source:
            continue
        try:
            value = _passed(keyword, source[tag].value, secret, depth)
            if value is not None:
                clean.add(DataElement(tag, dictionary_VR(tag).split(" ")[0], value))
        except Exception:  # what cannot be read as what it should be does not pass
            continue
    return clean


def _passed(keyword: str, value: Any, secret: Secret, depth: int) -> Any:
    """What passes of one value; None where nothing does."""
    if value is None or (isinstance(value, str | bytes) and not value):
        return None
    if keyword in SEQUENCES:
        return [_allowed(item, secret, depth + 1) for item in value]
    if keyword in UIDS:
        return secret.uid(str(value))
    if keyword in NUMBERS:
        if isinstance(value, bytes) or not np.isfinite(np.asarray(value, dtype=float)).all():
            return None
        return value
    if keyword in _TEXTS:
        words, kind = _TEXTS[keyword]
        return in_vocabulary(str(value), words, secret, kind)
    given = [value] if isinstance(value, str) else list(value)
    kept = [v if v in VALUES[keyword] else "OTHER" for v in map(str, given)]
    if keyword == "ImageType":
        return kept
    kept = [v for v in kept if v != "OTHER"]
    return kept or None


_TEXTS: Mapping[str, tuple[frozenset[str], str]] = {
    "ConvolutionKernel": (KERNELS, "kernel"),
    "Manufacturer": (MAKERS, "maker"),
    "ManufacturerModelName": (MODELS, "model"),
    "CollimatorGridName": (COLLIMATORS | MAKERS | MODELS, "collimator"),
}


def _tracer(text: str) -> str | None:
    return next((name for name, words in TRACERS.items() if any(w in text.upper() for w in words)), None)


def _first_item(dataset: Dataset, keyword: str) -> Dataset:
    try:
        items = dataset.get(keyword) or [Dataset()]
        return items[0] if isinstance(items[0], Dataset) else Dataset()
    except Exception:  # a sequence of a wrong VR holds nothing that can be known
        return Dataset()


def _date(dataset: Dataset, keyword: str) -> date | None:
    text = text_of(dataset, keyword).strip()
    if not re.fullmatch(r"\d{8}", text):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def _shifted(when: date | None, days: int) -> str | None:
    return (when - timedelta(days=days)).isoformat() if when and when.year > 1900 else None


def _age(dataset: Dataset, when: date | None) -> int | None:
    """Whole years, 90 for all who are older than 89; from Patient's Age, else from the date of birth."""
    if match := re.fullmatch(r"(\d{3})([YMWD])", text_of(dataset, "PatientAge").strip()):
        years = int(match[1]) // {"Y": 1, "M": 12, "W": 52, "D": 365}[match[2]]
    else:
        born = _date(dataset, "PatientBirthDate")
        if born is None or when is None:
            return None
        years = when.year - born.year - ((when.month, when.day) < (born.month, born.day))
    return min(years, OLDEST_YEARS) if years >= 0 else None


def _dose_mbq(tracer: Dataset, *, in_bq: bool) -> float | None:
    """Radionuclide Total Dose: in MBq in NM objects, in Bq in PT objects (PS3.3 C.8.4.10, C.8.9.2)."""
    scale = 1e6 if in_bq else 1.0
    dose = _between(tracer, "RadionuclideTotalDose", scale, 5000 * scale, digits=0)
    return None if dose is None else round(dose / scale)


def _between(dataset: Dataset, keyword: str, low: float, high: float, *, digits: int) -> float | None:
    try:
        value = float(text_of(dataset, keyword))
    except ValueError:
        return None
    return round(value, digits) if low <= value <= high else None
