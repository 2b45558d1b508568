"""Which anatomy drove the correction: how much AC over NAC in the heart changes when a place gets a little darker.

Occlusion (Zeiler and Fergus, ECCV 2014) with a dimming instead of a hole, since a hole in a body is unlike anything
that a network has seen: the answer is an elasticity. A method that multiplies NAC by a fixed map has none anywhere.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from photopeak.cardiac.find import FoundHeart
from photopeak.core import FACTOR, Grid, Volume
from photopeak.core.errors import BadArgument, ShapeMismatch
from photopeak.evaluate.figures import WIDTH_IN, axes_at, figure_of, png_of

DIMMING = 0.1
BLOCK_MM, REACH_MM = 36.0, 120.0
DARKEST = 0.05
STEP_MM, PIXELS = 3.0, 90
_TITLE_IN, _BAR_IN = 0.3, 0.4
_PLANES = {
    "transaxial": ((0, 1, 0), (1, 0, 0)),
    "coronal": ((0, 0, -1), (1, 0, 0)),
    "sagittal (anterior at the left)": ((0, 0, -1), (0, 1, 0)),
}
"""LPS directions of rows and columns."""


def elasticity(
    correct: Callable[[Volume], Volume],
    nac: Volume,
    wall: Tensor,
    *,
    block_mm: float = BLOCK_MM,
    reach_mm: float = REACH_MM,
    dimming: float = DIMMING,
) -> Volume:
    """Map of what AC over NAC in a place of interest depends on.

    Parameters
    ----------
    correct : NAC to AC, both in counts on one grid; the same answer for the same input (a fixed seed).
    nac : the image [z, y, x].
    wall : bool [z, y, x], the place of interest, such as the wall of the left ventricle.
    block_mm : distance of the places that are dimmed, and full width of each at half maximum.
    reach_mm : distance from the middle of the place of interest up to which places are tried.
    dimming : share of counts taken away in the middle of a place.

    Returns
    -------
    Volume on NAC's grid: root mean square over the wall of the relative change of AC over NAC, per relative dimming.

    Raises
    ------
    ShapeMismatch, BadArgument : a wall of another shape, or empty; lengths that are not positive.
    """
    if wall.shape != nac.data.shape:
        raise ShapeMismatch(f"wall {tuple(wall.shape)}", needed=f"{nac.grid.shape}", remedy="Make it on NAC's grid.")
    wall = wall & (nac.data > 0)
    if not bool(wall.any()) or not (0 < dimming < 1 and block_mm > 0 and reach_mm > 0):
        raise BadArgument(
            f"a wall of {int(wall.sum())} voxels with counts, dimming {dimming:g}, {block_mm:g} mm, {reach_mm:g} mm",
            needed="at least one voxel, a dimming between 0 and 1, positive lengths",
            remedy="Check the heart that was found.",
        )
    points = nac.grid.points()
    middle = points[wall.numpy()].mean(0)
    coarse = _places(middle, block_mm, reach_mm)
    floor = DARKEST * float(nac.data[wall].mean())
    before = _log_factor(correct(nac), nac, wall)
    found = np.zeros(coarse.shape)
    tried = np.linalg.norm(coarse.points() - middle, axis=-1) <= reach_mm
    for place in zip(*np.nonzero(tried), strict=True):
        centre = coarse.points()[place]
        near = torch.from_numpy(np.exp(-np.log(16) * (((points - centre) / block_mm) ** 2).sum(-1))).to(nac.data)
        if float((near * nac.data).sum() / near.sum().clamp(min=1e-9)) > floor:
            darker = nac.with_data(nac.data * (1 - dimming * near))
            change = _log_factor(correct(darker), darker, wall) - before
            found[place] = float(change.square().mean().sqrt()) / dimming
    return Volume.from_numpy(found, coarse, FACTOR).on(nac.grid)


def saliency_figure(nac: Volume, saliency: Volume, heart: FoundHeart) -> bytes:
    """The map over NAC in three planes through the heart, the patient's left at the right of each, as PNG."""
    side = WIDTH_IN / len(_PLANES)
    figure, height = figure_of(side + _TITLE_IN + _BAR_IN)
    peak = max(float(saliency.data.max()), 1e-6)
    bright = float(np.quantile(nac.on(_plane(heart, *_PLANES["transaxial"])).numpy(), 0.995))
    for number, (title, directions) in enumerate(_PLANES.items()):
        plane = _plane(heart, *directions)
        axes = axes_at(figure, (number * side + 0.05, height - _TITLE_IN - side, side - 0.1, side - 0.1))
        axes.imshow(nac.on(plane).numpy()[0], cmap="gray", vmin=0, vmax=max(bright, 1e-6))
        over = saliency.on(plane).numpy()[0]
        shown = axes.imshow(over, cmap="inferno", vmin=0, vmax=peak, alpha=0.75 * np.clip(over / peak, 0, 1) ** 0.5)
        figure.text((number + 0.5) * side / WIDTH_IN, 1 - 0.08 / height, title, fontsize=12, ha="center", va="top")
    bar = figure.colorbar(
        shown,
        cax=axes_at(figure, (WIDTH_IN / 3, height - side - _TITLE_IN - 0.15, WIDTH_IN / 3, 0.1)),
        orientation="horizontal",
    )
    bar.ax.set_axis_on()
    bar.ax.tick_params(labelsize=8)
    return png_of(figure)


def _plane(heart: FoundHeart, down: tuple[int, int, int], right: tuple[int, int, int]) -> Grid:
    """One slice through the middle of the heart, with LPS directions of rows and columns."""
    matrix = np.eye(4)
    matrix[:3, :3] = STEP_MM * np.stack([np.cross(down, right), down, right], axis=1)
    matrix[:3, 3] = np.array(heart.frame.centre_mm) - matrix[:3, :3] @ [0, (PIXELS - 1) / 2, (PIXELS - 1) / 2]
    return Grid((1, PIXELS, PIXELS), tuple(map(tuple, matrix)))


def _places(middle: np.ndarray, block_mm: float, reach_mm: float) -> Grid:
    side = 2 * int(reach_mm // block_mm) + 1
    return Grid.regular((side,) * 3, block_mm, centre_mm=tuple(middle))


def _log_factor(ac: Volume, nac: Volume, wall: Tensor) -> Tensor:
    """Logarithm of AC over NAC in each voxel of the wall, which has counts in NAC."""
    least = 1e-3 * nac.data[wall].mean()
    return ((ac.data[wall].clamp(min=least)) / nac.data[wall].clamp(min=least)).log()
