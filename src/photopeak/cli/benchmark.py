"""``photopeak benchmark``: every method of a recipe trained, applied and scored on one cohort, and the tables."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from photopeak.evaluate.benchmark import Plan, Run
    from photopeak.io.cohort import Cohort

SCHEMA = "photopeak benchmark 1"
SCORES, TABLES, FAILURE = "scores.json", "tables.md", "failed.txt"
TASKS = ("ac", "lowdose", "ct2pet")


def command(
    recipe: Annotated[Path, typer.Argument(help="The plan (.toml), such as recipes/ac.toml.")],
    cohort: Annotated[Path, typer.Argument(help="Folder of a cohort; simulated as the recipe says if there is none.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the benchmark; an interrupted one is continued.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="The recipe's small form: fewer persons, seconds each.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes of one thread, each with a method in hand.")] = 2,
    split: Annotated[str, typer.Option(help="Split that is scored; choose on validation, report on test.")] = "test",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Label of an entry; what it stands on and the reference come too."),
    ] = None,
) -> None:
    """Train, apply and score all methods of a recipe under one budget; write tables.md and scores.json.

    What is done is not done again. Exit status 1 if a method failed; the others have their rows then.
    """
    from photopeak.cli.benchmark_lowdose import prepare
    from photopeak.evaluate.ct2pet import Ct2PetPlan
    from photopeak.evaluate.low_dose import LowDosePlan
    from photopeak.io.atomic import beside
    from photopeak.io.cohort import read_manifest

    plan = _planned(recipe, quick=quick, only=only)
    _simulate_if_missing(cohort, plan, workers)
    _require_persons(plan, cohort, split)
    out.mkdir(parents=True, exist_ok=True)
    if isinstance(plan, Ct2PetPlan):
        plan = plan.on(read_manifest(cohort)[1])
    if isinstance(plan, LowDosePlan):
        prepare(plan, cohort, out, split, workers)
    failed = _work_through(plan, cohort, out, split, workers)
    record = _record(plan, cohort, out, split, failed=failed, tier=_tier(plan, workers), quick=quick)
    text, pictures = _told(plan, cohort, out, split, record)
    files = {SCORES: json.dumps(record, indent=1).encode(), TABLES: text.encode(), **pictures}
    for name, content in files.items():
        with beside(out / name) as partial:
            partial.write_bytes(content)
    typer.echo(f"{out / TABLES}")
    raise typer.Exit(1 if failed else 0)


def _told(plan: "Plan", cohort: Path, out: Path, split: str, record: dict[str, Any]) -> tuple[str, Mapping[str, bytes]]:
    """The tables of a task and its pictures by file name; what only this task knows is put into the record."""
    from photopeak.cli.benchmark_ct2pet import ct2pet_facts, ct2pet_pictures
    from photopeak.cli.benchmark_lowdose import low_dose_facts
    from photopeak.evaluate.benchmark_tables import tables
    from photopeak.evaluate.ct2pet import Ct2PetPlan
    from photopeak.evaluate.ct2pet_tables import ct2pet_tables
    from photopeak.evaluate.low_dose import LowDosePlan
    from photopeak.evaluate.low_dose_figures import pictures
    from photopeak.evaluate.low_dose_tables import low_dose_tables

    if isinstance(plan, LowDosePlan):
        record |= low_dose_facts(plan, cohort, split)
        return low_dose_tables(record), pictures(record)
    if isinstance(plan, Ct2PetPlan):
        record |= ct2pet_facts(plan, cohort, out, split)
        return ct2pet_tables(record), ct2pet_pictures(plan, cohort, out, split, record)
    return tables(record), {}


def _planned(recipe: Path, *, quick: bool, only: list[str] | None) -> "Plan":
    import tomllib

    from photopeak.core.errors import BadArgument

    if not recipe.is_file():
        raise BadArgument(f"recipe {recipe}", needed="an existing .toml file", remedy="See recipes/.")
    try:
        plan = plan_of(tomllib.loads(recipe.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise BadArgument(f"{recipe}: {error}", needed="a TOML file", remedy="Mend it.") from error
    plan = plan.only(only) if only else plan
    return plan.quickly() if quick else plan


def plan_of(record: Mapping[str, Any]) -> "Plan":
    """The plan of a recipe's values; its `task` says of which kind, "ac" unless told.

    Raises
    ------
    BadArgument : another task, or values that make no plan.
    """
    from photopeak.cli.benchmark_lowdose import with_settings
    from photopeak.core.errors import BadArgument
    from photopeak.evaluate.benchmark import read_plan
    from photopeak.evaluate.ct2pet import Ct2PetPlan
    from photopeak.evaluate.low_dose import LowDosePlan

    values = dict(record)
    task = values.pop("task", TASKS[0])
    if task not in TASKS:
        raise BadArgument(f"task {task!r}", needed=" or ".join(TASKS), remedy="Choose one.")
    if task == "ct2pet":
        return read_plan(values, Ct2PetPlan)
    if task == "ac":
        return read_plan(values)
    plan = read_plan(values, LowDosePlan)
    assert isinstance(plan, LowDosePlan)
    return with_settings(plan)


def _simulate_if_missing(folder: Path, plan: "Plan", workers: int) -> None:
    """The recipe's cohort where there is none, or only part of a simulated one."""
    from photopeak.cli import simulate
    from photopeak.io.cohort import MANIFEST_FILE, read_manifest
    from photopeak.io.store import STUDY_FILE

    if (folder / MANIFEST_FILE).is_file():
        scans, about = read_manifest(folder)
        if not about.get("simulated") or all((folder / name / STUDY_FILE).is_file() for name in scans):
            return
    simulate.command(folder, **{"studies": 20, "seed": 0, "matrix": "64", **plan.cohort}, workers=workers, nosc=False)


