"""A cohort's data card: what is in it beside the published facts, with pictures, as one HTML page.

The page needs nothing beside it and runs no script. It bears no date: the same cohort gives the same bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from photopeak.cardiac.polar import LVSurface, polar_map
from photopeak.core import Study
from photopeak.core.errors import HeartNotFound
from photopeak.evaluate.bands import Row, counts_of
from photopeak.evaluate.cohort_facts import by_person, is_normal
from photopeak.evaluate.cohort_figures import cohort_figure
from photopeak.evaluate.figures import NOTICE, Panel, heart_slices, polar_figure, slices_figure
from photopeak.evaluate.page import encoded, page
from photopeak.evaluate.scan_facts import ScanFacts, heart_in

IMAGES = {"nac": "NAC", "ac": "AC"}


def shown_persons(scans: Iterable[ScanFacts]) -> dict[str, str]:
    """A few persons worth a picture, and why: normal ones, the lightest and heaviest, and one for each territory."""
    persons = by_person(scan for scan in scans if scan.unmeasured is None)
    wanted = {
        "a man without defects": [p for p, own in persons.items() if own[0].sex == "M" and all(map(is_normal, own))],
        "a woman without defects": [p for p, own in persons.items() if own[0].sex == "F" and all(map(is_normal, own))],
    }
    for artery in ("LAD", "RCA", "LCX"):
        wanted[f"a defect of the {artery}"] = [
            p for p, own in persons.items() if any(scan.territories == (artery,) for scan in own)
        ]
    weighed = sorted((own[0].bmi, p) for p, own in persons.items() if own[0].bmi is not None)
    wanted["the lightest for the height"] = [p for _, p in weighed]
    wanted["the heaviest for the height"] = [p for _, p in reversed(weighed)]
    shown: dict[str, str] = {}
    for reason, candidates in wanted.items():
        if chosen := next((p for p in candidates if p not in shown), None):
            shown[chosen] = reason
    return shown or dict.fromkeys(list(persons)[:4], "among the first")


def data_card(
    rows: Sequence[Row],
    scans: Sequence[ScanFacts],
    *,
    shown: Mapping[str, Sequence[Study]],
    splits: Mapping[str, int],
    about: Mapping[str, Any],
) -> str:
    """The page.

    Parameters
    ----------
    shown : scans of a few persons by what they show.
    splits : persons in each split.
    about : where the cohort comes from.
    """
    return page(
        "data_card.html",
        notice=NOTICE,
        rows=rows,
        counts=counts_of(rows),
        scans=len(scans),
        persons=len(by_person(scans)),
        unmeasured=sum(scan.unmeasured is not None for scan in scans),
        splits=splits,
        about=about,
        figure=encoded(cohort_figure(scans)),
        pictures={reason: _pictures(studies) for reason, studies in shown.items()},
    )


def _pictures(studies: Sequence[Study]) -> dict[str, Any]:
    """Short-axis slices and polar maps of the scans of one person, all on the surface of each scan's own heart."""
    slices, panels = {}, []
    for study in sorted(studies, key=lambda s: str(s.facts.get("state", "")), reverse=True):
        try:
            heart = heart_in(study)
        except HeartNotFound:
            continue
        surface = LVSurface.of(heart)
        for name, label in IMAGES.items():
            if name in study:
                values = polar_map(study[name], surface)
                maximum = float(values.max())
                title = f"{label} {study.facts.get('state', '')}".strip()
                slices[title.replace(" ", "\n")] = 100 / maximum * heart_slices(study[name], heart, "sa")
                panels.append(Panel(title, "uptake", 100 * values / maximum, "% of own maximum"))
    return {
        "names": [study.name for study in studies],
        "slices": encoded(slices_figure(slices, "sa")) if slices else None,
        "polar": encoded(polar_figure(panels, columns=4)) if panels else None,
    }
