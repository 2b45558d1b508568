"""The pictures of a cohort's data card: how its persons are spread, as PNG bytes. Same input, same bytes."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from photopeak.cardiac.segments import SEGMENTS
from photopeak.evaluate.cohort_facts import by_person, is_normal, segment_errors, unevenness
from photopeak.evaluate.scan_facts import ScanFacts

Axes: TypeAlias = Any
"""Of matplotlib, which is imported inside functions only."""

BLUE, RED, GREY = "#2a6fb0", "#c8553d", "#59616a"
COLUMNS, PANEL_IN, DPI = 3, (3.4, 2.5), 110
BINS = 16
TOLERANCE = 0.06


@dataclass(frozen=True)
class Histogram:
    """Two groups of scans or persons on one axis.

    Parameters
    ----------
    title : with the unit.
    of : value of a scan, or None.
    groups : the label of each group and who belongs to it.
    band : what the facts say, drawn behind; None where they say nothing.
    once : one scan of each person, for what both scans share.
    """

    title: str
    of: Callable[[ScanFacts], float | None]
    groups: tuple[tuple[str, Callable[[ScanFacts], bool]], ...]
    band: tuple[float, float] | None = None
    once: bool = False


_SEX = (("men", lambda s: s.sex == "M"), ("women", lambda s: s.sex == "F"))
_NORMAL_SEX = (
    ("normal men", lambda s: s.sex == "M" and is_normal(s)),
    ("normal women", lambda s: s.sex == "F" and is_normal(s)),
)
_STATE = (("stress", lambda s: s.state == "stress"), ("rest", lambda s: s.state == "rest"))

HISTOGRAMS = (
    Histogram("age, years", lambda s: s.age_years, _SEX, (55.2, 75.6), once=True),
    Histogram("height, m", lambda s: s.height_m, _SEX, (1.52, 1.72), once=True),
    Histogram("weight, kg", lambda s: s.weight_kg, _SEX, (52.7, 73.7), once=True),
    Histogram("NAC mid-inferior / mid-anterior", lambda s: _walls(s), _NORMAL_SEX),
    Histogram("AC / NAC in the left ventricle", lambda s: s.factor, _SEX, (2.8, 3.9)),
    Histogram("left ventricular counts, 10³", lambda s: _thousands(s.myocardial_counts), _STATE),
    Histogram("scatter / primary through the heart", lambda s: s.scatter_to_primary, _SEX, (0.25, 0.45)),
)


def cohort_figure(scans: Sequence[ScanFacts]) -> bytes:
    """Histograms, artefact against body mass index, segments of perfect AC, and map shifts."""
    from matplotlib.figure import Figure

    panels: list[Callable[[Axes], None]] = [
        *(lambda axes, one=one: _histogram(axes, one, scans) for one in HISTOGRAMS),
        lambda axes: _artefact(axes, scans),
        lambda axes: _segments(axes, scans),
        lambda axes: _shifts(axes, scans),
    ]
    lines = -(-len(panels) // COLUMNS)
    figure = Figure((COLUMNS * PANEL_IN[0], lines * PANEL_IN[1]), dpi=DPI, layout="constrained", facecolor="white")
    for number, draw in enumerate(panels):
        axes = figure.add_subplot(lines, COLUMNS, number + 1)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _histogram(axes: Axes, spec: Histogram, scans: Sequence[ScanFacts]) -> None:
    chosen = [own[0] for own in by_person(scans).values()] if spec.once else scans
    values = [[v for s in chosen if belongs(s) and (v := spec.of(s)) is not None] for _, belongs in spec.groups]
    axes.set_title(spec.title, fontsize=9, loc="left")
    if not any(values):
        _nothing(axes)
        return
    if spec.band is not None:
        axes.axvspan(*spec.band, color="0.92", zorder=0)
    edges = np.histogram_bin_edges([v for group in values for v in group], BINS)
    for (label, _), group, colour in zip(spec.groups, values, (BLUE, RED), strict=True):
        axes.hist(group, edges, histtype="stepfilled", color=colour, alpha=0.55, label=f"{label}, n = {len(group)}")
    axes.legend(fontsize=7, frameon=False)


def _artefact(axes: Axes, scans: Sequence[ScanFacts]) -> None:
    axes.set_title("artefact, %, by body mass index, kg/m²", fontsize=9, loc="left")
    for (label, belongs), colour in zip(_SEX, (BLUE, RED), strict=True):
        points = [(s.bmi, 100 * u) for s in scans if belongs(s) and s.bmi and (u := unevenness(s)) is not None]
        if points:
            axes.scatter(*zip(*points, strict=True), s=6, color=colour, alpha=0.6, linewidths=0, label=label)
    if axes.collections:
        axes.legend(fontsize=7, frameon=False)
    else:
        _nothing(axes)


def _segments(axes: Axes, scans: Sequence[ScanFacts]) -> None:
    axes.set_title("clean AC / truth, segments of normals", fontsize=9, loc="left")
    errors = segment_errors([scan for scan in scans if is_normal(scan)])
    if not len(errors):
        _nothing(axes)
        return
    axes.axhspan(1 - TOLERANCE, 1 + TOLERANCE, color="0.92", zorder=0)
    number = np.arange(1, len(SEGMENTS) + 1)
    axes.errorbar(number, errors.mean(0), errors.std(0), fmt="o", ms=3, lw=1, color=BLUE)
    axes.set_xticks(number[::2])


def _shifts(axes: Axes, scans: Sequence[ScanFacts]) -> None:
    axes.set_title("shift of the attenuation map, mm", fontsize=9, loc="left")
    shifts = np.array([s.misregistration_mm for s in scans if s.misregistration_mm is not None]).reshape(-1, 3)
    if not len(shifts):
        _nothing(axes)
        return
    edges = np.histogram_bin_edges(shifts, 2 * BINS)
    for label, colour, values in zip(("left", "posterior", "head"), (BLUE, GREY, RED), shifts.T, strict=True):
        axes.hist(values, edges, histtype="step", color=colour, label=label)
    axes.legend(fontsize=7, frameon=False)


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not available", transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_axis_off()


def _walls(scan: ScanFacts) -> float | None:
    if scan.nac_segments is None:
        return None
    return scan.nac_segments[SEGMENTS.index("mid inferior")] / scan.nac_segments[SEGMENTS.index("mid anterior")]


def _thousands(counts: float | None) -> float | None:
    return None if counts is None else counts / 1e3