def _require_persons(plan: "Plan", cohort: Path, split: str) -> None:
    """Raise BadArgument before anything is trained, if there are too few persons to train on or to score."""
    from photopeak.io.cohort import open_cohort

    studies = open_cohort(cohort, mmap=True)
    part_of(studies, "train", plan.train_persons)
    part_of(studies, split, **plan.scored)


def _tier(plan: "Plan", workers: int) -> str:
    import os

    seconds = plan.budget.get("max_seconds", "default")
    unit = "processor seconds" if plan.budget.get("clock") == "cpu" else "s"
    return f"{os.cpu_count()} CPU cores, {workers} methods at once, one thread and {seconds} {unit} of training each"


def _work_through(plan: "Plan", cohort: Path, out: Path, split: str, workers: int) -> dict[str, str]:
    """Do every run as soon as those it stands on are done; labels that failed and why."""
    from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
    from multiprocessing import get_context

    from photopeak.core.processes import be_a_worker

    todo, done = list(plan.runs()), set[str]()
    failed: dict[str, str] = {}
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=be_a_worker) as pool:
        at_work: dict[Future[None], Run] = {}
        while todo or at_work:
            for run in tuple(todo):
                needed = plan.stands_on(run).values()
                lost = [other for other in needed if other.entry.label in failed]
                if lost:
                    failed[run.entry.label] = f"{lost[0].entry.label} failed, which it stands on"
                elif all(other.name in done for other in needed):
                    at_work[pool.submit(work, plan, run, cohort, out, split)] = run
                else:
                    continue
                todo.remove(run)
            for future in wait(at_work, return_when=FIRST_COMPLETED).done if at_work else ():
                run = at_work.pop(future)
                error = future.exception()
                done.add(run.name)
                if error is not None:
                    failed[run.entry.label] = _report(run, error, out)
                typer.echo(f"{'done' if error is None else 'FAILED'}: {run.name}, {len(todo) + len(at_work)} to go")
    return failed


def _report(run: "Run", error: BaseException, out: Path) -> str:
    """Keep the traceback in the run's folder; the first line of the message goes into the tables."""
    from traceback import format_exception

    folder = _folder(run, out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILURE).write_text("".join(format_exception(error)), encoding="utf-8")
    message = f"{type(error).__name__}: {error}".splitlines()[0]
    typer.echo(f"{run.name}: {message}", err=True)
    return message


def work(plan: "Plan", run: "Run", cohort: Path, out: Path, split: str) -> None:
    """Train what is not trained and score what is not scored of one run; called in a process of its own."""
    from photopeak.cli.benchmark_ct2pet import score_ct2pet
    from photopeak.cli.benchmark_lowdose import score_low_dose
    from photopeak.cli.benchmark_run import WEIGHTS, score_run, train_run
    from photopeak.evaluate.ct2pet import Ct2PetPlan
    from photopeak.evaluate.low_dose import LowDosePlan
    from photopeak.io.cohort import open_cohort

    folders = {what: _folder(other, out) for what, other in plan.stands_on(run).items()}
    studies = open_cohort(cohort)
    train = part_of(studies, "train", plan.train_persons)
    validation = part_of(studies, "validation", plan.train_persons) if run.entry.ships else None
    train_run(plan, run, train, _folder(run, out), folders, out / "hearts", validation)
    if run.entry.answers:
        weights = folders.get("weights", _folder(run, out)) / WEIGHTS
        scored = part_of(studies, split, **plan.scored)
        if isinstance(plan, LowDosePlan):
            score_low_dose(plan, run, scored, _folder(run, out), split, weights, out)
        elif isinstance(plan, Ct2PetPlan):
            score_ct2pet(plan, run, scored, _folder(run, out), split, weights)
        else:
            score_run(plan, run, scored, _folder(run, out), split, weights)


