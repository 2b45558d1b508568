"""A float tensor on a Grid, with its physical quantity."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import map_coordinates
from torch import Tensor

from photopeak.core.errors import BadValues, ShapeMismatch, WrongQuantity
from photopeak.core.grid import Grid
from photopeak.core.units import Quantity


@dataclass(frozen=True, eq=False)
class Volume:
    """An image in the patient.

    Parameters
    ----------
    data : float Tensor [z, y, x], in the unit of `quantity`.
    grid : where the voxels are.
    quantity : what the numbers mean.
    """

    data: Tensor
    grid: Grid
    quantity: Quantity

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != self.grid.shape:
            raise ShapeMismatch(
                f"data of shape {tuple(self.data.shape)} on a grid of {self.grid}",
                needed="the shape of the grid, [z, y, x]",
                remedy="Transpose the array or build the grid from its shape.",
            )
        if not self.data.is_floating_point():
            object.__setattr__(self, "data", self.data.to(torch.float32))

    @classmethod
    def from_numpy(cls, array: np.ndarray, grid: Grid, quantity: Quantity) -> "Volume":
        """A float32 volume with its own copy of `array` [z, y, x]."""
        return cls(torch.from_numpy(np.array(array, dtype=np.float32)), grid, quantity)

    def numpy(self) -> np.ndarray:
        """The data as a numpy array [z, y, x]."""
        return self.data.detach().cpu().numpy()

    def with_data(self, data: Tensor, quantity: Quantity | None = None) -> "Volume":
        """Other numbers on the same grid."""
        return replace(self, data=data, quantity=quantity or self.quantity)

    def to(self, device: torch.device | str) -> "Volume":
        return replace(self, data=self.data.to(device))

    def on(self, grid: Grid, *, order: int = 1, outside: float = 0.0) -> "Volume":
        """Resampled onto another grid.

        Parameters
        ----------
        grid : where the answer is wanted.
        order : 1 trilinear (differentiable, never overshoots), 3 cubic spline (keeps resolution; for images of counts).
        outside : the value of points beyond this volume's voxel centres.
        """
        if self.grid.same_as(grid):
            return self
        if order == 1:
            return Volume(sample_linear(self.data, self.grid, grid.points(), outside=outside), grid, self.quantity)
        index = np.moveaxis(self.grid.index(grid.points()), -1, 0)
        values = map_coordinates(self.numpy(), index, order=order, mode="constant", cval=outside)
        return Volume(torch.from_numpy(values).to(self.data), grid, self.quantity)

    def require(self, quantity: Quantity, *, name: str) -> "Volume":
        """This volume, if it holds `quantity` (energy included)."""
        if self.quantity != quantity:
            raise WrongQuantity(
                f'"{name}" holds {self.quantity}',
                needed=str(quantity),
                remedy="Convert it first (photopeak.physics.mumap for CT).",
            )
        return self

    def require_image(self, *, name: str) -> "Volume":
        """This volume, if it is finite and not constant: what every reconstruction of a patient is."""
        bad = int((~torch.isfinite(self.data)).sum())
        if bad:
            raise BadValues(
                f'"{name}" has {bad} NaN or infinite voxels',
                needed="finite numbers",
                remedy="Export the series again; do not fill the gaps.",
            )
        low, high = (float(v) for v in torch.aminmax(self.data))
        if low == high:
            raise BadValues(
                f'"{name}" is {low:g} everywhere', needed="an image", remedy="Check that the right series was exported."
            )
        return self

    def __str__(self) -> str:
        low, high = (float(v) for v in torch.aminmax(self.data))
        return f"{self.quantity}, {self.grid}, {low:.4g} to {high:.4g}"


def sample_linear(data: Tensor, grid: Grid, points_mm: np.ndarray, *, outside: float = 0.0) -> Tensor:
    """Trilinear values of `data` [z, y, x] at LPS points [..., (x, y, z)] in mm; `outside` beyond the voxel centres."""
    index = torch.from_numpy(grid.index(points_mm)).to(data.device, data.dtype)
    last = torch.tensor([max(n - 1, 1) for n in grid.shape], dtype=data.dtype, device=data.device)
    unit = (2 * index / last - 1).flip(-1).reshape(1, 1, 1, -1, 3)
    values = F.grid_sample(
        (data - outside)[None, None], unit, mode="bilinear", padding_mode="zeros", align_corners=True
    )
    return values.reshape(index.shape[:-1]) + outside
