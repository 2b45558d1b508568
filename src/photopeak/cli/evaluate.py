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
        list[str], typer.Option("--method", "-m", help="NAME or NAME=WEIGHTS, with settings: padm:steps=1,samples=4")
    ] = ["padm"],  # noqa: B006 (typer copies it)
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    truth: Annotated[str, typer.Option(help="Volume to compare with: ac (noisy) or ac_clean (noise-free).")] = "ac",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write table (.md) and figures per patient (.json).")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first patients of the split.")] = None,
) -> None:
    """Apply methods to patients and print their scores: mean and 95 % interval over patients."""
    import json

    from rich.progress import track

    from photopeak.io.store import open_cohort

    studies = open_cohort(cohort).split(split)[:limit]
    methods = {label: _ready(label) for label in method}
    scores: Scores = {UNCORRECTED: {}, **{label: {} for label in methods}}
    for name, study in track(zip(studies.names, studies, strict=True), total=len(studies), description="patients"):
        for label, made in _answers(study, methods):
            scores[label][name] = _scored(made, truth)
    table = score_table(scores, truth=truth)
    typer.echo(table)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{truth}.md").write_text(table)
        (out / f"{truth}.json").write_text(json.dumps(scores, indent=1))


def score_table(scores: Mapping[str, Mapping[str, Mapping[str, float]]], *, truth: str) -> str:
    """Markdown: a row for each method, mean and 95 % interval over patients, and the ratio of means to NAC's."""
    import torch

    from photopeak.evaluate.patients import UNITS
    from photopeak.evaluate.stats import bootstrap_interval, ratio_interval

    names = [name for name in UNITS if all(name in s for rows in scores.values() for s in rows.values())]
    patients = len(scores[UNCORRECTED])
    lines = [
        f"n = {patients} patients, truth = {truth}, mean (95 % bootstrap interval over patients); "
        "in brackets the ratio to NAC's mean",
        "",
        "| method | " + " | ".join(f"{name} [{UNITS[name]}]" for name in names) + " |",
        "|---|" + "--:|" * len(names),
    ]
    for label, rows in scores.items():
        cells = []
        for name in names:
            values, nac = ([r[name] for r in rows_.values()] for rows_ in (rows, scores[UNCORRECTED]))
            mean, low, high = bootstrap_interval(values, generator=torch.Generator().manual_seed(0))
            cell = f"{mean:.3g} ({low:.3g} to {high:.3g})"
            if label != UNCORRECTED and UNITS[name].startswith("%"):
                ratio = ratio_interval(values, nac, generator=torch.Generator().manual_seed(0))
                cell += f" [{ratio.estimate:.3f}]"
            cells.append(cell)
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def score_rows(scores: Mapping[str, Mapping[str, float]]) -> str:
    """One patient's scores as lines of text."""
    from photopeak.evaluate.patients import UNITS

    return "\n".join(
        f"{label:>4}: " + ", ".join(f"{name} {value:.3g} {UNITS[name]}" for name, value in row.items())
        for label, row in scores.items()
    )


def _ready(label: str) -> Any:
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
        yield label, study.add({"answer": made["ac"]}, made.history[-1])


def _scored(made: "Study", truth: str) -> dict[str, float]:
    from photopeak.cardiac.find import FoundHeart
    from photopeak.evaluate.patients import heart_scores

    return dict(heart_scores(made, of="answer", truth=truth, heart=FoundHeart.from_dict(made.facts["heart"])))
