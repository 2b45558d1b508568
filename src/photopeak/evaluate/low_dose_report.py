"""The report of one learned reconstruction: slices and polar maps of the answer beside MLEM of the same counts.

The file needs nothing beside it and runs no script. It bears no date: the same study gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from photopeak.cardiac.find import FoundHeart, find_heart
from photopeak.cardiac.orientation import ORIENTATIONS, Orientation
from photopeak.cardiac.polar import LVSurface, polar_map
from photopeak.cardiac.segments import SEGMENTS, segment_means
from photopeak.core import Study
from photopeak.core.errors import BadValues
from photopeak.evaluate.figures import NOTICE, Panel, heart_slices, polar_figure, slices_figure
from photopeak.evaluate.page import encoded, page, write_page

TITLES: Mapping[Orientation, str] = {
    "sa": "Short axis, apex to base",
    "vla": "Vertical long axis, septal to lateral",
    "hla": "Horizontal long axis, inferior to anterior",
}
PER_CENT = "% of own maximum"


def write_low_dose_report(
    study: Study,
    path: Path,
    *,
    warnings: Sequence[str],
    provenance: Mapping[str, str],
    start: str = "mlem",
    answer: str = "ac",
    sd: str = "ac_sd",
) -> Path:
    """Write the report of `study` as one HTML file.

    Parameters
    ----------
    warnings : what the reader must know first, one sentence each.
    provenance : how the answer was made.
    start, answer, sd : names of MLEM of the data, of the answer and of its spread (zero: one sample). The heart is that
        of the study's facts, or is found in the answer.

    Raises
    ------
    HeartNotFound, BadValues : no left ventricle in the answer, or no counts where it should be.
    """
    known = study.facts.get("heart")
    heart = FoundHeart.from_dict(known) if known else find_heart(study[answer])
    surface, names = LVSurface.of(heart), {"MLEM": start, "AC": answer}
    maps = {label: polar_map(study[name], surface) for label, name in names.items()}
    peaks = {label: _peak(values, names[label]) for label, values in maps.items()}
    uptake = {label: 100 * values / peaks[label] for label, values in maps.items()}
    spread = bool(study[sd].data.any())
    panels = [Panel(label, "uptake", values, PER_CENT) for label, values in uptake.items()]
    told = 100 * polar_map(study[sd], surface, pick="mean") / peaks["AC"] if spread else None
    panels.append(Panel("sd of AC", "spread", told, "% of AC maximum" if spread else "one sample:\nno uncertainty"))
    slices = {
        title: slices_figure(
            {label: 100 / peaks[label] * heart_slices(study[name], heart, side) for label, name in names.items()}, side
        )
        for side, title in TITLES.items()
        if side in ORIENTATIONS
    }
    text = page(
        "low_dose_report.html",
        notice=NOTICE,
        study=study,
        warnings=warnings,
        method=study.history[-1].by,
        figures={title: encoded(png) for title, png in slices.items()},
        polar=encoded(polar_figure(panels, columns=3)),
        columns={label: [f"{v:.0f}" for v in segment_means(values).tolist()] for label, values in uptake.items()},
        segments=SEGMENTS,
        heart=heart,
        provenance=provenance,
    )
    return write_page(text, path)


def _peak(values: Tensor, name: str) -> float:
    peak = float(values.max())
    if peak <= 0:
        raise BadValues(
            f'"{name}" has no counts where the left ventricle was found',
            needed="an image of the heart",
            remedy="Check that heart and image belong together.",
        )
    return peak
