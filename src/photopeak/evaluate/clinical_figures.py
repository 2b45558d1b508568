"""The pictures of the clinical page, as PNG bytes: agreement, ROC curves, polar maps side by side, break-even.

Colours are those of Okabe and Ito, which most colour-blind readers tell apart. Every picture bears the notice. Same
input, same bytes.
"""

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from photopeak.cardiac.perfusion import relative_uptake
from photopeak.core.errors import BadArgument
from photopeak.evaluate.breakeven import ShiftCurve, break_even_mm
from photopeak.evaluate.clinical import Agreement, Clinical
from photopeak.evaluate.figures import NOTICE, Panel, polar_figure
from photopeak.evaluate.roc import roc_curve
from photopeak.evaluate.scan_maps import ScanMaps

Axes: TypeAlias = Any
Figure: TypeAlias = Any
"""Of matplotlib, which is imported inside functions only."""

COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", "--", "-.", ":")
GREY = "#59616a"
PANEL_IN, FOOT_IN, DPI, COLUMNS = (4.6, 3.9), 0.6, 130, 2
LABEL, TICK, TITLE = 13, 11, 14
COVERED = 0.995


def agreement_figure(agreements: Mapping[str, Agreement], reference: str) -> bytes:
    """Bland-Altman plots of segments, one for each image on common axes, with bias, limits and slope.

    Axes cover the middle 99 % of all segments; those beyond are drawn at the edge.
    """
    _require(agreements, "agreements")
    edge = max(float(np.quantile(a.difference.abs().numpy(), COVERED)) for a in agreements.values())
    edge = 5 * math.ceil(max(edge, 1.0) / 5)
    low = min(float(np.quantile(a.mean.numpy(), 1 - COVERED)) for a in agreements.values())
    high = max(float(np.quantile(a.mean.numpy(), COVERED)) for a in agreements.values())
    columns = min(COLUMNS, len(agreements))
    figure, panels = _panels(len(agreements), columns)
    for number, (axes, (label, found)) in enumerate(zip(panels, agreements.items(), strict=True)):
        x = found.mean.flatten().clamp(low, high).numpy()
        y = found.difference.flatten().clamp(-edge, edge).numpy()
        axes.plot(x, y, ".", color=COLOURS[1], markersize=4, alpha=0.3, markeredgewidth=0, rasterized=True)
        axes.axhline(0, color="0.7", linewidth=1)
        for value, dash in ((found.bias.estimate, "-"), (found.low, "--"), (found.high, "--")):
            axes.axhline(value, color=COLOURS[2], linewidth=1.8, linestyle=dash)
        ends = np.array([low, high])
        middle = float(found.mean.mean())
        line = found.bias.estimate + found.slope.estimate * (ends - middle)
        axes.plot(ends, line, color="black", linewidth=1.8)
        axes.set(xlim=(low - 1, high + 1), ylim=(-1.04 * edge, 1.04 * edge))
        told = f"bias {found.bias.estimate:+.1f}, limits {found.low:+.1f} to {found.high:+.1f}"
        axes.set_title(f"{label}\n{told}, slope {found.slope.estimate:+.2f}", fontsize=TICK, fontweight="bold")
        if number >= len(agreements) - columns:
            axes.set_xlabel("mean of both, % of maximum", fontsize=LABEL)
        if number % columns == 0:
            axes.set_ylabel(f"image − {reference}, points", fontsize=LABEL)
    return _png(figure)


def roc_figure(clinical: Clinical) -> bytes:
    """ROC curves of the TPD-like index for a scan with a defect, areas and intervals in the legend."""
    figure, (axes,) = _panels(1, 1, (7.0, 5.6))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for number, (label, found) in enumerate(clinical.findings.items()):
        false, true = roc_curve(found.deficits, clinical.present)
        area = f"{label}: {found.area.estimate:.2f} ({found.area.low:.2f} to {found.area.high:.2f})"
        axes.plot(false, true, label=area, linewidth=2.4, **_style(number))
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel("false positive fraction", fontsize=LABEL)
    axes.set_ylabel("true positive fraction", fontsize=LABEL)
    axes.set_title(
        f"TPD-like index, {clinical.areas.present} scans with and {clinical.areas.absent} without a defect",
        fontsize=TITLE,
    )
    axes.legend(fontsize=TICK, loc="lower right", title="area (95 % interval)", title_fontsize=TICK)
    return _png(figure)


