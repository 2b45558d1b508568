"""One training of a benchmark, and its scores: what a worker does, so that a kill loses only what was in hand."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from photopeak.core import Study
    from photopeak.evaluate.benchmark import Plan, Run
    from photopeak.evaluate.calibration import Region
    from photopeak.io.cohort import Cohort

WEIGHTS, ENTRY, TRAINED = "weights.safetensors", "entry.json", "trained.json"
HIDDEN_FACTS = ("truth", "patient")
"""What a simulation knows of a patient and a method must not."""


def train_run(
    plan: "Plan",
    run: "Run",
    studies: "Cohort",
    folder: Path,
    stands_on: Mapping[str, Path],
    keep: Path,
    validation: "Cohort | None" = None,
) -> None:
    """Train a learned method into `folder`, or go on with it; nothing to do where it has weights.

    Parameters
    ----------
    stands_on : folders of the trainings that it needs, by "teacher", "code", "map", "initial" and "weights".
    keep : folder of hearts that were cut once for all methods.
    validation : scans on which the uncertainty of an entry that ships is calibrated.

    Raises
    ------
    BadArgument : the folder holds a training of other settings, the arguments are not the method's, or an entry ships
        whose uncertainty cannot be calibrated.
    """
    import torch

    from photopeak.core.errors import BadArgument
    from photopeak.evaluate.calibration import HEART
    from photopeak.evaluate.domain import training_domain
    from photopeak.io.store import file_sha256
    from photopeak.learn.loop import Budget, fit

    entry = run.entry
    kind = _learned(entry.method)
    if kind is None or "weights" in stands_on:
        return
    values = {**plan.budget, **entry.budget}
    instead = {**plan.volumes, **entry.sees}
    identity = {
        "method": entry.method,
        "arguments": dict(entry.arguments),
        "seed": run.seed,
        "budget": values,
        "volumes": instead,
        "cohort": dict(studies.about),
        "studies": list(studies.names),
        "stands_on": {what: file_sha256(other / WEIGHTS) for what, other in stands_on.items()},
    }
    require_same(folder / ENTRY, identity)
    if (folder / TRAINED).is_file():
        if entry.ships and "calibration" not in (trained := kind.restored(folder / WEIGHTS)).card:
            _calibrate(trained, run, instead, folder, validation)
        return
    try:
        torch.manual_seed(run.seed)
        budget, method = Budget(**values), kind(**entry.arguments)
    except TypeError as error:
        raise BadArgument(f"{entry.label}: {error}", needed="its own arguments", remedy="See its docstring.") from error
    for what, other in stands_on.items():
        _stand(method, what, _learned_class(plan[getattr(entry, what)].method).restored(other / WEIGHTS))
    card: dict[str, Any] = {"cohort": dict(studies.about), "licence": "Apache-2.0", "volumes": instead}
    if entry.ships and _shipped_in(method, run) is HEART:
        card["domain"] = training_domain(studies.taking(instead), voxel_mm=method.feed.voxel_mm)
    fit(method, studies.taking(instead), folder, budget=budget, seed=run.seed, card=card, keep=keep)
    if entry.ships:
        _calibrate(method, run, instead, folder, validation)
    parameters = sum(p.numel() for p in method.players.parameters())
    _write(folder / TRAINED, {**method.card["training"], "parameters": parameters})


def _shipped_in(method: Any, run: "Run") -> "Region":
    """Where the answer of an entry that ships is judged; BadArgument if its uncertainty cannot be calibrated."""
    from photopeak.cli.train import in_use

    return in_use(method, _used(method, run))[0]


def _used(method: Any, run: "Run") -> Mapping[str, Any]:
    """The settings of use that an entry is calibrated for: its own, and the usual ones of a heart."""
    from photopeak.methods.pet_slices import PetSlices

    return run.entry.using if isinstance(method, PetSlices) else {}


def _calibrate(method: Any, run: "Run", volumes: Mapping[str, str], folder: Path, validation: "Cohort | None") -> None:
    """Calibrate the weights of an entry that ships, as soon as there are validation scans."""
    from photopeak.cli.train import calibrate_weights

    if validation is not None:
        calibrate_weights(method, validation, volumes, folder / WEIGHTS, using=_used(method, run))


def training_of(folder: Path) -> dict[str, Any]:
    """Steps, seconds and parameters of a finished training; nothing for what does not learn."""
    path = folder / TRAINED
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def score_run(plan: "Plan", run: "Run", studies: "Cohort", folder: Path, split: str, weights: Path) -> None:
    """Apply a run's method to every scan and write one line of scores for each that has none.

    Parameters
    ----------
    weights : file of a method that learns.
    """
    from photopeak.evaluate.scan_scores import scan_scores

    method = ready(run, weights)

    def line(_: str, given: "Study") -> dict[str, Any]:
        study, heart = with_heart(given)
        began = time.perf_counter()
        answer = answered(study, method, run.entry.sees)
        seconds = time.perf_counter() - began
        return {"seconds": round(seconds, 4), **scan_scores(answer, of="answer", truths=plan.truths, heart=heart)}

    score_each(studies, folder, split, made_with(plan, run, weights), line)


def score_each(
    studies: "Cohort", folder: Path, split: str, made: str, line: Callable[[str, "Study"], Mapping[str, Any]]
) -> None:
    """Write the line of every scan that has none; those that were made otherwise are thrown away first.

    Parameters
    ----------
    made : what lines depend on but the scan.
    line : scores and seconds of a scan, by its name and study.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = scores_file(folder, split)
    known = {name: line for name, line in read_scores(folder, split).items() if line["made"] == made}
    path.write_text("".join(json.dumps(line) + "\n" for line in known.values()), encoding="utf-8")
    with path.open("a", encoding="utf-8") as lines:
        for number, name in enumerate(studies.names):
            if name in known:
                continue
            lines.write(json.dumps({"scan": name, "made": made, **line(name, studies[number])}) + "\n")
            lines.flush()


