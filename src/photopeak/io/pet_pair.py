"""A CT and a PET of one visit on one grid: frames of reference compared, places by geometry, numbers by averaging.

The scanners' grids differ in spacing, extent and by fractions of a voxel; each voxel of the common grid gets the mean
of what lies in it, so that neither HU nor SUV depend on where a sample happened to fall.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from photopeak.core import HU, Grid, Step, Study, Volume
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, MissingInput, UnreadableFile
from photopeak.core.units import FACTOR, SUV, Quantity
from photopeak.io.nifti import SUFFIXES, read_nifti
from photopeak.io.store import file_sha256

AIR_HU = -1000.0
PADDING_BELOW_HU = -1024.0
"""Scanners fill what they did not reconstruct with -2000, -3024 and the like."""
PARALLEL = 1e-3
FEWEST_VOXELS = 8
KVP_RANGE = (60.0, 150.0)
SPACING_RANGE_MM = (0.5, 20.0)
HIGHEST_SUV = 1000.0
NIFTI_NAMES: Mapping[str, frozenset[str]] = {
    "ct": frozenset({"ct_image", "ct", "ctres"}),
    "pet": frozenset({"pet_image", "pet", "suv"}),
    "lesion": frozenset({"pet_mask", "mask", "seg"}),
}


@dataclass(frozen=True)
class Pairing:
    """What the user decides about a pair.

    Parameters
    ----------
    kvp : tube voltage of the CT where its header is silent; a header that speaks is believed.
    spacing_mm : isotropic voxels of the common grid; PET's own voxels unless given.
    same_frame : both lie in one frame of reference, though their headers do not say so.
    """

    kvp: float | None = None
    spacing_mm: float | None = None
    same_frame: bool = False

    def __post_init__(self) -> None:
        if self.kvp is not None:
            _require_kvp(self.kvp)
        if self.spacing_mm is not None and not SPACING_RANGE_MM[0] <= self.spacing_mm <= SPACING_RANGE_MM[1]:
            raise BadArgument(f"voxels of {self.spacing_mm:g} mm", needed="0.5 to 20 mm", remedy="Correct it.")


def paired(ct: Study, pet: Study, how: Pairing | None = None) -> Study:
    """One study with "ct" [HU] and "pet" [SUV or Bq/ml] on one grid, and "lesion" (0 or 1) where `pet` has it.

    Parameters
    ----------
    ct, pet : as `read_ct` and `read_pt` give them. The common grid ends where one of the two ends.
    how : voltage, voxels and frame of reference, where the user decides.

    Raises
    ------
    GridMismatch : different frames of reference, axes that are not parallel, or no common volume.
    MissingInput : no tube voltage.
    BadValues : numbers that are no HU, or no SUV.
    """
    how = how or Pairing()
    frames = [one.facts.get("dicom", {}).get("frame_of_reference_sha256") for one in (ct, pet)]
    if not how.same_frame and (frames[0] is None or frames[0] != frames[1]):
        raise GridMismatch(
            "a CT and a PET " + ("of two different frames" if all(frames) else "without a frame") + " of reference",
            needed="one Frame of Reference UID (0020,0052)",
            remedy="Register them first; or say that they lie as in one (same_frame=True, --series HASH=static).",
        )
    hounsfield, uptake = require_ct(ct["ct"]), pet["pet"]
    if uptake.quantity == SUV:
        require_suv(uptake)
    kvp = _kvp(ct, how.kvp)
    within = common_grid(uptake.grid, hounsfield.grid)
    grid = within if how.spacing_mm is None else within.resampled(how.spacing_mm)
    volumes = {"ct": averaged(without_padding(hounsfield), grid, outside=AIR_HU), "pet": averaged(uptake, grid)}
    if "lesion" in pet:
        share = averaged(_marked(pet["lesion"]), grid)
        volumes["lesion"] = _marked(share)
    kept = within.shape[0] * within.shape[1] * within.shape[2] / uptake.data.numel()
    facts = {**ct.facts, **pet.facts, "kvp": kvp, "pet_within_ct": round(kept, 4)}
    step = Step(tuple(volumes), "pair", ("ct", "pet"), asdict(how))
    history = (*ct.history, *pet.history)
    return replace(Study(pet.name, facts=facts), history=history).add(volumes, step)


def read_nifti_pair(folder: Path | str, *, kvp: float, spacing_mm: float | None = None) -> Study:
    """CT, SUV and, where it is there, the mask of lesions in one folder of NIfTI files, as one study.

    Parameters
    ----------
    folder : with CT_image, PET_image and PET_mask (or ct, pet, mask; CTres, SUV, SEG) as .nii or .nii.gz.
    kvp : tube voltage of the CT, which NIfTI cannot say.
    """
    folder = Path(folder)
    files = nifti_files(folder)
    missing = [name for name in ("ct", "pet") if name not in files]
    if missing:
        raise UnreadableFile(
            f"{folder} has no NIfTI file for {' and '.join(missing)}",
            needed="; ".join(f"{name}: {' or '.join(sorted(NIFTI_NAMES[name]))}" for name in missing),
            remedy="Name the files so.",
        )
    digest = {name: file_sha256(path) for name, path in files.items()}
    parts: dict[str, Quantity] = {"ct": HU, "pet": SUV, "lesion": FACTOR}
    volumes = {name: read_nifti(path, parts[name]) for name, path in files.items()}
    steps = {name: Step((name,), "read_nifti", (), {"file_sha256": digest[name]}) for name in files}
    ct = Study("ct").add({"ct": volumes["ct"]}, steps["ct"])
    pet = Study(f"nifti-{digest['pet'][:8]}", facts={"modality": "PT"}).add({"pet": volumes["pet"]}, steps["pet"])
    if "lesion" in volumes:
        volumes["lesion"].grid.require_same(volumes["pet"].grid, mine="lesion", theirs="pet")
        pet = pet.add({"lesion": volumes["lesion"]}, steps["lesion"])
    return paired(ct, pet, Pairing(kvp, spacing_mm, same_frame=True))


def nifti_files(folder: Path) -> dict[str, Path]:
    """The files of a NIfTI pair by "ct", "pet" and "lesion", as far as they are in `folder`."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = next((path.name.removesuffix(s) for s in reversed(SUFFIXES) if path.name.endswith(s)), "").lower()
        name = next((n for n, stems in NIFTI_NAMES.items() if stem in stems), None)
        if name is None or not path.is_file():
            continue
        if name in found:
            raise UnreadableFile(
                f"{folder} has two files for {name}", needed="one", remedy="Move the other one elsewhere."
            )
        found[name] = path
    return found


