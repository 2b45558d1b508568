"""A series of an archive through the reader of its kind, from a de-identified copy that is gone when it is read."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from photopeak.core import Study
from photopeak.core.errors import BadArgument, BadValues, PhotopeakError
from photopeak.core.units import TC99M_KEV
from photopeak.io.deidentify import Secret, deidentified, facts_of, text_of
from photopeak.io.dicom_ct import read_ct
from photopeak.io.dicom_file import tag_name
from photopeak.io.dicom_index import Series
from photopeak.io.dicom_nm import read_nm
from photopeak.io.dicom_nm_mu import read_nm_mu
from photopeak.io.dicom_nm_tomo import PHOTOPEAK_KEV, read_nm_tomo
from photopeak.io.dicom_pt import Told, read_pt
from photopeak.io.dicom_walk import Found, Opener, quiet_pydicom, read_dicom

OWNER = ("PatientID", "PatientBirthDate", "StudyInstanceUID")
"""What all files of a series must agree on."""
_TAG = re.compile(r"\([0-9A-F]{4},[0-9A-F]{4}\)")


def read_series(
    series: Series, secret: Secret, opener: Opener, facts: Mapping[str, Any]
) -> tuple[Study, dict[str, Any]]:
    """The study of one series, and what may be known of the person beside it.

    Parameters
    ----------
    facts : of the series read before; a map of attenuation takes its photon energy from their isotope.
    """
    what = series.role.what
    known: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="photopeak-") as name, quiet_pydicom():
        folder = Path(name)
        owners = {
            _copy(found, folder / f"{number:06d}.dcm", secret, opener, known, series.person)
            for number, found in enumerate(series.files)
        }
        if len(owners) > 1:
            raise BadValues(
                f"a series with different {', '.join(map(tag_name, OWNER))}", needed="one person's one study", remedy=""
            )
        first = folder / "000000.dcm"
        if what.value == "ct":
            part = read_ct(folder)
        elif what.value == "pet":
            part = read_pt(folder, told=Told(attenuation_corrected=told_by_user(what.by)))
        elif what.value == "raw":
            part = read_nm_tomo(first)
        elif what.value == "mu":
            part = read_nm_mu(first, energy_kev=PHOTOPEAK_KEV.get(str(facts.get("isotope")), TC99M_KEV))
        else:
            part = read_nm(first, as_=what.value)
    return part, known


def told_by_user(by: str) -> bool:
    """True where a flag decided."""
    return by.startswith("--")


def reason(error: PhotopeakError) -> str:
    """What an error says without the values that it quotes: its kind, the tags it names, and what was needed."""
    tags = " ".join(dict.fromkeys(_TAG.findall(error.given)))
    return " ".join(filter(None, [type(error).__name__, tags])) + f": needed {error.needed}"


def _copy(
    found: Found, target: Path, secret: Secret, opener: Opener, known: dict[str, Any], person: str
) -> tuple[str, ...]:
    """Whose a file says that it is, once its copy is written; names may be in the pixels of any file of a series."""
    try:
        with opener.open(found) as file:
            original = read_dicom(file)
            if text_of(original, "BurnedInAnnotation").strip().upper() == "YES":
                raise BadValues(f"{tag_name('BurnedInAnnotation')} YES", needed="pixels without names", remedy="")
            if not known:
                known |= facts_of(original, secret, person)
            clean = deidentified(original, secret, person)
        clean.save_as(target, enforce_file_format=True)
        return tuple(text_of(original, keyword).strip() for keyword in OWNER)
    except PhotopeakError:
        raise
    except Exception as error:  # what is damaged fails in many ways, and the text may quote the header
        raise BadArgument(f"damaged DICOM ({type(error).__name__})", needed="a whole file", remedy="") from None
