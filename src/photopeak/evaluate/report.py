"""The report of one patient: slices, polar maps, 17 segments and where it all came from, in one HTML file.

The file needs nothing beside it and runs no script. It bears no date: the same study gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import ORIENTATIONS, Orientation
from photopeak.cardiac.polar import LVSurface, polar_map
from photopeak.cardiac.segments import SEGMENTS, TERRITORIES, segment_means
from photopeak.core import Study, Volume
from photopeak.core.errors import BadArgument, BadValues
from photopeak.evaluate.domain import Check
from photopeak.evaluate.figures import NOTICE, Panel, heart_slices, polar_figure, slice_step_mm, slices_figure
from photopeak.evaluate.page import encoded, page, write_page
from photopeak.evaluate.patients import HEART_RADIUS_MM, UNITS, heart_scores
from photopeak.evaluate.saliency import saliency_figure

_TITLES: Mapping[Orientation, str] = {
    "sa": "Short axis, apex to base",
    "vla": "Vertical long axis, septal to lateral",
    "hla": "Horizontal long axis, inferior to anterior",
}
REFERENCE = "CT-AC"
_ONE_SAMPLE = "one sample:\nno uncertainty"


@dataclass(frozen=True)
class _Maps:
    """Polar maps [ring, angle] of one patient on one surface, and the maximum that makes each uptake map per cent."""

    uptake: Mapping[str, Tensor]
    maximum: Mapping[str, float]
    sd: Tensor | None


def write_report(
    study: Study,
    path: Path,
    *,
    heart: FoundHeart,
    warnings: Sequence[str] = (),
    provenance: Mapping[str, str],
    nac: str = "nac",
    ac: str = "ac",
    sd: str = "ac_sd",
    truth: str | None = None,
    checks: Sequence[Check] = (),
    saliency: Volume | None = None,
) -> Path:
    """Write the report of `study` as one HTML file; it is whole or absent.

    Parameters
    ----------
    heart : the left ventricle, found once and used for every image.
    warnings : what the reader must know first, one sentence each.
    provenance : how the estimate was made: method, hash of the weights, seed, version, hashes of the input.
    nac, ac, sd : names of the uncorrected image, the corrected one, and its standard deviation (zero: one sample).
    truth : name of the CT-based image that AC should be; adds it to every figure, and the errors of both.
    checks : what was measured of the input and the answer.
    saliency : map of what the correction of the heart depends on, on NAC's grid.

    Raises
    ------
    MissingInput : the study lacks one of the volumes.
    BadValues : NaN, or an image without counts where the heart is said to be.
    """
    if path.is_dir():
        raise BadArgument(
            f"path {path}, a folder", needed="the file to write", remedy='Add a name: path / "report.html".'
        )
    names = {"NAC": nac, "AC": ac} | ({REFERENCE: truth} if truth is not None else {})
    maps = _maps(study, heart, names, sd)
    figures = {_TITLES[o]: _slices(study, heart, names, maps, o) for o in ORIENTATIONS}
    text = page(
        "report.html",
        notice=NOTICE,
        study=study,
        warnings=warnings,
        names=names,
        sd=sd,
        figures=figures,
        steps_mm={_TITLES[o]: slice_step_mm(heart, o) for o in ORIENTATIONS},
        polar=encoded(polar_figure(_panels(maps), columns=3 if truth is not None else 4)),
        columns=_columns(maps),
        segments=SEGMENTS,
        territories=TERRITORIES,
        heart=heart,
        scores={k: heart_scores(study, of=names[k], truth=truth, heart=heart) for k in ("NAC", "AC")} if truth else {},
        units=UNITS,
        radius_mm=HEART_RADIUS_MM,
        provenance=provenance,
        checks=checks,
        saliency=None if saliency is None else encoded(saliency_figure(study[nac], saliency, heart)),
        calibrated=any(step.by == "evaluate.calibration" for step in study.history),
    )
    return write_page(text, path)


def _maps(study: Study, heart: FoundHeart, names: Mapping[str, str], sd: str) -> _Maps:
    surface = LVSurface.of(heart)
    uptake, maximum = {}, {}
    for label, name in names.items():
        values = polar_map(study[name], surface)
        maximum[label] = float(values.max())
        if maximum[label] <= 0:
            raise BadValues(
                f'"{name}" has no counts where the left ventricle was found',
                needed="an image of the heart",
                remedy="Check that heart and image belong together.",
            )
        uptake[label] = 100 * values / maximum[label]
    spread = polar_map(study[sd], surface, pick="mean") / maximum["AC"]
    return _Maps(uptake, maximum, 100 * spread if bool(study[sd].data.any()) else None)


def _slices(study: Study, heart: FoundHeart, names: Mapping[str, str], maps: _Maps, orientation: Orientation) -> str:
    rows = {k: 100 / maps.maximum[k] * heart_slices(study[n], heart, orientation) for k, n in names.items()}
    return encoded(slices_figure(rows, orientation))


def _panels(maps: _Maps) -> list[Panel]:
    of_maximum, points = "% of own maximum", "percentage points"
    panels = [Panel(label, "uptake", values, of_maximum) for label, values in maps.uptake.items()]
    panels.append(Panel("AC − NAC", "difference", maps.uptake["AC"] - maps.uptake["NAC"], points))
    if REFERENCE in maps.uptake:
        panels.append(Panel(f"AC − {REFERENCE}", "difference", maps.uptake["AC"] - maps.uptake[REFERENCE], points))
    panels.append(Panel("sd of AC", "spread", maps.sd, _ONE_SAMPLE if maps.sd is None else "% of AC maximum"))
    return panels


def _columns(maps: _Maps) -> dict[str, list[str]]:
    """Segment means and then territory means under each heading of the table, as they are printed."""
    means = {f"{label}, %": segment_means(values) for label, values in maps.uptake.items()}
    shown = {heading: _printed(values, "{:.0f}") for heading, values in means.items()}
    shown["AC − NAC"] = _printed(means["AC, %"] - means["NAC, %"], "{:+z.1f}")
    if f"{REFERENCE}, %" in means:
        shown[f"AC − {REFERENCE}"] = _printed(means["AC, %"] - means[f"{REFERENCE}, %"], "{:+z.1f}")
    rows = len(SEGMENTS) + len(TERRITORIES)
    shown["sd, %"] = ["–"] * rows if maps.sd is None else _printed(segment_means(maps.sd), "{:.1f}")
    return shown


def _printed(segments: Tensor, form: str) -> list[str]:
    territories = [float(segments[[n - 1 for n in numbers]].mean()) for numbers in TERRITORIES.values()]
    return [form.format(value) for value in (*segments.tolist(), *territories)]
