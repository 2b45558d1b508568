"""What a cardiologist asks of a cohort's images, answered in one HTML page.

The page needs nothing beside it and runs no script. It bears no date: the same findings give the same bytes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from photopeak.core.errors import BadArgument
from photopeak.evaluate.breakeven import ShiftCurve, cohort_break_even
from photopeak.evaluate.clinical import Clinical, Limits, contrasts
from photopeak.evaluate.clinical_figures import (
    agreement_figure,
    break_even_figure,
    contrast_figure,
    maps_figure,
    roc_figure,
)
from photopeak.evaluate.figures import NOTICE
from photopeak.evaluate.page import encoded, page, write_page
from photopeak.evaluate.roc import Areas
from photopeak.evaluate.scan_maps import ScanMaps
from photopeak.evaluate.stats import Interval, holm

UNCORRECTED = "nac"


@dataclass(frozen=True, eq=False)
class BreakEven:
    """Curves of CT-AC and errors of the methods for the same persons.

    Parameters
    ----------
    curves : one for each person.
    answers : errors [person] of each method, %.
    unit : what is measured, for the axis.
    """

    curves: Sequence[ShiftCurve]
    answers: Mapping[str, Sequence[float]]
    unit: str

    def intervals(self, generator: torch.Generator) -> dict[str, Interval]:
        """Break-even of each method, mm."""
        return {k: cohort_break_even(self.curves, v, generator=generator) for k, v in self.answers.items()}


def write_clinical_page(
    path: Path,
    clinical: Clinical,
    scans: Sequence[ScanMaps],
    limits: Limits,
    *,
    about: Mapping[str, str],
    observer: Areas | None = None,
    break_even: BreakEven | None = None,
) -> Path:
    """Write the page as one HTML file; it is whole or absent.

    Parameters
    ----------
    clinical : findings of `scans`, read with `limits`.
    about : where scans, normals and methods come from.
    observer : areas of the channelised observer, in the order of the findings; None where it was not asked.
    break_even : None where it was not measured.
    """
    if path.is_dir():
        raise BadArgument(f"path {path}, a folder", needed="the file to write", remedy='Add a name: "clinical.html".')
    images = list(clinical.findings)
    others = [image for image in images if image != clinical.reference]
    seen = {image: contrasts(scans, image, limits) for image in images}
    content = {
        "notice": NOTICE,
        "about": about,
        "clinical": clinical,
        "normals": {i: ", ".join(f"{group} {made.n}" for group, made in limits[i].items()) for i in images},
        "pvalues": _beside_uncorrected(clinical.areas, images),
        "observer": {i: observer.interval(k) for k, i in enumerate(images)} if observer else {},
        "observer_pvalues": _beside_uncorrected(observer, images) if observer else {},
        "break_even": break_even.intervals(torch.Generator().manual_seed(0)) if break_even else {},
        "break_even_persons": len(break_even.curves) if break_even else 0,
        "farthest_mm": float(break_even.curves[0].shifts_mm[-1]) if break_even else 0.0,
        "agreement": encoded(agreement_figure({i: clinical.findings[i].agreement for i in others}, clinical.reference)),
        "roc": encoded(roc_figure(clinical)),
        "contrast": encoded(contrast_figure({i: seen[i] for i in others}, seen[clinical.reference], clinical.reference))
        if len(seen[clinical.reference])
        else None,
        "examples": {title: encoded(maps_figure(scan, {i: i for i in images})) for title, scan in _examples(scans)},
        "curve": encoded(break_even_figure(break_even.curves, break_even.answers, break_even.unit))
        if break_even
        else None,
    }
    return write_page(page("clinical.html", filters={"interval": interval_text}, **content), path)


def interval_text(found: Interval | None, form: str = "%.2f") -> str:
    """An estimate and its interval as they are printed; "–" where there is none."""
    if found is None:
        return "–"
    estimate, low, high = (form % value if math.isfinite(value) else "beyond" for value in found)
    return f"{estimate} ({low} to {high})"


def _beside_uncorrected(found: Areas, images: Sequence[str]) -> dict[str, float]:
    """Holm's p of each image's area beside that of NAC, where NAC is among them."""
    if UNCORRECTED not in images:
        return {}
    first = images.index(UNCORRECTED)
    others = [row for row in range(len(images)) if row != first]
    adjusted = holm([found.pvalue(row, first) for row in others])
    return {images[row]: p for row, p in zip(others, adjusted, strict=True)}


def _examples(scans: Sequence[ScanMaps]) -> list[tuple[str, ScanMaps]]:
    """The first normal man and woman, and the first scans with one defect."""
    shown: list[tuple[str, ScanMaps]] = []
    for sex, word in (("M", "man"), ("F", "woman")):
        shown += [(f"A {word} without defects", s) for s in scans if s.is_normal and s.sex == sex][:1]
    for artery in ("LAD", "RCA", "LCX"):
        found = [s for s in scans if s.defects == (artery,) and s.defect_segments]
        shown += [(f"A defect of the {artery}, {100 * min(s.truth_segments):.0f} % uptake left", s) for s in found[:1]]
    return shown
