"""Short-axis and long-axis slices of a volume: resampled along the heart's own axes, in display order.

Each answer lies on an oblique Grid, so that a point keeps its place in the patient whichever way it is cut. NAC and AC
cut with one HeartFrame lie on one grid.
"""

import math

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import HeartFrame, Orientation
from photopeak.core import COUNTS, Grid, Volume
from photopeak.core.errors import BadArgument

FEWEST, MOST = 25, 49
"""Slices of a clinical series (PADM, arXiv 2511.06948, section 4.1)."""
MARGIN_MM = 30.0
"""Shown on each side of the ventricle: room for blur, and for a reader to see what lies next to it."""
FIELD_MM = 205.0
USUAL_LENGTH_MM, USUAL_RADIUS_MM = 84.0, 33.0


def reslice(
    volume: Volume,
    frame: HeartFrame,
    orientation: Orientation,
    *,
    slices: int | None = None,
    size: int | None = None,
    voxel_mm: float | None = None,
) -> Volume:
    """`volume` cut along the heart's axes: "sa" apex to base, "hla" inferior to anterior, "vla" septum to lateral wall.

    Counts are interpolated by cubic splines, which keep resolution, and stay at or above zero; other quantities
    linearly, which never overshoots. What lies beyond `volume` is zero.

    Parameters
    ----------
    slices : number of slices; what a heart of usual size needs if left out.
    size : rows and columns; as many as show 205 mm if left out.
    voxel_mm : size of the isotropic voxels; the finest of `volume` if left out.

    Returns
    -------
    Volume [slice, row, column] on an oblique grid around the heart.
    """
    voxel_mm = min(volume.grid.spacing_mm) if voxel_mm is None else voxel_mm
    slices = slices_needed(None, orientation, voxel_mm) if slices is None else slices
    size = 2 * round(FIELD_MM / voxel_mm / 2) if size is None else size
    if voxel_mm <= 0 or slices < 1 or size < 1:
        raise BadArgument(
            f"slices={slices}, size={size}, voxel_mm={voxel_mm:g}",
            needed="positive numbers",
            remedy="Leave them out for those of a clinical series.",
        )
    grid = frame.grid((slices, size, size), voxel_mm, orientation)
    if volume.quantity != COUNTS:
        return volume.on(grid)
    cut = volume.on(grid, order=3)
    return cut.with_data(cut.data.clamp(min=0))


def slices_needed(heart: FoundHeart | None, orientation: Orientation, voxel_mm: float) -> int:
    """Slices that hold the left ventricle with 30 mm on each side, at least 25 and at most 49."""
    length_mm = heart.length_mm if heart else USUAL_LENGTH_MM
    across_mm = 2 * (heart.outer_radius_mm if heart else USUAL_RADIUS_MM)
    extent_mm = (length_mm if orientation == "sa" else across_mm) + 2 * MARGIN_MM
    return min(max(math.ceil(extent_mm / voxel_mm), FEWEST), MOST)


def mu_beside(mu: Volume, slices: Grid, *, registered: bool = True) -> Volume:
    """The attenuation map that a network sees beside heart slices, [slice, row, column] of the same shape.

    Parameters
    ----------
    mu : linear attenuation on any grid.
    slices : the grid of the heart's slices.
    registered : bring mu into the frame of the slices by the known transform. Otherwise its transaxial slices are
        taken as they are, about the same centre: the paper's unregistered map, whose voxel [k, j, i] is not where that
        of the slices is. Its grid says so.
    """
    if registered:
        return mu.on(slices)
    return mu.on(Grid.regular(slices.shape, slices.spacing_mm, centre_mm=slices.centre_mm.tolist()))
