"""``photopeak evaluate``: methods side by side on a cohort's patients, with n and intervals."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from photopeak.core import Study

Scores = dict[str, dict[str, dict[str, float]]]
UNCORRECTED = "nac"


def command(
    cohort: Annotated[Path, typer.Argument(help="Folder of a cohort.")],
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help="NAME or NAME=WEIGHTS, with settings: padm:steps=1,samples=4"),
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    truth: Annotated[
        list[str] | None, typer.Option(help="Volume to compare with: ac (noisy, default) or ac_clean (noise-free).")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write tables (.md) and figures (.json).")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first scans of the split.")] = None,
) -> None:
    """Apply methods to scans and print their scores: mean and 95 % interval over patients, whose scans are averaged."""
    import json

    from rich.progress import track

    from photopeak.cli.correct import USUAL_METHOD
    from photopeak.core.errors import BadArgument
    from photopeak.evaluate.stats import by_person
    from photopeak.io.cohort import open_cohort

    studies = open_cohort(cohort).split(split)[:limit]
    if len(studies.persons) < 2:
        raise BadArgument(
            f"{len(studies.persons)} {split} patients in {cohort}",
            needed="at least 2, for an interval",
            remedy="Simulate more.",
        )
    methods = {label: ready_method(label) for label in method or [USUAL_METHOD]}
    truths = truth or ["ac"]
    scores: dict[str, Scores] = {one: {UNCORRECTED: {}, **{label: {} for label in methods}} for one in truths}
    for name, study in track(zip(studies.names, studies, strict=True), total=len(studies), description="scans"):
        for label, made in _answers(study, methods):
            for one in truths:
                scores[one][label][name] = _scored(made, one)
    persons = {name: scan.person for name, scan in studies.scans.items()}
    for one in truths:
        table = score_table(by_person(scores[one], persons), truth=one)
        typer.echo(table)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            (out / f"{one}.md").write_text(table)
            (out / f"{one}.json").write_text(json.dumps(scores[one], indent=1))


def score_table(scores: Mapping[str, Mapping[str, Mapping[str, float]]], *, truth: str) -> str:
    """Markdown: a row for each method, mean and 95 % interval over patients, and the ratio of means to NAC's."""
    from photopeak.evaluate.patients import UNITS

    names = [name for name in UNITS if any(name in s for rows in scores.values() for s in rows.values())]
    lines = [
        f"n = {len(scores[UNCORRECTED])} patients, truth = {truth}, mean (95 % bootstrap interval over patients); "
        "in brackets the ratio to NAC's mean",
        "",
        "| method | " + " | ".join(f"{name} [{UNITS[name]}]" for name in names) + " |",
        "|---|" + "--:|" * len(names),
    ]
    for label, rows in scores.items():
        cells = [_cell([r.get(name) for r in rows.values()], scores[UNCORRECTED], name) for name in names]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_compared(scores, names[0])]) + "\n"


def _compared(scores: Mapping[str, Mapping[str, Mapping[str, float]]], name: str) -> list[str]:
    """A line that compares every method with the first one, patient by patient."""
    from photopeak.evaluate.stats import holm, paired_wilcoxon

    rows = {label: [row[name] for row in patients.values()] for label, patients in scores.items()}
    labels = [label for label in rows if label != UNCORRECTED]
    if len(labels) < 2:
        return []
    adjusted = holm([paired_wilcoxon(rows[labels[0]], rows[label]) for label in labels[1:]])
    told = ", ".join(f"{label} p = {p:.2g}" for label, p in zip(labels[1:], adjusted, strict=True))
    return [f"{name} of {labels[0]} beside the others (paired Wilcoxon, Holm): {told}"]


def _cell(values: list[float | None], uncorrected: Mapping[str, Mapping[str, float]], name: str) -> str:
    import torch

    from photopeak.evaluate.patients import UNITS
    from photopeak.evaluate.stats import bootstrap_interval, ratio_interval

    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-"
    mean, low, high = bootstrap_interval(known, generator=torch.Generator().manual_seed(0))
    cell = f"{mean:.3g} ({low:.3g} to {high:.3g})"
    nac = [row[name] for row in uncorrected.values() if name in row]
    if UNITS[name].startswith("%") and len(nac) == len(known) and nac != known:
        cell += f" [{ratio_interval(known, nac, generator=torch.Generator().manual_seed(0)).estimate:.3f}]"
    return cell


def score_rows(scores: Mapping[str, Mapping[str, float]]) -> str:
    """One patient's scores as lines of text."""
    from photopeak.evaluate.patients import UNITS

    return "\n".join(
        f"{label:>4}: "
        + ", ".join(f"{name} {value:.3g} {UNITS[name]}".removesuffix(" 1") for name, value in row.items())
        for label, row in scores.items()
    )


def ready_method(label: str) -> Any:
    """A method from ``NAME[=WEIGHTS][:key=value,...]``."""
    from photopeak.core.errors import BadArgument
    from photopeak.methods import method

    head, _, settings = label.partition(":")
    name, _, weights = head.partition("=")
    pairs = [setting.split("=") for setting in settings.split(",") if setting]
    if any(len(pair) != 2 or not pair[1].isdigit() for pair in pairs):
        raise BadArgument(f"settings {settings!r}", needed="key=whole number, comma-separated", remedy="padm:steps=5")
    return method(name, Path(weights) if weights else None, **{key: int(value) for key, value in pairs})


def _answers(study: "Study", methods: Mapping[str, Any]) -> Iterable[tuple[str, "Study"]]:
    """The study with the volume to be scored called "answer", for NAC and each method that sees only what it reads."""
    from photopeak.core import Step

    yield UNCORRECTED, study.add({"answer": study["nac"]}, Step(("answer",), "none"))
    for label, ready in methods.items():
        made = ready(study.only(*ready.reads))
        yield label, study.add({"answer": made["ac"], "answer_sd": made["ac_sd"]}, made.history[-1])


def _scored(made: "Study", truth: str) -> dict[str, float]:
    from photopeak.cardiac.find import FoundHeart
    from photopeak.evaluate.patients import heart_scores

    return dict(heart_scores(made, of="answer", truth=truth, heart=FoundHeart.from_dict(made.facts["heart"])))
