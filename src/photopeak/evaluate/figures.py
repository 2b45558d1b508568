"""The pictures of a report, as PNG bytes: slices of the heart in display order, and polar maps.

Slices are linear grey, white hot, in per cent of the series' myocardial maximum. Uptake is drawn in inferno, spread in
cividis, and differences from blue over white to red about zero. Every picture bears the notice. Same input, same bytes.
"""

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from torch import Tensor

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import Orientation
from photopeak.cardiac.polar import polar_image
from photopeak.cardiac.segments import segment_centres, segment_means, segment_outlines
from photopeak.core import Grid, Volume

Axes: TypeAlias = Any
Colormap: TypeAlias = Any
Figure: TypeAlias = Any
AxesImage: TypeAlias = Any
"""Of matplotlib, which is imported inside functions only."""

NOTICE = (
    "Research software. Not a medical device. Not for diagnosis or treatment. AI-generated attenuation correction is "
    "an estimate, may remove or invent perfusion defects; always read with the original uncorrected data."
)

SLICES = 9
PIXEL_MM = 2.0
FIELD_PIXELS = 65

WIDTH_IN, DPI = 10.0, 160
_FOOT_IN, _LABEL_IN, _BAR_IN, _GAP_IN = 0.45, 0.75, 0.6, 0.04
_HEAD_IN, _UNDER_IN = 0.32, 0.62

_EDGES: Mapping[Orientation, tuple[str, str, str, str]] = {
    "sa": ("ANT", "INF", "SEP", "LAT"),
    "vla": ("ANT", "INF", "BASE", "APEX"),
    "hla": ("APEX", "BASE", "SEP", "LAT"),
}
"""What is at the top, bottom, left and right of a slice."""

Kind = Literal["uptake", "difference", "spread"]
_COLOURS: Mapping[Kind, str] = {"uptake": "inferno", "difference": "RdBu_r", "spread": "cividis"}


@dataclass(frozen=True)
class Panel:
    """One polar map of a row of them.

    Parameters
    ----------
    title : above the disc.
    kind : "uptake" (0 to 100), "difference" (about zero) or "spread" (from zero).
    values : Tensor [ring, angle], per cent or percentage points; None where there is nothing to show.
    unit : beside the colour bar, or what stands in an empty disc's place.
    """

    title: str
    kind: Kind
    values: Tensor | None
    unit: str


def slice_step_mm(heart: FoundHeart, orientation: Orientation) -> float:
    """Distance of slices that divide the ventricle's length (SA) or width (VLA, HLA) into equal parts."""
    return (heart.length_mm if orientation == "sa" else 2 * heart.outer_radius_mm) / SLICES


def heart_slices(volume: Volume, heart: FoundHeart, orientation: Orientation) -> np.ndarray:
    """Slices [slice, row, column] through the left ventricle in display order, each in the middle of its part."""
    flat = heart.frame.grid((SLICES, FIELD_PIXELS, FIELD_PIXELS), PIXEL_MM, orientation)
    matrix = flat.matrix
    matrix[:3, 0] *= slice_step_mm(heart, orientation) / PIXEL_MM
    matrix[:3, 3] = flat.centre_mm - matrix[:3, :3] @ ((np.array(flat.shape) - 1) / 2)
    return volume.on(Grid(flat.shape, tuple(map(tuple, matrix))), order=3).numpy()


def slices_figure(rows: Mapping[str, np.ndarray], orientation: Orientation) -> bytes:
    """Rows of slices, one above the other, as PNG.

    Parameters
    ----------
    rows : label to slices [slice, row, column] in per cent of the series' myocardial maximum; the first row on top.
    """
    count = max(len(slices) for slices in rows.values())
    size = (WIDTH_IN - _LABEL_IN - _BAR_IN) / count
    figure, height = figure_of((size + _GAP_IN) * len(rows))
    for number, (label, slices) in enumerate(rows.items()):
        low = height - (number + 1) * (size + _GAP_IN)
        figure.text(0.005, (low + size / 2) / height, label, fontsize=13, fontweight="bold", va="center")
        for column, image in enumerate(slices):
            axes = axes_at(figure, (_LABEL_IN + column * size, low, size, size))
            shown = axes.imshow(image, cmap="gray", vmin=0, vmax=100, interpolation="bicubic")
            if column == 0:
                _label_edges(axes, _EDGES[orientation])
    axes = axes_at(figure, (WIDTH_IN - _BAR_IN + 0.08, _FOOT_IN + 0.1, 0.12, size * len(rows) - 0.2))
    figure.colorbar(shown, cax=axes, ticks=[0, 50, 100], format="%g %%").ax.tick_params(labelsize=8, length=2, pad=2)
    axes.set_axis_on()
    return png_of(figure)