def part_of(cohort: "Cohort", split: str, persons: int | None, *, one_scan_each: bool = False) -> "Cohort":
    """A split, or all scans of its first persons, or one of each by turns."""
    from dataclasses import replace

    from photopeak.core.errors import BadArgument

    part = cohort.split(split)
    scans = list(part.persons.values())[:persons]
    kept = [name for names in scans for name in names]
    if one_scan_each:
        kept = [names[number % len(names)] for number, names in enumerate(scans)]
    if len(part.persons) < 2 or len(kept) < 2:
        raise BadArgument(
            f"{len(part.persons)} {split} persons in {cohort.folder}", needed="at least 2", remedy="Simulate more."
        )
    return replace(part, scans={name: part.scans[name] for name in kept})


def _folder(run: "Run", out: Path) -> Path:
    return out / "runs" / run.folder


def _record(
    plan: "Plan", cohort: Path, out: Path, split: str, *, failed: Mapping[str, str], tier: str, quick: bool
) -> dict[str, Any]:
    """Everything that tables and figures are made from."""
    from photopeak.cli.benchmark_lowdose import read_settings
    from photopeak.cli.benchmark_run import read_scores
    from photopeak.evaluate.low_dose import LowDosePlan
    from photopeak.evaluate.strata import strata_of
    from photopeak.io.cohort import open_cohort

    read = read_settings if isinstance(plan, LowDosePlan) else read_scores
    studies = open_cohort(cohort, mmap=True)
    scored = part_of(studies, split, **plan.scored)
    facts = dict(zip(scored.names, scored, strict=True))
    runs = [run for run in plan.runs() if run.entry.label not in failed]
    lines = {run.name: read(_folder(run, out), split) for run in runs if run.entry.answers}
    return {
        "schema": SCHEMA,
        "about": {
            "cohort": dict(studies.about),
            "split": split,
            "train_scans": len(part_of(studies, "train", plan.train_persons)),
            "tier": tier,
            "budget": dict(plan.budget),
            "reference": plan.reference,
            "truths": list(plan.truths),
            "failed": dict(failed),
            "reasons": {entry.label: entry.reason for entry in plan.entries if entry.reason},
            "own_frames": sum("heart" not in study.facts for study in facts.values()),
            "quick": quick,
        },
        "persons": {name: scan.person for name, scan in scored.scans.items()},
        "strata": {name: strata_of(study, state=scored.scans[name].state) for name, study in facts.items()},
        "entries": dict(_entries(plan, runs, out, split)),
        "runs": {
            run.name: {
                "label": run.entry.label,
                "seed": run.seed,
                "folder": str(_folder(run, out).relative_to(out)),
                "scans": {name: lines[run.name][name] for name in scored.names},
            }
            for run in runs
            if run.entry.answers
        },
    }


def _entries(plan: "Plan", runs: list["Run"], out: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each row cost: the mean over its seeds, and with the trainings that it stands on."""
    from statistics import mean, median

    from photopeak.cli.benchmark_run import read_lines, training_of

    def seconds_in_all(run: "Run") -> float:
        mine = training_of(_folder(run, out)).get("seconds", 0)
        return float(mine) + sum(seconds_in_all(other) for other in plan.stands_on(run).values())

    by_label: dict[str, list[Run]] = {}
    for run in runs:
        by_label.setdefault(run.entry.label, []).append(run)
    for label, those in by_label.items():
        entry, trained = those[0].entry, [training_of(_folder(run, out)) for run in those]
        lines = [one for run in those if entry.answers for one in read_lines(_folder(run, out), split)]
        learned = all(trained)
        yield (
            label,
            {
                "method": entry.method,
                "arguments": dict(entry.arguments),
                "using": dict(entry.using),
                "tables": list(entry.tables),
                "answers": entry.answers,
                "seeds": [run.seed for run in those] if learned else [],
                "parameters": trained[0]["parameters"] if learned else None,
                "steps": mean(one["steps"] for one in trained) if learned else None,
                "seconds": mean(one["seconds"] for one in trained) if learned else None,
                "seconds_in_all": mean(seconds_in_all(run) for run in those) if learned else None,
                "seconds_per_scan": median(one["seconds"] for one in lines) if lines and entry.method else None,
            },
        )
