"""How an NM object says which way heart slices are cut, and the grid on which its image is read.

Slice Progression Direction (0054,0500) and View Code Sequence (0054,0220), DICOM PS3.3 C.8.4.15 and PS3.16 CID 26.
"""

import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes

from photopeak.cardiac.orientation import Orientation
from photopeak.core import Grid
from photopeak.io.axes import canonical_grid
from photopeak.io.dicom_nm_modules import coded

# In display order first, then against it.
_PROGRESSION: dict[Orientation, tuple[str, str]] = {
    "sa": ("APEX_TO_BASE", "BASE_TO_APEX"),
    "hla": ("INF_TO_ANT", "ANT_TO_INF"),
    "vla": ("SEPTUM_TO_WALL", "WALL_TO_SEPTUM"),
}
_VIEWS = {
    "sa": codes.CID26.ShortAxis,
    "hla": codes.CID26.HorizontalLongAxis,
    "vla": codes.CID26.VerticalLongAxis,
    None: codes.CID26.Transverse,
}


def set_orientation(dataset: Dataset, orientation: Orientation | None) -> None:
    """Say that the slices are transaxial (None), or heart slices in display order; geometry must be set already."""
    dataset.DetectorInformationSequence[0].ViewCodeSequence = [coded(_VIEWS[orientation])]
    if orientation is not None:
        dataset.SliceProgressionDirection = _PROGRESSION[orientation][0]


def orientation_of(dataset: Dataset) -> Orientation | None:
    """ "sa", "hla" or "vla" by Slice Progression Direction; None where it is absent."""
    found = dataset.get("SliceProgressionDirection")
    return next((orientation for orientation, words in _PROGRESSION.items() if found in words), None)


def image_grid(dataset: Dataset, stored: Grid) -> Grid:
    """The voxels of `stored` [slice, row, column] in the order in which they are read.

    Heart slices keep their rows and columns and run in display order: SA from the apex, HLA from below, VLA from the
    septum, reversed where the object stores them the other way. Anything else has the axes [z head, y posterior,
    x left], or its own where they are oblique.
    """
    orientation = orientation_of(dataset)
    if orientation is None:
        return canonical_grid(stored)
    if dataset.SliceProgressionDirection == _PROGRESSION[orientation][0]:
        return stored
    matrix = stored.matrix
    matrix[:3, 3] = stored.world(np.array([stored.shape[0] - 1, 0, 0]))
    matrix[:3, 0] *= -1
    return Grid(stored.shape, tuple(map(tuple, matrix)))