def polar_figure(panels: Sequence[Panel], columns: int) -> bytes:
    """Polar maps with the 17 segments and their means, as PNG; maps of one kind share their limits."""
    width = WIDTH_IN / columns
    disc = width - 0.05
    line_height = _HEAD_IN + disc + _UNDER_IN
    figure, height = figure_of(line_height * math.ceil(len(panels) / columns))
    for number, panel in enumerate(panels):
        line, column = divmod(number, columns)
        middle, top = (column + 0.5) * width, height - line * line_height
        figure.text(
            middle / WIDTH_IN, (top - 0.08) / height, panel.title, fontsize=13, fontweight="bold", ha="center", va="top"
        )
        low = top - _HEAD_IN - disc
        if panel.values is None:
            figure.text(middle / WIDTH_IN, (low + disc / 2) / height, panel.unit, fontsize=12, ha="center", va="center")
            continue
        limits = _limits([p.values for p in panels if p.kind == panel.kind and p.values is not None], panel.kind)
        shown = _disc(axes_at(figure, (middle - disc / 2, low, disc, disc)), panel, panel.values, limits)
        axes = axes_at(figure, (middle - disc / 3, low - 0.12, 2 * disc / 3, 0.1))
        bar = figure.colorbar(shown, cax=axes, orientation="horizontal", ticks=[limits[0], sum(limits) / 2, limits[1]])
        bar.ax.tick_params(labelsize=9, length=2, pad=2)
        bar.ax.set_xlabel(panel.unit, fontsize=9, labelpad=1)
        axes.set_axis_on()
    return png_of(figure)


def _disc(axes: Axes, panel: Panel, values: Tensor, limits: tuple[float, float]) -> AxesImage:
    """Draw one polar map as a disc of radius 1; returns what a colour bar is made of."""
    from matplotlib import colormaps
    from matplotlib.patches import Circle

    colours = colormaps[_COLOURS[panel.kind]]
    picture = polar_image(values, size=512)
    shown = axes.imshow(picture, cmap=colours, vmin=limits[0], vmax=limits[1], extent=(-1, 1, -1, 1), zorder=1)
    axes.set(xlim=(-1.16, 1.16), ylim=(-1.16, 1.16))
    shown.set_clip_path(Circle((0, 0), 1, transform=axes.transData))
    for (r0, a0), (r1, a1) in [*segment_outlines(), ((1.0, 0.0), (1.0, 360.0))]:
        radius, angle = np.linspace(r0, r1, 120), np.deg2rad(np.linspace(a0, a1, 120))
        axes.plot(radius * np.sin(angle), radius * np.cos(angle), color="0.55", linewidth=0.8, zorder=2)
    for value, (r, angle_deg) in zip(segment_means(values).tolist(), segment_centres(), strict=True):
        ink = _ink(colours, (value - limits[0]) / (limits[1] - limits[0]))
        text = f"{value:+z.0f}" if panel.kind == "difference" else f"{value:.0f}"
        x, y = r * math.sin(math.radians(angle_deg)), r * math.cos(math.radians(angle_deg))
        axes.text(x, y, text, color=ink, fontsize=8, ha="center", va="center_baseline", zorder=3)
    for text, x, y, turn in (("ANT", 0, 1.1, 0), ("INF", 0, -1.1, 0), ("SEP", -1.1, 0, 90), ("LAT", 1.1, 0, 270)):
        axes.text(x, y, text, fontsize=9, fontweight="bold", ha="center", va="center", rotation=turn)
    return shown


def _limits(maps: Sequence[Tensor], kind: Kind) -> tuple[float, float]:
    """Limits of the colours, in round fives."""
    if kind == "uptake":
        return 0.0, 100.0
    largest = 5.0 * math.ceil(max(float(values.abs().max()) for values in maps) / 5)
    return (-max(largest, 10.0), max(largest, 10.0)) if kind == "difference" else (0.0, max(largest, 5.0))


def _ink(colours: Colormap, fraction: float) -> str:
    """Black on light colours, white on dark ones (Rec. 709 weights)."""
    red, green, blue, _ = colours(fraction)
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45 else "white"


def figure_of(height_in: float, notice: str | None = None) -> tuple[Figure, float]:
    """A white figure with the notice (that of attenuation correction) at its foot, and its whole height in inches."""
    from matplotlib.figure import Figure

    height = height_in + _FOOT_IN
    figure = Figure(figsize=(WIDTH_IN, height), dpi=DPI, facecolor="white")
    told = textwrap.fill(NOTICE if notice is None else notice, 110)
    figure.text(0.5, 0.05 / height, told, fontsize=9.5, color="#8a1414", ha="center", va="bottom")
    return figure, height


def axes_at(figure: Figure, place_in: tuple[float, float, float, float]) -> Axes:
    """Empty axes at (left, bottom, width, height) inches."""
    width, height = figure.get_size_inches()
    left, bottom, across, up = place_in
    axes = figure.add_axes((left / width, bottom / height, across / width, up / height))
    axes.set_axis_off()
    return axes


def _label_edges(axes: Axes, edges: tuple[str, str, str, str]) -> None:
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=2, foreground="black")]
    places = (0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom"), (0.02, 0.5, "left", "center")
    for text, (x, y, ha, va) in zip(edges, (*places, (0.98, 0.5, "right", "center")), strict=True):
        label = axes.text(x, y, text, transform=axes.transAxes, ha=ha, va=va, fontsize=8.5, fontweight="bold")
        label.set(color="white", path_effects=outline)


def png_of(figure: Figure) -> bytes:
    """The file of a figure; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
