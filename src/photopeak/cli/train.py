"""``photopeak train``: any learned method on a cohort, from a recipe or with its defaults."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from photopeak.learn.learned import LearnedMethod

RECIPE_KEYS = {"method", "arguments", "budget", "seed", "cohort", "volumes"}


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe (.toml), or the name of a method for its defaults.")],
    cohort: Annotated[Path, typer.Argument(help="Folder of a cohort; its train split is used.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; an interrupted one is continued.")],
    teacher: Annotated[Path | None, typer.Option(help="Weights of a teacher to learn from (padm).")] = None,
    initial: Annotated[Path | None, typer.Option(help="Weights of the same method to start from.")] = None,
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
    from photopeak.learn.loop import Budget, fit

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
        method.use_weights(type(method).restored(initial).players.state_dict())
    studies = open_cohort(cohort).split("train").taking(plan["volumes"])
    typer.echo(f"{method.name}: {len(studies)} patients, {budget.max_seconds:g} s; cutting hearts")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=1.0)

        def watch(record: Any) -> None:
            done = budget.progress(int(record["step"]), record["seconds"])
            losses = ", ".join(f"{k} {v:.4f}" for k, v in record.items() if k not in ("step", "seconds"))
            progress.update(task, completed=done, description=f"step {record['step']}: {losses}")

        feed: Any = method.arguments["feed"]
        domain = training_domain(studies, voxel_mm=feed["voxel_mm"])
        card = {
            "recipe": Path(recipe).stem,
            "cohort": dict(studies.about),
            "volumes": plan["volumes"],
            "domain": domain,
            "licence": "Apache-2.0",
        }
        fit(method, studies, out, budget=budget, seed=seed, card=card, watch=watch, keep=keep)
    typer.echo(f"weights in {out / 'weights.safetensors'} ({method.weights_sha256()[:12]})")


def read_recipe(recipe: str) -> dict[str, Any]:
    """A recipe as plain values; an unknown key stops the run.

    Raises
    ------
    BadArgument : no such recipe, or keys that none has.
    """
    import tomllib

    from photopeak.core.errors import BadArgument

    plan: dict[str, Any] = {"arguments": {}, "budget": {}, "seed": 0, "cohort": "", "method": recipe, "volumes": {}}
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
