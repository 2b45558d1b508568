"""``photopeak train``: any learned method on a cohort, from a recipe or with its defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from photopeak.evaluate.calibration import Region
    from photopeak.io.cohort import Cohort
    from photopeak.learn.learned import LearnedMethod

CALIBRATION_SAMPLES = {"ac": 8, "pet": 4}
CALIBRATION_SCANS = {"ac": 60, "pet": 12}
SHIPPED = "shipped"
RECIPE_KEYS = {"method", "arguments", "budget", "seed", "cohort", "volumes", "using"}
NOT_SETTINGS = ("seed", "weights_sha256")
"""What a calibration does not depend on, of a method's settings."""


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe (.toml), or the name of a method for its defaults.")],
    cohort: Annotated[Path, typer.Argument(help="Folder of a cohort; its train split is used.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; an interrupted one is continued.")],
    teacher: Annotated[Path | None, typer.Option(help="Weights of a teacher to learn from (padm).")] = None,
    map: Annotated[
        Path | None, typer.Option(help="Weights of indirect, for concord; of attention, for CT to PET.")
    ] = None,
    code: Annotated[Path | None, typer.Option(help="Weights of a VQGAN, for latent methods.")] = None,
    initial: Annotated[
        str | None, typer.Option(help="Weights of the same method to start from; 'shipped' are those of photopeak.")
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on with the run that is in OUT; --no-resume refuses where there is one.")
    ] = True,
    max_seconds: Annotated[float | None, typer.Option(help="Instead of the recipe's budget.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep what is cut from the studies here, for the next.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
) -> None:
    """Train a method; weights, log and checkpoints go to OUT."""
    import torch
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from photopeak.core.errors import BadArgument
    from photopeak.evaluate.domain import training_domain
    from photopeak.io.cohort import open_cohort
    from photopeak.io.store import file_sha256
    from photopeak.learn.loop import CHECKPOINT, Budget, fit
    from photopeak.methods import shipped_weights
    from photopeak.methods.pet_slices import PetSlices

    if not resume and (out / CHECKPOINT).exists():
        raise BadArgument(f"{out} with a run in it", needed="an empty folder", remedy="Go on with --resume.")
    if threads is not None:
        torch.set_num_threads(threads)
    plan = read_recipe(recipe)
    try:
        budget = Budget(**plan["budget"] | ({} if max_seconds is None else {"max_seconds": max_seconds}))
    except TypeError as error:
        raise BadArgument(f"budget: {error}", needed="fields of Budget", remedy="See photopeak.learn.loop.") from error
    seed = plan["seed"]
    torch.manual_seed(seed)
    method = planned_method(plan, teacher)
    if initial is not None:
        start = shipped_weights(method.name) if initial == SHIPPED else Path(initial)
        method.use_weights(type(method).restored(start).players.state_dict())
    judged = judged_in(method)
    if judged or plan["using"]:
        in_use(method, plan["using"])
    given = {what: weights for what, weights in (("map", map), ("code", code)) if weights is not None}
    for what, weights in given.items():
        _give(method, what, weights)
    everyone = open_cohort(cohort)
    studies = everyone.split("train").taking(plan["volumes"])
    typer.echo(f"{method.name}: {len(studies)} patients, {budget.max_seconds:g} s; cutting slices")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=1.0)

        def watch(record: Any) -> None:
            done = budget.progress(int(record["step"]), record["seconds"])
            losses = ", ".join(f"{k} {v:.4f}" for k, v in record.items() if k not in ("step", "seconds"))
            progress.update(task, completed=done, description=f"step {record['step']}: {losses}")

        feed: Any = method.arguments["feed"]
        card: dict[str, Any] = {
            "recipe": Path(recipe).stem,
            "cohort": dict(studies.about),
            "volumes": plan["volumes"],
            "licence": "Apache-2.0",
        }
        if given:
            card["stands_on"] = {what: file_sha256(weights) for what, weights in given.items()}
        if not isinstance(method, PetSlices):
            card["domain"] = training_domain(studies, voxel_mm=feed["voxel_mm"])
        fit(method, studies, out, budget=budget, seed=seed, card=card, watch=watch, keep=keep)
    if len(everyone.split("validation")) and judged:
        typer.echo("calibrating the uncertainty on validation scans")
        calibrate_weights(
            method, everyone.split("validation"), plan["volumes"], out / "weights.safetensors", using=plan["using"]
        )
    typer.echo(f"weights in {out / 'weights.safetensors'} ({method.weights_sha256()[:12]})")


def read_recipe(recipe: str) -> dict[str, Any]:
    """A recipe as plain values; an unknown key stops the run.

    Its `using` are the settings of use that a CT-to-PET method's uncertainty is calibrated for, such as ``steps``.

    Raises
    ------
    BadArgument : no such recipe, or keys that none has.
    """
    import tomllib

    from photopeak.core.errors import BadArgument

    plan: dict[str, Any] = {key: {} for key in ("arguments", "budget", "volumes", "using")}
    plan |= {"seed": 0, "cohort": "", "method": recipe}
    if not recipe.endswith(".toml"):
        return plan
    path = Path(recipe)
    if not path.is_file():
        raise BadArgument(f"recipe {recipe}", needed="an existing .toml file", remedy="See recipes/.")
    given = tomllib.loads(path.read_text())
    unknown = set(given) - RECIPE_KEYS
    if unknown:
        raise BadArgument(
            f"{recipe} with {', '.join(sorted(unknown))}",
            needed=", ".join(sorted(RECIPE_KEYS)),
            remedy="Check the spelling.",
        )
    return plan | given


