"""Pictures of a PET that was estimated from CT, as PNG bytes: projections of the maximum, and planes beside the CT.

Head up, the patient's right at the image's left, anterior at the left of sagittal views; uptake in inverse grey from 0
to SUV 7. Every picture bears the notice and a scale. Same input, same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from photopeak.core import HU, SUV, Grid, Volume
from photopeak.core.errors import GridMismatch
from photopeak.evaluate.figures import WIDTH_IN, Axes, axes_at, figure_of, png_of

PET_NOTICE = (
    "Research software. Not a medical device. Not for diagnosis or treatment. This PET was estimated from a CT by a "
    "network. FDG uptake is not determined by CT: lesions may be missing or invented."
)
HIGHEST_SUV = 7.0
SOFT_TISSUE_HU = (-160.0, 240.0)
SCALE_BAR_MM = 100.0
TALLEST_IN, HEAD_IN, GAP_IN, BAR_IN = 7.0, 0.3, 0.12, 0.75
SAGITTAL, CORONAL = 2, 1
EDGES = {CORONAL: ("R", "L"), SAGITTAL: ("A", "P")}
NAMES = {CORONAL: "coronal", SAGITTAL: "sagittal"}
Scale = Literal["uptake", "spread", "ct"]
COLOURS = {"uptake": "gray_r", "spread": "cividis", "ct": "gray"}


@dataclass(frozen=True, eq=False)
class View:
    """One picture of a row of them.

    Parameters
    ----------
    title : above it.
    image : [z, column], feet first.
    spacing_mm : of rows and columns.
    axis : that was projected or cut, CORONAL or SAGITTAL.
    limits : values of the ends of the grey scale.
    scale : of which kind that is.
    """

    title: str
    image: np.ndarray
    spacing_mm: tuple[float, float]
    axis: int
    limits: tuple[float, float]
    scale: Scale = "uptake"

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width."""
        return self.image.shape[0] * self.spacing_mm[0], self.image.shape[1] * self.spacing_mm[1]


def uptake_figure(pet: Volume) -> bytes:
    """Coronal and sagittal projection of the maximum of `pet` [SUV], 0 to 7."""
    pet.require(SUV, name="pet")
    return views_figure(
        [_projected(pet, axis, (0.0, HIGHEST_SUV), "uptake") for axis in (CORONAL, SAGITTAL)], "SUV, estimate"
    )


def spread_figure(sd: Volume) -> bytes:
    """Coronal and sagittal projection of the maximum of the standard deviation [SUV]."""
    top = max(float(sd.require(SUV, name="sd").data.max()), 0.1)
    return views_figure([_projected(sd, axis, (0.0, top), "spread") for axis in (CORONAL, SAGITTAL)], "sd, SUV")


def planes_figure(ct: Volume, pet: Volume) -> bytes:
    """CT and PET side by side, coronal and sagittal, through the middle of the body.

    Parameters
    ----------
    ct, pet : HU and SUV on one grid.
    """
    ct.require(HU, name="ct").grid.require_same(pet.grid, mine="ct", theirs="pet")
    middle = body_middle(ct)
    views = []
    for axis in (CORONAL, SAGITTAL):
        views.append(_cut(ct, axis, middle[axis], SOFT_TISSUE_HU, "ct"))
        views.append(_cut(pet, axis, middle[axis], (0.0, HIGHEST_SUV), "uptake"))
    return views_figure(views, None)


