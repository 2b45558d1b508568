"""``photopeak clinical``: what a cardiologist asks of methods, on a cohort whose truth is known, as one page."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from photopeak.core import Study, Volume
    from photopeak.evaluate.clinical import Clinical
    from photopeak.evaluate.clinical_page import BreakEven
    from photopeak.evaluate.scan_maps import ScanMaps
    from photopeak.evaluate.stats import Interval
    from photopeak.io import Cohort

IN_REGISTER = "mu_true"


def command(
    cohort: Annotated[Path, typer.Argument(help="Folder of a simulated cohort.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for clinical.html and clinical.json.")],
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="NAME or NAME=WEIGHTS, with settings: padm:steps=1,samples=4"),
    ] = None,
    split: Annotated[str, typer.Option(help="Scans that are assessed: train, validation or test.")] = "test",
    normals: Annotated[str, typer.Option(help="Split whose scans without defects make the limits.")] = "validation",
    reference: Annotated[str, typer.Option(help="CT-AC that images are compared with.")] = "ac_clean",
    limit: Annotated[int | None, typer.Option(help="Only the first scans of the split.")] = None,
    normal_limit: Annotated[int | None, typer.Option(help="Only the first scans without defects.")] = None,
    break_even: Annotated[int, typer.Option(help="Persons for the break-even shift of the CT; 0 leaves it out.")] = 12,
    seed: Annotated[int, typer.Option(help="Of intervals, and of the observer's places and folds.")] = 0,
) -> None:
    """Bias, defects, contrast and false defects of NAC, CT-AC and methods, read with normal limits of other persons."""
    import json

    import torch

    from photopeak.core.errors import BadArgument
    from photopeak.evaluate.clinical import assess, normal_limits
    from photopeak.evaluate.clinical_page import write_clinical_page
    from photopeak.evaluate.observer import observer_areas
    from photopeak.io.cohort import open_cohort

    if split == normals:
        raise BadArgument(
            f"{split} for both scans and normals", needed="two splits", remedy="Take --normals validation or train."
        )
    opened = open_cohort(cohort)
    labels = short_names(method or [])
    methods = {short: _method(label) for short, label in labels.items()}
    images = tuple(dict.fromkeys(("nac", "ac", reference, *methods)))
    assessed, healthy = opened.split(split)[:limit], without_defects(opened.split(normals), normal_limit)
    limits = normal_limits(_measured(healthy, methods, images), images)
    scans = _measured(assessed, methods, images)
    found = assess(scans, limits, reference=reference, images=images, generator=torch.Generator().manual_seed(seed))
    observer = observer_areas([scan for scan in scans if scan.state == "stress"], images, seed=seed)
    even = _break_even(assessed, scans, ("nac", *methods), reference, break_even) if break_even else None
    about = {
        "assessed": f"{split} split of {cohort.name}, {len(assessed.persons)} persons",
        "normals": normals_told(healthy, normals),
        **{f"method {short}": weights_told(label) for short, label in labels.items()},
        "seed": str(seed),
    }
    page = write_clinical_page(
        out / "clinical.html", found, scans, limits, about=about, observer=observer, break_even=even
    )
    areas = {image: observer.interval(row) for row, image in enumerate(images)}
    shifts = even.intervals(torch.Generator().manual_seed(seed)) if even else {}
    record = {"about": about, **clinical_record(found), "observer": areas, "break_even_mm": _finite(shifts)}
    (out / "clinical.json").write_text(json.dumps(record, indent=1))
    typer.echo(clinical_table(found))
    typer.echo(f"wrote {page}")


def clinical_table(found: "Clinical") -> str:
    """Markdown: a row for each image."""
    from photopeak.evaluate.clinical_page import interval_text

    first = next(iter(found.findings.values()))
    lines = [
        f"n = {first.scans} scans, {first.normal_scans} without a defect; areas of {found.areas.present} scans with "
        f"and {found.areas.absent} without one; reference = {found.reference}; 95 % intervals over persons",
        "",
        "| image | segment error, % | bias, points | slope | area | contrast slope | false defects | normalcy, % |",
        "|---|" + "--:|" * 7,
    ]
    for image, row in found.findings.items():
        cells = (
            interval_text(row.agreement.absolute),
            interval_text(row.agreement.bias, "%+.2f"),
            interval_text(row.agreement.slope, "%+.2f"),
            interval_text(row.area),
            interval_text(row.contrast_slope),
            interval_text(row.false_defects),
            interval_text(row.normalcy, "%.0f"),
        )
        lines.append(f"| {image} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def clinical_record(found: "Clinical") -> dict[str, Any]:
    """Plain numbers of all findings: [estimate, low, high] of each figure by image."""
    return {
        "reference": found.reference,
        "images": {
            image: {
                "scans": row.scans,
                "normal_scans": row.normal_scans,
                "stress_scans": row.stress_scans,
                "defect_segments": row.defect_segments,
                "segment_error": row.agreement.absolute,
                "bias": row.agreement.bias,
                "limits_of_agreement": [row.agreement.low, row.agreement.high],
                "proportional_slope": row.agreement.slope,
                "area": row.area,
                "contrast_slope": row.contrast_slope,
                "true_contrast_slope": row.true_slope,
                "false_defects": row.false_defects,
                "normalcy": row.normalcy,
            }
            for image, row in found.findings.items()
        },
    }


def short_names(labels: Sequence[str]) -> dict[str, str]:
    """A short name to each label, without the file of weights: "padm", and "padm 2" for another one."""
    short: dict[str, str] = {}
    for label in labels:
        head, colon, settings = label.partition(":")
        name = head.partition("=")[0] + colon + settings
        again = sum(one == name or one.startswith(f"{name} ") for one in short)
        short[f"{name} {again + 1}" if again else name] = label
    return short


def without_defects(studies: "Cohort", most: int | None = None) -> "Cohort":
    """The first scans of a cohort whose persons have no defect, or all of them."""
    from dataclasses import replace
    from itertools import islice

    well = (name for name, study in _named(studies) if not study.facts.get("patient", {}).get("defects"))
    return replace(studies, scans={name: studies.scans[name] for name in islice(well, most)})


def normals_told(studies: "Cohort", split: str) -> str:
    """Which normals made the limits, in words."""
    told = f"{len(studies)} scans without a defect, {len(studies.persons)} persons, {split} split"
    return f"{told} (methods that were trained on this split have seen them)" if split == "train" else told


def weights_told(label: str) -> str:
    """A method's label with its weights' folder and file, and not where they lie."""
    head, colon, settings = label.partition(":")
    name, _, weights = head.partition("=")
    return f"{name}, {'/'.join(Path(weights).parts[-2:]) or 'as shipped'}{colon}{settings}"


def _finite(intervals: Mapping[str, "Interval"]) -> dict[str, list[float | None]]:
    """Plain numbers; a break-even that was not reached has none."""
    from math import isfinite

    return {label: [value if isfinite(value) else None for value in found] for label, found in intervals.items()}


def _measured(studies: "Cohort", methods: Mapping[str, Any], images: Sequence[str]) -> list["ScanMaps"]:
    """Maps of all images of the scans, methods applied to what they read and nothing else."""
    from rich.progress import track

    from photopeak.core import Step
    from photopeak.evaluate.scan_maps import measure_maps

    stored = [image for image in images if image not in methods]
    scans = []
    for name, study in track(_named(studies), total=len(studies), description="scans"):
        told = studies.scans[name]
        made = {label: _answer(ready, study) for label, ready in methods.items()}
        seen = study.add(made, Step(tuple(made), "clinical")) if made else study
        scans.append(measure_maps(seen, [*stored, *made], person=told.person, state=told.state))
    return scans


def _named(studies: "Cohort") -> Iterator[tuple[str, "Study"]]:
    return zip(studies.names, studies, strict=True)


def _break_even(
    studies: "Cohort", scans: Sequence["ScanMaps"], images: Sequence[str], reference: str, persons: int
) -> "BreakEven":
    """Curves of the first stress scans, remade from the measured counts as the cohort's AC is, and errors of images."""
    from rich.progress import track

    from photopeak.evaluate.breakeven import alternating, heart_segments, shift_curve
    from photopeak.evaluate.clinical_page import BreakEven
    from photopeak.evaluate.scan_facts import heart_in
    from photopeak.metrics.segment_error import segment_error

    stress = [number for number, scan in enumerate(scans) if scan.state == "stress"][:persons]
    curves = []
    for turn, number in enumerate(track(stress, description="shifts")):
        study = studies[number]
        wrongness = heart_segments(study[reference], heart_in(study))
        curves.append(shift_curve(study, study[IN_REGISTER], _corrected, wrongness, directions=alternating(turn)))
    answers = {
        image: [segment_error(scans[n].segments(image), scans[n].segments(reference)) for n in stress]
        for image in images
    }
    return BreakEven(curves, answers, "17-segment error, % of maximum")


def _corrected(study: "Study", mu: "Volume") -> "Volume":
    """CT-AC of the measured counts with an attenuation map."""
    from photopeak.core import Step
    from photopeak.methods.osem import Osem

    return Osem("ac")(study.add({"mu": mu}, Step(("mu",), "displaced", (IN_REGISTER,))))["ac"]


def _answer(ready: Any, study: "Study") -> "Volume":
    from photopeak.cli.benchmark_run import answered

    return answered(study, ready, {})["answer"]


def _method(label: str) -> Any:
    """A method from ``NAME[=WEIGHTS][:key=value,...]``, as ``photopeak evaluate`` reads it."""
    from photopeak.cli.evaluate import ready_method

    return ready_method(label)