def require_ct(ct: Volume) -> Volume:
    """`ct`, if its numbers can be HU: no MR has voxels of air at -1000 beside tissue at 0."""
    hu = ct.require(HU, name="ct").require_image(name="ct")
    low, high = (float(v) for v in torch.aminmax(hu.data))
    if not (-3100 <= low <= -100 and -100 < high <= 32768):
        raise BadValues(
            f"CT numbers from {low:g} to {high:g}",
            needed="HU: air or fat below -100, tissue above, nothing below -3100",
            remedy="Check that it is a CT (an MR is not), with rescale slope and intercept applied.",
        )
    return hu


def require_suv(pet: Volume) -> Volume:
    """`pet`, if its numbers can be SUV."""
    low, high = (float(v) for v in torch.aminmax(pet.require(SUV, name="pet").require_image(name="pet").data))
    if low < -0.1 * high or high > HIGHEST_SUV:
        raise BadValues(
            f"PET numbers from {low:g} to {high:g}",
            needed=f"SUV in g/ml, at most {HIGHEST_SUV:g}",
            remedy="Check that it is a PET, in SUV and not in Bq/ml.",
        )
    return pet


def common_grid(of: Grid, within: Grid) -> Grid:
    """The voxels of a grid whose centres lie in the box of another with parallel axes."""
    start, step = _places(of, within)
    first, count = [], []
    for axis in range(3):
        places = start[axis] + step[axis] * np.arange(of.shape[axis])
        inside = np.flatnonzero((places >= -0.5) & (places <= within.shape[axis] - 0.5))
        first.append(int(inside[0]) if inside.size else 0)
        count.append(inside.size)
    if min(count) < FEWEST_VOXELS:
        raise GridMismatch(
            f"a PET on {of} about {np.round(of.centre_mm).tolist()} mm and a CT on {within} about "
            f"{np.round(within.centre_mm).tolist()} mm",
            needed=f"at least {FEWEST_VOXELS} voxels of the PET in the CT along each axis; there are {count}",
            remedy="Check that both are of one visit and one part of the body.",
        )
    return of.crop(first, count)


