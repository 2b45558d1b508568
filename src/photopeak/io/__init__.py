"""The doors: DICOM, NIfTI and saved studies in, saved studies and NIfTI out.

The only room that imports pydicom and nibabel, each when its door is first opened.
"""

from collections import Counter
from pathlib import Path
from typing import Literal

from photopeak.core import COUNTS, Quantity, Step, Study
from photopeak.core.errors import BadArgument, UnreadableFile
from photopeak.io.atomic import beside
from photopeak.io.cohort import MANIFEST_FILE, Cohort, open_cohort, write_manifest
from photopeak.io.store import STUDY_FILE, file_sha256, load_study, plain_name, require_free, save_study

__all__ = ["Cohort", "load", "load_study", "open_cohort", "save", "save_study", "write_manifest"]

_NIFTI_MARK = "photopeak-study.txt"


def load(path: Path | str, *, as_: str | None = None, quantity: Quantity = COUNTS) -> Study:
    """One patient's study, from whatever `path` is.

    Parameters
    ----------
    path : an NM DICOM file (an image or raw projections); a NIfTI file; or a folder with a saved study, one NM file,
        one CT series, one PT series (as SUV) or one NIfTI file.
    as_ : the volume's name where the data do not say (an NM series without a word on attenuation correction, NIfTI);
        raw projections are no volume, and are refused under any name.
    quantity : what the numbers of a NIfTI file mean.
    """
    path = Path(path)
    if not path.exists():
        raise UnreadableFile(f"{path} does not exist", needed="a file or folder", remedy="Check the path.")
    if path.is_dir():
        return _load_folder(path, as_, quantity)
    if path.name.endswith((".nii", ".nii.gz")):
        return _load_nifti(path, as_ or "image", quantity)
    return _load_nm(path, as_)


def save(study: Study, folder: Path | str, *, format: Literal["study", "nifti"] = "study") -> Path:
    """`study` in a new folder: all of it ("study"), or its volumes as NIfTI files with a page on what they are."""
    if format == "study":
        return save_study(study, folder)
    if format != "nifti":
        raise BadArgument(f"format {format!r}", needed="study or nifti", remedy="Use one of these names.")
    from photopeak.io.nifti import write_nifti

    folder = require_free(Path(folder), _NIFTI_MARK)
    with beside(folder) as partial:
        partial.mkdir()
        for name, volume in study.volumes.items():
            write_nifti(volume, partial / f"{plain_name(name)}.nii.gz")
        (partial / _NIFTI_MARK).write_text(f"Research use only, not for diagnosis.\n{study}\n", encoding="utf-8")
    return folder


def _load_nifti(path: Path, name: str, quantity: Quantity) -> Study:
    from photopeak.io.nifti import read_nifti

    volume = read_nifti(path, quantity).require_image(name=path.name)
    digest = file_sha256(path)
    step = Step((name,), "read_nifti", (), {"file_sha256": digest})
    return Study(f"nifti-{digest[:8]}").add({name: volume}, step)


def _load_nm(path: Path, as_: str | None) -> Study:
    from photopeak.io.dicom_file import is_dicom
    from photopeak.io.dicom_nm import is_projections, read_nm
    from photopeak.io.dicom_nm_tomo import read_nm_tomo

    if as_ is None and is_dicom(path) and is_projections(path):
        return read_nm_tomo(path)
    return read_nm(path, as_=as_)


def _load_folder(folder: Path, as_: str | None, quantity: Quantity) -> Study:
    if (folder / STUDY_FILE).is_file():
        return load_study(folder)
    if (folder / MANIFEST_FILE).is_file():
        raise UnreadableFile(
            f"{folder} is a cohort",
            needed="one study",
            remedy="Use photopeak.io.open_cohort, or load one of its folders.",
        )
    from photopeak.io.dicom_ct import read_ct
    from photopeak.io.dicom_file import is_dicom, peek
    from photopeak.io.dicom_pt import read_pt

    files = [p for p in sorted(folder.iterdir()) if p.is_file()]
    nifti = [p for p in files if p.name.endswith((".nii", ".nii.gz"))]
    dicom = {p: peek(p) for p in files if is_dicom(p)}
    series = Counter(dicom.values())
    modalities = [modality for modality, _ in series]
    if not dicom and len(nifti) == 1:
        return _load_nifti(nifti[0], as_ or "image", quantity)
    if not nifti and modalities == ["CT"]:
        return read_ct(folder)
    if not nifti and modalities == ["PT"]:
        return read_pt(folder)
    if not nifti and modalities == ["NM"] and len(dicom) == 1:
        return _load_nm(next(iter(dicom)), as_)
    found = [f"a {modality} series of {count} files" for (modality, _), count in series.items()]
    found += [f"{len(nifti)} NIfTI files"] * bool(nifti)
    raise UnreadableFile(
        f"{folder} holds {', '.join(found) or 'no study, DICOM or NIfTI file'}",
        needed="one saved study, one NM file, one CT or PT series or one NIfTI file",
        remedy="Name one file, or put each series in a folder of its own.",
    )
