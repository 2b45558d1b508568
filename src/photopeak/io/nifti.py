"""NIfTI images: arrays [x, y, z] in RAS outside, [z, y, x] in LPS inside."""

from pathlib import Path

import nibabel
import numpy as np

from photopeak.core import Grid, Quantity, Volume
from photopeak.core.errors import BadArgument, MissingGeometry, UnreadableFile
from photopeak.io.atomic import beside
from photopeak.io.axes import canonical_grid, rearrange
from photopeak.io.reading import MAX_VOXELS, reading

SUFFIXES = (".nii", ".nii.gz")
DESCRIPTION = b"photopeak research use only"
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_REVERSED = np.eye(4)[[2, 1, 0, 3]]


def read_nifti(path: Path | str, quantity: Quantity) -> Volume:
    """A three-dimensional NIfTI image, on an LPS grid with positive axes where its own axes allow.

    Parameters
    ----------
    path : a .nii or .nii.gz file.
    quantity : what its numbers mean; the file cannot say.
    """
    path = Path(path)
    with reading(path, "a whole .nii or .nii.gz file"):
        image = nibabel.Nifti1Image.from_filename(path)
        shape = tuple(image.shape[:3]) + tuple(n for n in image.shape[3:] if n != 1)
        if len(shape) != 3 or np.prod(shape, dtype=float) > MAX_VOXELS:
            raise UnreadableFile(
                f"{path} is an array of {image.shape}",
                needed=f"three axes and at most {MAX_VOXELS} voxels",
                remedy="Split it into single volumes.",
            )
        if image.header["qform_code"] == 0 and image.header["sform_code"] == 0:
            raise MissingGeometry(
                f"{path} has qform_code 0 and sform_code 0",
                needed="an affine that places the image in the patient",
                remedy="Write it with its affine.",
            )
        array = np.asarray(image.dataobj, dtype=np.float32).reshape(shape).transpose(2, 1, 0)
    stored = Grid(array.shape, tuple(map(tuple, _LPS @ image.affine @ _REVERSED)))
    grid = canonical_grid(stored)
    return Volume.from_numpy(rearrange(array, stored, grid), grid, quantity)


def write_nifti(volume: Volume, path: Path | str) -> Path:
    """`volume` as float32 NIfTI; its unit is not in the file, and nothing about the patient is."""
    path = Path(path)
    suffix = next((s for s in reversed(SUFFIXES) if path.name.endswith(s)), None)
    if suffix is None:
        raise BadArgument(f"path {path}", needed=" or ".join(SUFFIXES), remedy="Name the file so.")
    array = np.ascontiguousarray(volume.numpy().astype(np.float32).transpose(2, 1, 0))
    image = nibabel.Nifti1Image(array, _LPS @ volume.grid.matrix @ _REVERSED)
    image.set_sform(image.affine, code=1)
    image.header["qform_code"] = 0
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = DESCRIPTION
    with beside(path, suffix=suffix) as partial:
        nibabel.save(image, partial)
    return path