def maps_figure(scan: ScanMaps, images: Mapping[str, str], columns: int = 4) -> bytes:
    """Polar maps of one scan side by side, in per cent of each map's own upper decile, cut off at 100.

    Parameters
    ----------
    images : title above each map to the image's name.
    """
    _require(images, "images")
    panels = [
        Panel(title, "uptake", relative_uptake(scan[image]).clamp(max=100).float(), "% of upper decile")
        for title, image in images.items()
    ]
    return polar_figure(panels, columns=min(columns, max(len(panels), 2)))


def break_even_figure(curves: Sequence[ShiftCurve], answers: Mapping[str, Sequence[float]], unit: str) -> bytes:
    """How wrong CT-AC is over the shift of its map, each person thin and the mean thick, and the methods' mean errors.

    Parameters
    ----------
    curves : one for each person.
    answers : errors [person] of each method.
    unit : of the errors, beside the axis.
    """
    _require(curves, "curves")
    figure, (axes,) = _panels(1, 1, (7.6, 5.2))
    shifts, means = curves[0].shifts_mm, np.stack([curve.mean for curve in curves])
    axes.plot(shifts, means.T, color="0.8", linewidth=1, zorder=1)
    mean = means.mean(axis=0)
    axes.plot(shifts, mean, color="black", linewidth=2.8, marker="o", label="CT-AC, map shifted", zorder=3)
    for number, (label, errors) in enumerate(answers.items(), start=1):
        level = float(np.mean(errors))
        at_mm = break_even_mm(shifts, mean, level)
        told = f"{label}: {at_mm:.1f} mm" if math.isfinite(at_mm) else f"{label}: beyond {shifts[-1]:g} mm"
        axes.axhline(level, label=told, linewidth=2.2, **_style(number))
        if math.isfinite(at_mm):
            axes.plot(at_mm, max(level, mean[0]), "o", color=_style(number)["color"], markersize=9, zorder=4)
    axes.set(xlim=(0, shifts[-1]), ylim=(0, None))
    axes.set_xlabel("shift of the CT's attenuation map, mm", fontsize=LABEL)
    axes.set_ylabel(unit, fontsize=LABEL)
    axes.set_title(f"Break-even misregistration, n = {len(curves)}", fontsize=TITLE)
    axes.legend(fontsize=TICK, loc="best", title="mean of persons, and break-even", title_fontsize=TICK)
    return _png(figure)


def contrast_figure(contrasts: Mapping[str, Tensor], expected: Tensor, reference: str) -> bytes:
    """Contrast of each defect segment beside that in the reference, with the line of identity.

    Parameters
    ----------
    contrasts : [defect segment] of each image.
    expected : [defect segment] of the reference.
    """
    _require(contrasts, "contrasts")
    everything = np.concatenate([expected.numpy(), *(c.numpy() for c in contrasts.values())])
    low, high = float(everything.min()) - 0.05, float(everything.max()) + 0.05
    columns = min(COLUMNS, len(contrasts))
    figure, panels = _panels(len(contrasts), columns)
    for number, (axes, (label, found)) in enumerate(zip(panels, contrasts.items(), strict=True)):
        axes.plot([low, high], [low, high], color="0.6", linewidth=1)
        axes.plot(expected.numpy(), found.numpy(), "o", color=COLOURS[1], markersize=5, alpha=0.6, markeredgewidth=0)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set_title(label, fontsize=LABEL, fontweight="bold")
        if number >= len(contrasts) - columns:
            axes.set_xlabel(f"contrast in {reference}", fontsize=LABEL)
        if number % columns == 0:
            axes.set_ylabel("contrast in the image", fontsize=LABEL)
    return _png(figure)


def _style(number: int) -> dict[str, str]:
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def _panels(count: int, columns: int, size_in: tuple[float, float] = PANEL_IN) -> tuple[Figure, list[Axes]]:
    """A white figure of equal panels with the notice at its foot."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    lines = -(-count // columns)
    width, height = columns * size_in[0], lines * size_in[1] + FOOT_IN
    layout = ConstrainedLayoutEngine(rect=(0, FOOT_IN / height, 1, 1 - FOOT_IN / height))
    figure = Figure((width, height), dpi=DPI, layout=layout, facecolor="white")
    notice = textwrap.fill(NOTICE, int(14 * width))
    figure.text(0.5, 0.06 / height, notice, fontsize=8, color="#8a1414", ha="center", va="bottom")
    axes = [figure.add_subplot(lines, columns, number + 1) for number in range(count)]
    for one in axes:
        one.tick_params(labelsize=TICK)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _require(things: Mapping[str, Any] | Sequence[Any], name: str) -> None:
    if not len(things):
        raise BadArgument(f"no {name}", needed="one or more", remedy="Give something to draw.")