def body_middle(ct: Volume) -> tuple[int, int, int]:
    """Index (z, y, x) of the middle of everything at least as dense as fat; of the array where nothing is."""
    dense = ct.numpy() > SOFT_TISSUE_HU[0]
    if not dense.any():
        nz, ny, nx = (n // 2 for n in dense.shape)
        return nz, ny, nx
    z, y, x = (
        round(float(np.average(np.arange(n), weights=dense.sum(axis=tuple({0, 1, 2} - {axis})))))
        for axis, n in enumerate(dense.shape)
    )
    return z, y, x


def views_figure(views: Sequence[View], unit: str | None) -> bytes:
    """Views in a row at one scale, as PNG.

    Parameters
    ----------
    unit : beside the colour bar, which is that of the last view; None for no bar.
    """
    room = WIDTH_IN - GAP_IN * (len(views) + 1) - (BAR_IN if unit else 0)
    height_mm = max(view.size_mm[0] for view in views)
    per_mm = min(room / sum(view.size_mm[1] for view in views), TALLEST_IN / height_mm)
    drawn = sum(view.size_mm[1] for view in views) * per_mm + GAP_IN * (len(views) - 1) + (BAR_IN if unit else 0)
    figure, height = figure_of(height_mm * per_mm + HEAD_IN, PET_NOTICE)
    low = height - HEAD_IN - height_mm * per_mm
    left = (WIDTH_IN - drawn) / 2
    for view in views:
        up, across = (length * per_mm for length in view.size_mm)
        axes = axes_at(figure, (left, low, across, up))
        shown = axes.imshow(
            view.image,
            cmap=COLOURS[view.scale],
            vmin=view.limits[0],
            vmax=view.limits[1],
            origin="lower",
            extent=(0, view.size_mm[1], 0, view.size_mm[0]),
            interpolation="bilinear",
        )
        figure.text((left + across / 2) / WIDTH_IN, (low + up + 0.07) / height, view.title, fontsize=10, ha="center")
        _annotate(axes, view)
        left += across + GAP_IN
    if unit:
        axes = axes_at(figure, (left + 0.06, low + 0.1, 0.12, height_mm * per_mm - 0.2))
        figure.colorbar(shown, cax=axes).ax.tick_params(labelsize=8, length=2, pad=2)
        axes.set_axis_on()
        axes.set_ylabel(unit, fontsize=9)
    return png_of(figure)


def _annotate(axes: Axes, view: View) -> None:
    """Sides of the patient, and a bar of 10 cm."""
    from matplotlib.patheffects import withStroke

    ink, ground = ("white", "black") if view.scale in ("ct", "spread") else ("black", "white")
    outline = [withStroke(linewidth=2, foreground=ground)]
    high, wide = view.size_mm
    for text, x, side in zip(EDGES[view.axis], (0.02, 0.98), ("left", "right"), strict=True):
        label = axes.text(x, 0.98, text, transform=axes.transAxes, ha=side, va="top", fontsize=10, fontweight="bold")
        label.set(color=ink, path_effects=outline)
    start, level = 0.04 * wide, 0.02 * high
    axes.plot([start, start + SCALE_BAR_MM], [level, level], color=ink, linewidth=2, path_effects=outline)
    label = axes.text(start, level + 0.01 * high, f"{SCALE_BAR_MM / 10:g} cm", fontsize=8, va="bottom")
    label.set(color=ink, path_effects=outline)


def _projected(volume: Volume, axis: int, limits: tuple[float, float], scale: Scale) -> View:
    title = f"greatest {'SUV, estimate' if scale == 'uptake' else 'sd'}, {NAMES[axis]}"
    return View(title, volume.numpy().max(axis=axis), _spacing(volume.grid, axis), axis, limits, scale)


def _cut(volume: Volume, axis: int, index: int, limits: tuple[float, float], scale: Scale) -> View:
    title = f"{'CT' if scale == 'ct' else 'PET estimate'}, {NAMES[axis]}"
    return View(title, volume.numpy().take(index, axis), _spacing(volume.grid, axis), axis, limits, scale)


def _spacing(grid: Grid, axis: int) -> tuple[float, float]:
    if not grid.is_axial:
        raise GridMismatch(f"an oblique grid of {grid}", needed="axes along LPS", remedy="Resample it first.")
    spacing = grid.spacing_mm
    return spacing[0], spacing[SAGITTAL if axis == CORONAL else CORONAL]
