"""Random slices of many saved studies, at about the speed of memory.

A transaxial slice is one run of bytes: the file is opened, read from there, and closed, so that a cohort may have more
scans than a process may have files open. Slices along the other axes are scattered through the file, which is mapped.
"""

import mmap
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from photopeak.core.errors import BadArgument, MissingInput, ShapeMismatch, UnreadableFile

Orientation = Literal["transaxial", "coronal", "sagittal"]
ORIENTATIONS: tuple[Orientation, ...] = get_args(Orientation)
FLOAT32_BYTES = 4
OPEN_MAPS = 256
"""Each holds a file open, of which systems allow 256 or more; opening another takes some microseconds."""


class SlicePairs:
    """Slices [volume, row, column] of a cohort's volumes, each a copy of its own.

    Checksums are not compared here; ``photopeak cohort verify`` does that.

    Parameters
    ----------
    folder : of the cohort.
    studies : names of study folders.
    volumes : names of the volumes to read at one place, for example "nac" and "ac".
    orientation : "transaxial", "coronal" or "sagittal" slices of an axial volume: array axis 0, 1 or 2. Slices of a
        volume stored in another orientation ("nac_sa") are its "transaxial" ones.

    Raises
    ------
    MissingInput : a study lacks one of the volumes.
    ShapeMismatch : volumes of one study differ in shape.
    UnreadableFile : an array is not a float32 .npy file in C order.
    """

    def __init__(
        self, folder: Path, studies: Sequence[str], volumes: Sequence[str], orientation: Orientation = "transaxial"
    ) -> None:
        if not volumes or orientation not in ORIENTATIONS:
            raise BadArgument(
                f"volumes {list(volumes)}, orientation {orientation!r}",
                needed=f"at least one volume, and {' or '.join(ORIENTATIONS)}",
                remedy='slices("nac", "ac") gives transaxial pairs.',
            )
        self.studies, self._axis = tuple(studies), ORIENTATIONS.index(orientation)
        self._files = [[_Array(folder / study / f"volume-{name}.npy") for name in volumes] for study in studies]
        for study, files in zip(studies, self._files, strict=True):
            if len({file.shape for file in files}) > 1:
                raise ShapeMismatch(
                    f"{study} with {', '.join(f'{n} {f.shape}' for n, f in zip(volumes, files, strict=True))}",
                    needed="volumes of one shape",
                    remedy="Resample them onto one grid first.",
                )
        self._places = [
            (number, index) for number, files in enumerate(self._files) for index in range(files[0].shape[self._axis])
        ]

    def __len__(self) -> int:
        return len(self._places)

    def where(self, number: int) -> tuple[str, int]:
        """Study and index along the axis of a slice."""
        study, index = self._places[number]
        return self.studies[study], index

    def __getitem__(self, number: int) -> Tensor:
        study, index = self._places[number]
        files = self._files[study]
        plane = [n for axis, n in enumerate(files[0].shape) if axis != self._axis]
        pair = np.empty((len(files), *plane), np.float32)
        for file, slice_ in zip(files, pair, strict=True):
            file.read(self._axis, index, slice_)
        return torch.from_numpy(pair)

    def random(self, items: int, generator: torch.Generator) -> Tensor:
        """Slices [item, volume, row, column] drawn with replacement; studies must be of one shape."""
        numbers = torch.randint(len(self), (items,), generator=generator).tolist()
        return torch.stack([self[number] for number in numbers])


class _Array:
    """A saved array [z, y, x] whose header is read once."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.offset, self.shape = array_header(path)
        if len(self.shape) != 3:
            raise UnreadableFile(
                f"{path} of shape {self.shape}", needed="a volume [z, y, x]", remedy="Verify the cohort."
            )
        if path.stat().st_size != self.offset + FLOAT32_BYTES * prod(self.shape):
            raise UnreadableFile(
                f"{path} of {path.stat().st_size} bytes", needed=f"those of {self.shape}", remedy="Verify the cohort."
            )

    def read(self, axis: int, index: int, out: np.ndarray) -> None:
        """One slice into `out` [row, column]."""
        if axis != 0:
            np.copyto(out, _mapped(self.path, self.offset, self.shape)[(slice(None),) * axis + (index,)])
            return
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.offset + index * out.nbytes)
            got = file.readinto(out.data.cast("B"))
        if got != out.nbytes:
            raise UnreadableFile(
                f"{self.path}, cut short while in use", needed="the file as it was", remedy="Verify the cohort."
            )


@lru_cache(maxsize=OPEN_MAPS)
def _mapped(path: str, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    with open(path, "rb") as file:
        map_ = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(map_, np.float32, prod(shape), offset).reshape(shape)


def array_header(path: Path) -> tuple[int, tuple[int, ...]]:
    """Offset of the numbers in a .npy file, and their shape."""
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("not version 1.0 of the .npy format")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if fortran or dtype != np.float32:
                raise ValueError(f"{dtype}{' in Fortran order' if fortran else ''} is not float32 in C order")
            return file.tell(), tuple(shape)
    except FileNotFoundError as error:
        raise MissingInput(
            f"{path}, which is not there", needed="the volume in every study", remedy="Choose others, or make it."
        ) from error
    except ValueError as error:
        raise UnreadableFile(
            f"{path} is damaged: {error}", needed="the file as it was saved", remedy="Verify the cohort."
        ) from error
