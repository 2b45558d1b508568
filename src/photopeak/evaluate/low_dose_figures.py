"""The pictures of the low-dose benchmark, as PNG bytes: quality against counts and views, and polar maps of one scan.

Every picture bears the notice. Same record, same bytes.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from photopeak.cardiac.perfusion import relative_uptake
from photopeak.cardiac.polar import polar_image
from photopeak.core.errors import BadArgument
from photopeak.evaluate.benchmark_tables import generator_of_intervals, values_of
from photopeak.evaluate.clinical_figures import COLOURS, DASHES
from photopeak.evaluate.figures import WIDTH_IN, Axes, axes_at, figure_of, png_of
from photopeak.evaluate.low_dose import LOW_DOSE_UNITS, pictured
from photopeak.evaluate.low_dose_tables import Rows, labels_of, rows_of
from photopeak.evaluate.stats import bootstrap_interval
from photopeak.simulate.dose import Setting

SHOWN = ("heart NRMSE", "heart PSNR", "heart SSIM", "17-segment MAE")
COMPARED = "diffspect 2"
"""The table whose rows are drawn as curves."""
PANEL_IN, MARGIN_IN, LEGEND_LINE_IN, LEGEND_COLUMNS = (3.9, 2.5), (0.85, 0.6), 0.22, 4
LABEL_IN, HEAD_IN, GAP_IN, LABEL_WRAP = 1.35, 0.4, 0.06, 18
DISC_PIXELS = 160
TICK, LABEL = 9, 10


def pictures(record: Mapping[str, Any]) -> dict[str, bytes]:
    """Files by name: a figure of curves for counts and one for views where there are settings of it, and polar maps."""
    truth = record["about"]["truths"][0]
    rows, labels = rows_of(record, truth), labels_of(record, COMPARED)
    settings = {name: Setting.named(name) for name in record["settings"]}
    counts = {name: 100 * one.fraction for name, one in settings.items() if one.views is None}
    views = {name: float(one.views) for name, one in settings.items() if one.views is not None and one.fraction == 1}
    drawn = {
        "quality_counts.png": (counts, "counts, % of the full dose", "log"),
        "quality_views.png": (views, "views", "linear"),
    }
    files = {
        name: curves_figure(rows, labels, places, along, scale, best=record["about"]["reference"], truth=truth)
        for name, (places, along, scale) in drawn.items()
        if places
    }
    return {**files, "polar_maps.png": maps_figure(*maps_of(record, truth))}


def curves_figure(
    rows: Rows, labels: Sequence[str], places: Mapping[str, float], along: str, scale: str, *, best: str, truth: str
) -> bytes:
    """Four figures of quality along an axis, one line for each method with the band of its interval.

    Parameters
    ----------
    rows : by setting, label, person and figure.
    places : where each setting stands on the axis `along`, of "log" or "linear" `scale`.
    best : label that is drawn thick.

    Raises
    ------
    BadArgument : no setting or no method.
    """
    if not places or not labels:
        raise BadArgument("nothing to draw", needed="settings and methods", remedy="Score some first.")
    lines = -(-len(labels) // LEGEND_COLUMNS)
    across, up = PANEL_IN
    figure, height = figure_of(2 * (up + MARGIN_IN[1]) + lines * LEGEND_LINE_IN + HEAD_IN)
    for number, name in enumerate(SHOWN):
        row, column = divmod(number, 2)
        left = MARGIN_IN[0] + column * (across + MARGIN_IN[0] + 0.1)
        low = height - HEAD_IN - lines * LEGEND_LINE_IN - row * (up + MARGIN_IN[1]) - up
        axes = axes_at(figure, (left, low, across, up))
        axes.set_axis_on()
        for place, label in enumerate(labels):
            _draw(axes, {x: values_of(rows[s][label], name) for s, x in places.items()}, label, place, label == best)
        axes.set_xscale(scale)
        axes.set_xticks(sorted(places.values()), [f"{x:g}" for x in sorted(places.values())], fontsize=TICK)
        axes.minorticks_off()
        axes.tick_params(labelsize=TICK)
        axes.set_xlabel(along, fontsize=LABEL)
        axes.set_ylabel(f"{name}, {LOW_DOSE_UNITS[name]}", fontsize=LABEL)
        axes.spines[["top", "right"]].set_visible(False)
    people = len(next(iter(rows[next(iter(places))].values())))
    title = f"truth = {truth}, n = {people}, bands: 95 % intervals over persons"
    figure.text(0.5, 1 - 0.08 / height, title, fontsize=LABEL, ha="center", va="top")
    handles, names = axes.get_legend_handles_labels()
    anchor = (0.5, 1 - 0.26 / height)
    figure.legend(handles, names, ncols=LEGEND_COLUMNS, fontsize=TICK, loc="upper center", bbox_to_anchor=anchor)
    return png_of(figure)


def _draw(axes: Axes, values: Mapping[float, Sequence[float]], label: str, place: int, thick: bool) -> None:
    """One method's means over persons and their intervals, along the axis."""
    style = {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place // len(COLOURS) % len(DASHES)]}
    along = sorted(values)
    found = [bootstrap_interval(values[x], generator=generator_of_intervals()) for x in along]
    axes.fill_between(along, [f.low for f in found], [f.high for f in found], color=style["color"], alpha=0.1, lw=0)
    axes.plot(along, [f.estimate for f in found], label=label, marker="o", ms=4, lw=2.6 if thick else 1.3, **style)


def maps_of(record: Mapping[str, Any], truth: str) -> tuple[dict[str, dict[str, Tensor]], str]:
    """Polar maps [ring, angle] of one scan by row and setting, the truth under every setting first, and its name.

    Of a row with several seeds, the first is drawn.
    """
    scan = pictured(record["defects"])
    found: dict[str, dict[str, Tensor]] = {}
    for run in record["runs"].values():
        lines = run["scans"][scan]
        if run["label"] not in found:
            found.setdefault(truth, {s: torch.tensor(lines[s]["maps"][truth]) for s in record["settings"]})
            found[run["label"]] = {s: torch.tensor(lines[s]["maps"]["answer"]) for s in record["settings"]}
    return found, scan


def maps_figure(maps: Mapping[str, Mapping[str, Tensor]], scan: str) -> bytes:
    """Polar maps in rows of methods and columns of settings, each in per cent of its own upper decile, cut off at 100.

    Raises
    ------
    BadArgument : no row, or rows of other settings.
    """
    settings = list(next(iter(maps.values()), {}))
    if not settings or any(list(row) != settings for row in maps.values()):
        raise BadArgument(
            f"rows {list(maps)} of {settings}", needed="maps of the same settings", remedy="Score them all."
        )
    disc = min((WIDTH_IN - LABEL_IN) / len(settings), 2.0) - GAP_IN
    figure, height = figure_of(HEAD_IN * 2 + (disc + GAP_IN) * len(maps))
    title = f"{scan}: polar maps, % of each one's upper decile (0 to 100)"
    figure.text(0.5, 1 - 0.08 / height, title, fontsize=LABEL, ha="center", va="top")
    for number, (label, row) in enumerate(maps.items()):
        low = height - 2 * HEAD_IN - (number + 1) * (disc + GAP_IN)
        told = textwrap.fill(label, LABEL_WRAP)
        figure.text(0.08 / WIDTH_IN, (low + disc / 2) / height, told, fontsize=TICK, va="center")
        for column, (setting, values) in enumerate(row.items()):
            left = LABEL_IN + column * (disc + GAP_IN)
            axes = axes_at(figure, (left, low, disc, disc))
            shown = relative_uptake(values).clamp(max=100).float()
            axes.imshow(polar_image(shown, size=DISC_PIXELS), cmap="inferno", vmin=0, vmax=100)
            if number == 0:
                middle, top = (left + disc / 2) / WIDTH_IN, (low + disc + 0.05) / height
                figure.text(middle, top, setting, fontsize=TICK, ha="center", va="bottom")
    return png_of(figure)
