"""Cutting CT and PET into transaxial slices for a 2D network, scaling them, and putting the answers back.

The same frozen object serves training and use, and travels in the checkpoint, so the two cannot scale differently.
CT numbers and SUV go to the network's range linearly and by fixed numbers, not by a slice's own maximum: what is twice
as bright in SUV is twice as bright for the network, in every slice of every patient.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from photopeak.core import HU, Grid, Volume
from photopeak.core.errors import BadArgument, BadValues, GridMismatch
from photopeak.learn.feed import from_network, to_network

AIR = -1.0
"""Air and no uptake in the network's range; slices are filled up with it."""
BODY_HU, AIR_WEIGHT = -900.0, 0.2
"""`PetFeed.near`: what is denser counts fully, the air around it a fifth."""
MARGIN, ANSWERED = 8, 4
"""`PetFeed.around`: pixels of air that a network sees beside the body, and those of them that it may answer in.

Beyond, a network meets the frame of its picture, where a convolution sees zeros, which are no air.
"""
SMALLEST_SUV = 1e-3
"""A slice whose maximum is less is empty."""
AIR_HU, LARGEST_HU = -500.0, 32768.0
"""A CT holds voxels below the first (air or lung), and none above the second."""


@dataclass(frozen=True)
class PetFeed:
    """Geometry and scale of the slices.

    Parameters
    ----------
    voxel_mm : (z, y, x) of the grid that the network works on; that of the images it is trained on.
    neighbours : slices on either side that come along as channels.
    multiple : rows and columns are filled up with air to a multiple of it, which the network's levels need.
    window_hu : CT numbers that a network sees as -1 and 1; beyond them nothing changes.
    suv_level : SUV that a network sees as 1; no uptake is -1.
    suv_clip : brighter voxels are seen and answered as this SUV.
    per_slice : PET over each slice's own maximum, as published with CPDM: an answer of 1 is then `suv_level`, whatever
        that maximum was, and SUV is lost. For comparison only.

    Raises
    ------
    BadArgument : sizes or levels that are not positive, an empty window.
    """

    voxel_mm: tuple[float, float, float] = (5.0, 4.0, 4.0)
    neighbours: int = 1
    multiple: int = 16
    window_hu: tuple[float, float] = (-1000.0, 1000.0)
    suv_level: float = 5.0
    suv_clip: float = 20.0
    per_slice: bool = False

    def __post_init__(self) -> None:
        for name in ("voxel_mm", "window_hu"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        positive = (*self.voxel_mm, self.multiple, self.suv_level, self.suv_clip)
        if (
            (len(self.voxel_mm), len(self.window_hu)) != (3, 2)
            or not all(0 < n < float("inf") for n in positive)
            or self.neighbours < 0
            or not self.window_hu[0] < self.window_hu[1]
        ):
            raise BadArgument(
                f"{self}", needed="three voxel sizes, a window and positive numbers", remedy="Leave out what is usual."
            )

    @property
    def context(self) -> int:
        """Channels of one slice with its neighbours."""
        return 2 * self.neighbours + 1

    @property
    def places(self) -> int:
        """Numbers that say where a slice is."""
        return 1

    @property
    def clip(self) -> tuple[float, float]:
        """The range of PET in the network's scale."""
        if self.per_slice:
            return -1.0, 1.0
        low, high = to_network(torch.tensor([0.0, self.suv_clip / self.suv_level])).tolist()
        return low, high

    def grid(self, grid: Grid) -> Grid:
        """The grid that the network works on: `voxel_mm`, about the same middle, reaching every voxel centre of `grid`.

        Raises
        ------
        GridMismatch : a grid whose axes are not those of the body.
        """
        _require_axial(grid)
        steps = (np.array(grid.shape) - 1) * grid.spacing_mm / np.array(self.voxel_mm)
        return Grid.regular(np.ceil(steps - 1e-6).astype(int) + 1, self.voxel_mm, centre_mm=grid.centre_mm.tolist())

    def ct(self, ct: Volume, grid: Grid) -> Volume:
        """A CT on `grid`, in HU, averaged where voxels grow.

        Raises
        ------
        WrongQuantity : not in HU.
        BadValues : NaN, a constant, or numbers that no CT of a body has, such as those of MR.
        """
        low, high = (float(v) for v in torch.aminmax(ct.require(HU, name="ct").require_image(name="ct").data))
        if low > AIR_HU or high > LARGEST_HU:
            raise BadValues(
                f'"ct" runs from {low:g} to {high:g} HU',
                needed=f"air or lung below {AIR_HU:g} HU and nothing above {LARGEST_HU:g}",
                remedy="Give the CT, with its rescale slope and intercept applied; MR cannot stand in for it.",
            )
        return Volume(resampled(ct, grid), grid, HU)

    def ct_to_network(self, hu: Tensor) -> Tensor:
        """CT numbers in the window as -1 to 1."""
        low, high = self.window_hu
        return to_network((hu.clamp(low, high) - low) / (high - low))

    def ct_from_network(self, value: Tensor) -> Tensor:
        """The inverse of `ct_to_network`, HU in the window."""
        low, high = self.window_hu
        return low + (high - low) * from_network(value.clamp(-1, 1))

    def suv_to_network(self, suv: Tensor) -> Tensor:
        """SUV [z, y, x] from 0 to `suv_clip`, or with `per_slice` to each slice's maximum, as -1 to `clip[1]`."""
        if self.per_slice:
            return to_network(suv.clamp(min=0) / suv.amax((-2, -1), keepdim=True).clamp(min=SMALLEST_SUV))
        return to_network(suv.clamp(0, self.suv_clip) / self.suv_level)

    def suv_from_network(self, value: Tensor) -> Tensor:
        """The inverse of `suv_to_network`, SUV; with `per_slice`, but for each slice's unknown factor."""
        return from_network(value.clamp(*self.clip)) * self.suv_level

    def padded(self, image: Tensor) -> Tensor:
        """[..., y, x] with air after the last row and column, [..., row, column] in multiples of `multiple`."""
        ny, nx = image.shape[-2:]
        return F.pad(image, (0, -nx % self.multiple, 0, -ny % self.multiple), value=AIR)

    def slices(self, image: Tensor, numbers: Sequence[int] | None = None, *, neighbours: bool = True) -> Tensor:
        """Slices [slice, channel, row, column] of an image [z, y, x] in the network's range, padded; ends repeat.

        Parameters
        ----------
        numbers : which slices; all unless given.
        neighbours : with `context` channels, otherwise one.
        """
        reach = self.neighbours if neighbours else 0
        first = torch.tensor(range(len(image)) if numbers is None else list(numbers))
        index = first[:, None] + torch.arange(-reach, reach + 1)
        return self.padded(image[index.clamp(0, len(image) - 1)])

    def place(self, depth: int, numbers: Sequence[int] | None = None) -> Tensor:
        """Where slices of a volume of `depth` slices are, from the feet (-1) to the head (1): [slice, 1]."""
        index = torch.tensor(range(depth) if numbers is None else list(numbers), dtype=torch.float32)
        return (2 * index / max(depth - 1, 1) - 1)[:, None]

    def around(self, ct: Tensor, margin: int = MARGIN) -> tuple[slice, slice]:
        """Rows and columns in which a CT [z, y, x] in the network's range has more than air, and a margin about them.

        All of them where it is nothing but air.
        """
        dense = (ct > self._air).any(0)
        return self._reach(dense.any(1), margin), self._reach(dense.any(0), margin)

    def near(self, ct: Tensor) -> Tensor:
        """How much an error matters, as CT slices [slice, 1, row, column] in the network's range: 1 in a body."""
        return AIR_WEIGHT + (1 - AIR_WEIGHT) * (ct > self._air).to(ct)

    @property
    def _air(self) -> float:
        """What is not denser is air, in the network's range."""
        return float(self.ct_to_network(torch.tensor(BODY_HU)))

    @staticmethod
    def _reach(dense: Tensor, margin: int) -> slice:
        """From the first to the last that is dense, with the margin."""
        found = torch.nonzero(dense).flatten().tolist() or [0, len(dense) - 1]
        return slice(max(found[0] - margin, 0), found[-1] + margin + 1)


def resampled(volume: Volume, grid: Grid) -> Tensor:
    """A volume [z, y, x] on another grid along the same axes; outermost voxels reach outwards.

    Where voxels grow, the volume is first blurred by a Gaussian of the variance that averaging over the larger voxel
    would add, so that no detail of a fine CT is met by chance.

    Raises
    ------
    GridMismatch : the volume's axes are not those of the body.
    """
    if volume.grid.same_as(grid):
        return volume.data
    _require_axial(volume.grid)
    had, wanted = np.array(volume.grid.spacing_mm), np.array(grid.spacing_mm)
    sigma = np.sqrt(np.clip(wanted**2 - had**2, 0, None) / 12) / had
    data = volume.data
    if sigma.any():
        data = torch.from_numpy(gaussian_filter(volume.numpy(), sigma, mode="nearest")).to(data)
    for axis, size in enumerate(grid.shape):
        along = np.zeros((size, 3))
        along[:, axis] = np.arange(size)
        at = torch.from_numpy(volume.grid.index(grid.world(along))[:, axis]).to(data)
        at = at.clamp(0, data.shape[axis] - 1)
        low = at.floor().long()
        high = (low + 1).clamp(max=data.shape[axis] - 1)
        share = (at - low).reshape([-1 if n == axis else 1 for n in range(3)])
        data = data.index_select(axis, low) * (1 - share) + data.index_select(axis, high) * share
    return data


def _require_axial(grid: Grid) -> None:
    if not grid.is_axial:
        raise GridMismatch(
            f"an image on an oblique grid of {grid}",
            needed="transaxial slices along LPS",
            remedy="Resample it onto an axial grid first.",
        )