def planned_method(plan: dict[str, Any], teacher: Path | None) -> "LearnedMethod":
    """The untrained method of a recipe, with its teacher if it has one."""
    from photopeak.core.errors import BadArgument
    from photopeak.learn.learned import LearnedMethod
    from photopeak.methods import method_class
    from photopeak.methods.padm import PADM, PADMTeacher

    kind: Any = method_class(plan["method"])
    if not issubclass(kind, LearnedMethod):
        raise BadArgument(
            f"method {plan['method']}", needed="a method that learns", remedy="See photopeak train --help."
        )
    try:
        made: LearnedMethod = kind(**plan["arguments"])
    except TypeError as error:
        raise BadArgument(
            f"arguments of {kind.name}: {error}", needed="its own", remedy="See its docstring."
        ) from error
    if teacher is not None:
        if not isinstance(made, PADM) or isinstance(made, PADMTeacher):
            raise BadArgument(f"a teacher for {made.name}", needed="padm", remedy="Leave out --teacher.")
        made.learn_from(PADMTeacher.restored(teacher))
    return made


def judged_in(method: Any) -> "Region | None":
    """Where a method's uncertainty can be calibrated: AC in a heart, SUV in a body; None for any other answer."""
    from photopeak.evaluate.calibration import region_of
    from photopeak.methods.heart_slices import HeartCube
    from photopeak.methods.pet_slices import PetSlices

    in_suv = isinstance(method, PetSlices) and not method.feed.per_slice
    return region_of(method.writes) if isinstance(method, HeartCube) or in_suv else None


def in_use(method: Any, using: Mapping[str, Any]) -> "tuple[Region, Any]":
    """Where a method's uncertainty is calibrated, and the method with the settings of use that it is calibrated for.

    Parameters
    ----------
    using : of a CT-to-PET method, such as ``steps``; the usual number of samples unless given.

    Raises
    ------
    BadArgument : a method that cannot be calibrated, or settings that it does not have.
    """
    import inspect

    from photopeak.core.errors import BadArgument
    from photopeak.evaluate.calibration import BODY

    region = judged_in(method)
    if region is None:
        raise BadArgument(
            f"{method.name} to be calibrated", needed="AC or SUV with its sd", remedy="Leave out using and ships."
        )
    known = set(inspect.signature(method.using).parameters) - {"seed"} if region is BODY else set[str]()
    unknown = sorted(set(using) - known)
    if unknown:
        raise BadArgument(
            f"using {', '.join(unknown)} of {method.name}",
            needed=" or ".join(sorted(known)) or "no settings of use",
            remedy="Leave out what it is not calibrated for.",
        )
    return region, method.using(**{"samples": CALIBRATION_SAMPLES[region.answer], **using})


def calibrate_weights(
    method: Any, validation: "Cohort", volumes: Mapping[str, str], path: Path, *, using: Mapping[str, Any]
) -> None:
    """Fit the uncertainty of a trained method to its errors on validation scans and write it into its weights' card.

    Parameters
    ----------
    volumes : what the answer should be under the answer's name, where that is another volume of the scans.
    using : as for `in_use`; what a CT-to-PET method was calibrated for stands in its card, for `synthesize` to take.

    Raises
    ------
    BadArgument : as for `in_use`, or fewer than two scans.
    """
    from photopeak.cli.synthesize_method import asked_once
    from photopeak.evaluate.calibration import BODY, calibrate

    region, ready = in_use(method, using)
    used: dict[str, Any] = {}
    if region is BODY:
        ready = asked_once(ready)
        used = {"using": {key: value for key, value in ready.settings().items() if key not in NOT_SETTINGS}}
    scans = validation[: CALIBRATION_SCANS[region.answer]].taking({"target": volumes.get(region.answer, region.answer)})
    fitted = calibrate(ready, scans, truth="target", reads=method.reads, region=region)
    method.card = {**method.card, "calibration": {**fitted.to_dict(), **used}}
    method.save(path)


def _give(method: Any, what: str, weights: Path) -> None:
    """Hand a method what it stands on: the "map" that it sees with, or the "code" that it works in."""
    from photopeak.core.errors import BadArgument
    from photopeak.learn.checkpoint import load_checkpoint
    from photopeak.methods import method_class

    take, users = {
        "map": ("sees_with", "concord, or a CT-to-PET method with maps"),
        "code": ("uses_code", "a method between latents"),
    }[what]
    made = str(load_checkpoint(weights)[1].get("method"))
    kind: Any = method_class(made)
    if not hasattr(method, take) or not hasattr(kind, "restored"):
        raise BadArgument(f"a {what} for {method.name}", needed=users, remedy=f"Leave out --{what}.")
    getattr(method, take)(kind.restored(weights))
