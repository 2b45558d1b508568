"""One person's PET by every method, as a physician looks at it: coronal projections of the maximum in inverse grey.

All in one window, SUV 0 to 7, head up, the patient's right at the image's left. Lesions are ringed in every picture, so
that a missing one is seen. Same record, same bytes.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from photopeak.core import SUV, Study, Volume
from photopeak.core.errors import BadArgument, GridMismatch
from photopeak.evaluate.ct2pet import MEASURED, has_lost_suv
from photopeak.evaluate.figures import WIDTH_IN, Axes, axes_at, figure_of, png_of
from photopeak.evaluate.pet_mip import CORONAL, EDGES, HIGHEST_SUV, PET_NOTICE
from photopeak.evaluate.pet_scores import lesions_of

COLUMNS = 5
HEAD_IN, TITLE_IN, GAP_IN = 0.45, 0.5, 0.08
TITLE, SMALL, TITLE_WRAP = 10, 8, 24
RING_POINTS, RING = 9.0, "#d55e00"
DECIMALS = 2


def coronal_mip(pet: Volume) -> list[list[float]]:
    """The greatest SUV from front to back, [z, x], feet first, as plain numbers that a record can hold.

    Raises
    ------
    GridMismatch, WrongQuantity : an oblique grid, or no SUV.
    """
    if not pet.require(SUV, name="pet").grid.is_axial:
        raise GridMismatch(f"an oblique grid of {pet.grid}", needed="axes along LPS", remedy="Resample it first.")
    found: list[list[float]] = pet.data.amax(dim=CORONAL).double().round(decimals=DECIMALS).tolist()
    return found


def lesion_places(study: Study) -> list[list[float]]:
    """Middle (z, x) of each lesion of a study as indices of its `coronal_mip`."""
    middles = [np.argwhere(lesion).mean(axis=0) for lesion in lesions_of(study)]
    return [[float(z), float(x)] for z, _, x in middles]


def mips_of(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Projections [z, x] of the pictured scan: every truth, and every label in SUV, in the order of the recipe.

    Of a row with several seeds, the first is drawn. What the scanner measured is a truth, and not drawn twice.
    """
    scan, found = record["pictured"]["scan"], dict[str, np.ndarray]()
    runs: dict[str, Mapping[str, Any]] = {}
    for run in record["runs"].values():
        runs.setdefault(run["label"], run["scans"][scan]["mips"])
    for mips in runs.values():
        for name, mip in mips.items():
            if name != "answer":
                found.setdefault(name, np.array(mip))
    drawn = [label for label in record["entries"] if label in runs and label != MEASURED]
    labels = [label for label in drawn if not has_lost_suv(record, label)]
    return {**found, **{label: np.array(runs[label]["answer"]) for label in labels}}


def mips_figure(record: Mapping[str, Any]) -> bytes:
    """The pictured scan by every method, in rows of five.

    Raises
    ------
    BadArgument : no method.
    """
    mips, about = mips_of(record), record["pictured"]
    if not mips:
        raise BadArgument("no projection", needed="a method that was scored", remedy="Score some first.")
    dz, dx = about["spacing_mm"]
    across = WIDTH_IN / COLUMNS - GAP_IN
    rows, columns = next(iter(mips.values())).shape
    up = across * (rows * dz) / (columns * dx)
    lines = -(-len(mips) // COLUMNS)
    figure, height = figure_of(HEAD_IN + lines * (up + TITLE_IN), PET_NOTICE)
    told = f"{about['scan']}: maximum of uptake, coronal, SUV 0 (white) to {HIGHEST_SUV:g} (black); lesions ringed"
    figure.text(0.5, 1 - 0.1 / height, told, fontsize=TITLE, ha="center", va="top")
    for number, (label, mip) in enumerate(mips.items()):
        line, column = divmod(number, COLUMNS)
        left = column * (across + GAP_IN) + GAP_IN / 2
        low = height - HEAD_IN - (line + 1) * (up + TITLE_IN)
        _draw(axes_at(figure, (left, low, across, up)), mip, about["lesions"])
        where = ((left + across / 2) / WIDTH_IN, (low + up + 0.05) / height)
        figure.text(*where, textwrap.fill(label, TITLE_WRAP), fontsize=TITLE, ha="center", va="bottom")
    return png_of(figure)


def _draw(axes: Axes, mip: np.ndarray, lesions: Sequence[Sequence[float]]) -> None:
    from matplotlib.patheffects import withStroke

    axes.imshow(mip, cmap="gray_r", vmin=0, vmax=HIGHEST_SUV, origin="lower", aspect="auto", interpolation="bilinear")
    for z, x in lesions:
        axes.plot(x, z, marker="o", markersize=RING_POINTS, markerfacecolor="none", markeredgecolor=RING, alpha=0.8)
    for text, x, side in zip(EDGES[CORONAL], (0.02, 0.98), ("left", "right"), strict=True):
        label = axes.text(x, 0.98, text, transform=axes.transAxes, ha=side, va="top", fontsize=SMALL, fontweight="bold")
        label.set(path_effects=[withStroke(linewidth=2, foreground="white")])


def middle_slice(study: Study) -> int:
    """The slice that crosses most of the lesions' voxels, or the middle one where there are none."""
    lesions = lesions_of(study)
    if not lesions:
        return study["ct"].grid.shape[0] // 2
    return int(np.sum(lesions, axis=0).sum(axis=(1, 2)).argmax())