def read_scores(folder: Path, split: str) -> dict[str, dict[str, Any]]:
    """Lines of a run's scores by scan."""
    return {line["scan"]: line for line in read_lines(folder, split)}


def read_lines(folder: Path, split: str) -> list[dict[str, Any]]:
    """Lines of a run's scores; a last line that a kill has cut short is not one."""
    path = scores_file(folder, split)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def answered(
    study: "Study",
    method: Any | None,
    sees: Mapping[str, str],
    also: Sequence[str] = (),
    *,
    given: str = "nac",
    makes: str = "ac",
) -> "Study":
    """The study with "answer" (and "answer_sd"), from a method that is shown only what it reads.

    Parameters
    ----------
    method : None leaves the image as it was given.
    sees : volumes shown under the name of another.
    also : volumes shown though the method does not ask for them.
    given, makes : the image that is left as it was given, and the volume that methods answer with.
    """
    from photopeak.core import Step

    if method is None:
        return study.add({"answer": study[given]}, Step(("answer",), "none"))
    step = Step(tuple(sees), "copy", tuple(sees.values()))
    shown = study.add({name: study[other] for name, other in sees.items()}, step)
    projections = {name: shown.projections[name] for name in method.reads_projections}
    facts = {key: value for key, value in shown.facts.items() if key not in HIDDEN_FACTS}
    made = method(replace(shown.only(*method.reads, *also), projections=projections, facts=facts))
    spread = f"{makes}_sd"
    answers = {"answer": made[makes], **({"answer_sd": made[spread]} if spread in method.writes else {})}
    return study.add(answers, made.history[-1])


def with_heart(study: "Study") -> tuple["Study", Any]:
    """The heart found in NAC; where none was found, that of the truth, for the method and the scores alike."""
    from photopeak.cardiac.find import FoundHeart
    from photopeak.evaluate.scan_facts import heart_in

    heart = FoundHeart.from_dict(study.facts["heart"]) if "heart" in study.facts else heart_in(study)
    return study.with_facts(heart=heart.to_dict()), heart


def ready(run: "Run", weights: Path) -> Any | None:
    """The run's method with its weights; None where the image is left as it was given."""
    from photopeak.methods import method

    entry = run.entry
    if entry.method is None:
        return None
    if _learned(entry.method) is None:
        return method(entry.method, **entry.arguments)
    return method(entry.method, weights, **entry.using)


def made_with(plan: "Plan", run: "Run", weights: Path) -> str:
    """A hash of all that the scores depend on but the scan."""
    from photopeak.io.store import file_sha256

    entry = run.entry
    trained = file_sha256(weights) if weights.is_file() else None
    told = [entry.method, dict(entry.arguments), trained, dict(entry.using), dict(entry.sees), list(plan.truths)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _learned(name: str | None) -> Any | None:
    """The class of a method, if it learns."""
    from photopeak.learn.learned import LearnedMethod
    from photopeak.methods import method_class

    kind: Any = None if name is None else method_class(name)
    return kind if kind is not None and issubclass(kind, LearnedMethod) else None


def _learned_class(name: str | None) -> Any:
    from photopeak.core.errors import BadArgument

    kind = _learned(name)
    if kind is None:
        raise BadArgument(f"method {name}", needed="a method that learns", remedy="Nothing can stand on another.")
    return kind


def _stand(method: Any, what: str, other: Any) -> None:
    """Give a method what it stands on."""
    from photopeak.core.errors import BadArgument

    if what == "initial":
        method.use_weights(other.players.state_dict())
        return
    take = {"teacher": "learn_from", "code": "uses_code", "map": "sees_with"}[what]
    if not hasattr(method, take):
        raise BadArgument(f"a {what} for {method.name}", needed=f"a method with {take}", remedy="Leave it out.")
    getattr(method, take)(other)


def require_same(path: Path, identity: Mapping[str, Any]) -> None:
    """Write what a folder was begun with into a file of it, or refuse to go on with anything else (BadArgument)."""
    from photopeak.core.errors import BadArgument

    wanted = json.loads(json.dumps(identity))
    if not path.is_file():
        _write(path, wanted)
        return
    there = json.loads(path.read_text(encoding="utf-8"))
    if there != wanted:
        keys = [key for key in wanted if there.get(key) != wanted[key]]
        raise BadArgument(
            f"{path.parent} with another {' and '.join(keys)}",
            needed="the settings that it was begun with",
            remedy="Remove that folder to train anew, or choose another --out.",
        )


def _write(path: Path, record: Mapping[str, Any]) -> None:
    from photopeak.io.atomic import beside

    with beside(path) as partial:
        partial.write_text(json.dumps(record, indent=1), encoding="utf-8")


def scores_file(folder: Path, split: str) -> Path:
    return folder / f"scores-{split}.jsonl"