def averaged(volume: Volume, grid: Grid, *, outside: float = 0.0) -> Volume:
    """The mean of `volume` in each voxel of a grid with parallel axes; linear where those voxels are the smaller ones.

    Parameters
    ----------
    outside : the value of voxels whose centres lie beyond this volume; those that reach over its edge get the mean
        of their part within.
    """
    start, step = _places(grid, volume.grid)
    data = volume.numpy()
    inside = np.ones((1, 1, 1), dtype=bool)
    for axis in (2, 1, 0):
        weights, within = _weights(grid.shape[axis], data.shape[axis], start[axis], step[axis])
        data = np.moveaxis(np.tensordot(weights.astype(data.dtype), data, axes=(1, axis)), 0, axis)
        inside = inside & np.expand_dims(within, tuple({0, 1, 2} - {axis}))
    mean = np.where(inside, data, np.asarray(outside, data.dtype))
    return Volume(torch.from_numpy(mean), grid, volume.quantity)


def _weights(targets: int, sources: int, start: float, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Matrix [target, source] of the mean along one axis, and which targets [target] have their centre in the source.

    Targets lie at the source's indices start + n step. A weight is the length that the source voxel shares with the
    target voxel; a target smaller than a source voxel is taken as large, which is linear interpolation.
    """
    centres = start + step * np.arange(targets)
    half = max(step, 1.0) / 2
    voxels = np.arange(sources)
    upper = np.minimum(centres[:, None] + half, voxels + 0.5)
    lower = np.maximum(centres[:, None] - half, voxels - 0.5)
    inside = (centres >= -0.5) & (centres <= sources - 0.5)
    shared = (upper - lower).clip(min=0) * inside[:, None]
    return shared / np.where(inside, shared.sum(axis=1), 1.0)[:, None], inside


def _places(of: Grid, among: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Where the voxels of one grid lie among those of another with parallel axes: index = start + step n, by axis."""
    steps = np.linalg.solve(among.matrix[:3, :3], of.matrix[:3, :3])
    step = np.diag(steps)
    if np.abs(steps - np.diag(step)).max() > PARALLEL * np.abs(step).min() or step.min() <= 0:
        raise GridMismatch(
            " and ".join(f"axes {np.round(grid.matrix[:3, :3], 4).tolist()}" for grid in (of, among)),
            needed="parallel axes, as CT and PET of one scanner have",
            remedy="Resample one of them first: volume.on(grid).",
        )
    return among.index(of.world([0, 0, 0])), step


def _marked(labels: Volume) -> Volume:
    """1 where a label (1, 255, or the number of a lesion) or half of it is, else 0."""
    return labels.with_data((labels.data >= 0.5).to(torch.float32))


def without_padding(ct: Volume) -> Volume:
    """`ct` with air where the scanner reconstructed nothing."""
    return ct.with_data(torch.where(ct.data < PADDING_BELOW_HU, ct.data.new_tensor(AIR_HU), ct.data))


def _kvp(ct: Study, told: float | None) -> float:
    known: Any = ct.facts.get("kvp")
    kvp = told if known is None else float(known)
    if kvp is None:
        raise MissingInput(
            "a CT without KVP (0018,0060)",
            needed="the tube voltage, for attenuation at 511 keV, in the header or by --kvp",
            remedy="State that of the protocol, as --kvp 120.",
        )
    return _require_kvp(kvp)


def _require_kvp(kvp: float) -> float:
    if not KVP_RANGE[0] <= kvp <= KVP_RANGE[1]:
        raise BadArgument(f"a tube voltage of {kvp:g}", needed="60 to 150 kVp", remedy="Correct it.")
    return kvp
