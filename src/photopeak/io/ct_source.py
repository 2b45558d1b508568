"""The CT that a PET is to be estimated from: a DICOM series or a NIfTI file, in HU, with its tube voltage."""

from pathlib import Path

import numpy as np
import pydicom

from photopeak.core import HU, Grid, Step, Study, Volume
from photopeak.core.errors import BadArgument, GridMismatch, MissingInput, UnreadableFile, WrongModality
from photopeak.io.dicom_ct import read_ct
from photopeak.io.dicom_file import DICOM, is_dicom, peek, tag_name
from photopeak.io.nifti import SUFFIXES, read_nifti
from photopeak.io.pet_pair import AIR_HU, KVP_RANGE, averaged, require_ct, without_padding
from photopeak.io.reading import MAX_VOXELS, reading
from photopeak.io.store import file_sha256

FEWEST_VOXELS = 8
KVP_TOLERANCE = 0.5


def read_ct_source(source: Path | str, *, kvp: float | None = None) -> Study:
    """A study with "ct" in HU and its "kvp" among the facts.

    Parameters
    ----------
    source : folder of one CT series, or a NIfTI file.
    kvp : tube voltage, where the header does not say it (NIfTI never does).

    Raises
    ------
    WrongModality : MR or anything else that is no CT.
    UnreadableFile : damaged, too few slices, or more voxels than any scan has.
    MissingGeometry : missing slices, gaps, two kernels or voltages mixed.
    BadValues : numbers that are no HU.
    MissingInput : no tube voltage, neither in the header nor given.
    BadArgument : one that contradicts the header, or that no scanner has.
    """
    source = Path(source)
    if kvp is not None and not KVP_RANGE[0] <= kvp <= KVP_RANGE[1]:
        raise BadArgument(f"--kvp {kvp:g}", needed=f"{KVP_RANGE[0]:g} to {KVP_RANGE[1]:g} kVp", remedy="Correct it.")
    study = _read(source)
    require_ct(study["ct"])
    known = study.facts.get("kvp")
    if known is None and kvp is None:
        raise MissingInput(
            f"{source} without {tag_name('KVP')}",
            needed="the tube voltage, in the header or by --kvp",
            remedy="State that of the protocol, as --kvp 120.",
        )
    if known is not None and kvp is not None and abs(known - kvp) > KVP_TOLERANCE:
        raise BadArgument(
            f"--kvp {kvp:g} for a series with {tag_name('KVP')} {known:g}",
            needed="one tube voltage",
            remedy="Leave out --kvp: the header knows.",
        )
    return study if known is not None else study.with_facts(kvp=kvp)


def in_voxels(ct: Volume, voxel_mm: tuple[float, float, float]) -> Volume:
    """The mean of a CT in voxels of another size, as many (z, y, x) as fit into its box about its middle.

    Raises
    ------
    GridMismatch : a CT across which fewer than eight of them fit.
    """
    had, wanted = np.array(ct.grid.spacing_mm), np.array(voxel_mm)
    nz, ny, nx = (int(n) for n in np.floor(np.array(ct.grid.shape) * had / wanted + 1e-6))
    if min(nz, ny, nx) < FEWEST_VOXELS:
        raise GridMismatch(
            f"a CT on {ct.grid}",
            needed=f"{FEWEST_VOXELS} voxels or more of {' x '.join(f'{v:g}' for v in voxel_mm)} mm along each axis",
            remedy="Give the whole series, not a part of it.",
        )
    matrix = ct.grid.matrix
    matrix[:3, :3] *= wanted / had
    matrix[:3, 3] = ct.grid.centre_mm - matrix[:3, :3] @ ((np.array([nz, ny, nx]) - 1) / 2)
    return averaged(without_padding(ct), Grid((nz, ny, nx), tuple(map(tuple, matrix))), outside=AIR_HU)


def _require_size(folder: Path) -> None:
    """Refuse a series of more voxels than any scan has, before one of them is read."""
    files = [path for path in folder.iterdir() if path.is_file() and is_dicom(path)]
    with reading(folder, DICOM):
        first = pydicom.dcmread(files[0], specific_tags=["Rows", "Columns"]) if files else pydicom.Dataset()
        voxels = len(files) * int(first.get("Rows") or 0) * int(first.get("Columns") or 0)
    if voxels > MAX_VOXELS:
        raise UnreadableFile(
            f"{folder} with {len(files)} files of {first.Rows} x {first.Columns} pixels",
            needed=f"at most {MAX_VOXELS} voxels",
            remedy="Export the series in thicker slices.",
        )


def _read(source: Path) -> Study:
    if not source.exists():
        raise UnreadableFile(f"{source} does not exist", needed="a folder or NIfTI file", remedy="Check the path.")
    if source.is_dir():
        _require_size(source)
        return read_ct(source)
    if source.name.endswith(SUFFIXES):
        digest = file_sha256(source)
        step = Step(("ct",), "read_nifti", (), {"file_sha256": digest})
        facts = {"modality": "CT", "nifti_sha256": digest}
        return Study(f"nifti-{digest[:8]}", facts=facts).add({"ct": read_nifti(source, HU)}, step)
    found = peek(source)[0] if is_dicom(source) else "no DICOM"
    raise WrongModality(
        f"{source}, one file ({found})",
        needed="the folder of a CT series, or a .nii or .nii.gz file",
        remedy="Name the folder that holds all its slices.",
    )
