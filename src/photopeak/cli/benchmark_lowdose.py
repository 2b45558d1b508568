"""The low-dose benchmark: every scan is measured once under every setting, for all methods, and every answer scored."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from photopeak.cardiac.find import FoundHeart
    from photopeak.core import Projections, Study, SystemOperator
    from photopeak.evaluate.benchmark import Run
    from photopeak.evaluate.low_dose import LowDosePlan
    from photopeak.io.cohort import Cohort
    from photopeak.simulate.dose import Setting

GIVEN = "given"


def with_settings(plan: "LowDosePlan") -> "LowDosePlan":
    """The plan whose competitors are told which settings they are trained on."""
    from dataclasses import replace

    from photopeak.methods import method_class
    from photopeak.methods.paired import Paired

    def told(entry: Any) -> Any:
        learns = entry.method is not None and entry.weights is None
        if not learns or not issubclass(method_class(entry.method), Paired) or "settings" in entry.arguments:
            return entry
        return replace(entry, arguments={**entry.arguments, "settings": list(plan.trained_on)})

    return replace(plan, entries=tuple(told(entry) for entry in plan.entries))


def prepare(plan: "LowDosePlan", cohort: Path, out: Path, split: str, workers: int) -> None:
    """Measure every scan of the split under every setting that is not measured yet, and reconstruct it by MLEM.

    Raises
    ------
    BadArgument : the folder has scans of another cohort.
    """
    from functools import partial

    from rich.progress import track

    from photopeak.cli.benchmark import part_of
    from photopeak.cli.benchmark_run import require_same
    from photopeak.io.cohort import open_cohort
    from photopeak.io.store import STUDY_FILE
    from photopeak.simulate.cohort import in_parallel

    studies = open_cohort(cohort)
    require_same(out / GIVEN / "cohort.json", {"cohort": dict(studies.about)})
    names = part_of(studies, split, **plan.scored).names
    missing = [
        number
        for number, name in enumerate(names)
        if not all((_given_folder(out, plan, name, one) / STUDY_FILE).is_file() for one in plan.settings)
    ]
    done = in_parallel(partial(measure, plan, cohort, out, split), missing, workers=workers)
    for _ in track(done, total=len(missing), description="counting less", disable=not missing):
        pass


def measure(plan: "LowDosePlan", cohort: Path, out: Path, split: str, number: int) -> str:
    """Save what the scan of a number in its split gives under each setting: counts, and their MLEM; in a process."""
    from photopeak.cli.benchmark import part_of
    from photopeak.io.cohort import open_cohort
    from photopeak.io.store import STUDY_FILE, save_study
    from photopeak.simulate.dose import Setting

    part = part_of(open_cohort(cohort), split, **plan.scored)
    name, study = part.names[number], part[number]
    for setting in plan.settings:
        folder = _given_folder(out, plan, name, setting)
        if not (folder / STUDY_FILE).is_file():
            less = counted_less(study, Setting.named(setting), name)
            save_study(reconstructed(less, plan.iterations), folder)
    return name


def counted_less(study: "Study", setting: "Setting", name: str) -> "Study":
    """The study as it were under a setting: "raw" of fewer counts or views, and facts about the dose.

    The counts follow from the scan's name and the setting alone, so that all methods see the same. Projections
    "scatter" and "clean" are expectations and go down by the plain fraction.
    """
    from dataclasses import replace
    from zlib import crc32

    from photopeak.core.random import stream

    chance = stream(crc32(name.encode()), crc32(str(setting).encode()))
    raw = study.projections["raw"]
    expected = {key: seen for key, seen in study.projections.items() if key in ("scatter", "clean")}
    fewer = {key: _scaled(seen, setting) for key, seen in expected.items()}
    dose = {"fraction": setting.fraction, "full_views": raw.camera.projection_shape[0], "setting": str(setting)}
    return replace(study, projections={"raw": setting.applied(raw, chance), **fewer}).with_facts(dose=dose)


def _scaled(expected: "Projections", setting: "Setting") -> "Projections":
    from photopeak.core.random import stream
    from photopeak.simulate.dose import Setting

    kept = Setting(views=setting.views).applied(expected, stream(0, 0))
    return kept.with_counts(kept.counts * setting.fraction)


def reconstructed(less: "Study", iterations: int) -> "Study":
    """A study of what is new: "raw", and its MLEM as "mlem", scatter left in; facts tell time and 5th likelihood."""
    from photopeak.core import COUNTS, Study, Volume
    from photopeak.evaluate.low_dose import COMPARED_ITERATION, log_likelihood_of
    from photopeak.methods.measured import Measured, start_step
    from photopeak.recon.iterate import mlem

    images: dict[int, Tensor] = {}
    began = time.process_time()
    measured = Measured.of(less)
    image = mlem(measured.system, measured.counts, iterations=iterations, watch=images.__setitem__)
    seconds = time.process_time() - began
    likelihood = log_likelihood_of(measured.system(images[COMPARED_ITERATION - 1]), measured.counts)
    facts = {"dose": less.facts["dose"], "mlem": {"seconds": seconds, "log_likelihood_5": likelihood}}
    made = Study(less.name, projections=less.projections, facts=facts)
    return made.add({"mlem": Volume(image, less["mu"].grid, COUNTS)}, start_step(iterations, None))


def score_low_dose(
    plan: "LowDosePlan", run: "Run", studies: "Cohort", folder: Path, split: str, weights: Path, out: Path
) -> None:
    """Apply a run's method to every scan under every setting; a line of scores for each that has none.

    Parameters
    ----------
    weights : file of a method that learns.
    out : folder of the benchmark, in which `prepare` has left what is given.
    """
    from dataclasses import replace

    from photopeak.cli.benchmark_run import made_with, read_lines, ready, scores_file, with_heart
    from photopeak.evaluate.low_dose import defects_of, pictured
    from photopeak.methods.measured import Measured
    from photopeak.simulate.dose import Setting

    method, made = ready(run, weights), f"{made_with(plan, run, weights)}-{plan.iterations}"
    facts = replace(studies, mmap=True)
    shown = pictured({name: defects_of(study) for name, study in zip(facts.names, facts, strict=True)})
    folder.mkdir(parents=True, exist_ok=True)
    path, known = scores_file(folder, split), {}
    for line in read_lines(folder, split):
        if line["made"] == made and (line["scan"] != shown or "maps" in line):
            known[line["scan"], line["setting"]] = line
    path.write_text("".join(json.dumps(line) + "\n" for line in known.values()), encoding="utf-8")
    with path.open("a", encoding="utf-8") as lines:
        for number, name in enumerate(studies.names):
            missing = [setting for setting in plan.settings if (name, setting) not in known]
            if not missing:
                continue
            full, heart = with_heart(studies[number])
            systems: dict[int | None, SystemOperator] = {}
            for setting in missing:
                less, views = _given(full, _given_folder(out, plan, name, setting)), Setting.named(setting).views
                if views not in systems:
                    systems[views] = Measured.of(less).system
                scores = _answer_and_score(plan, run, method, less, heart, systems[views], with_maps=name == shown)
                lines.write(json.dumps({"scan": name, "setting": setting, "made": made, **scores}) + "\n")
                lines.flush()


def _answer_and_score(
    plan: "LowDosePlan",
    run: "Run",
    method: Any | None,
    less: "Study",
    heart: "FoundHeart",
    system: "SystemOperator",
    *,
    with_maps: bool,
) -> dict[str, Any]:
    """The line of one answer, with its processor seconds; `system` sees the views that were kept."""
    from photopeak.cli.benchmark_run import answered
    from photopeak.core import Step
    from photopeak.evaluate.low_dose import low_dose_scores

    begins = _begins_with_mlem(plan, run, method)
    began = time.process_time()
    if method is None:
        study = less.add({"answer": less["mlem"]}, Step(("answer",), "copy", ("mlem",)))
    else:
        study = answered(less, method, run.entry.sees, also=("mlem",) if begins else ())
    seconds = time.process_time() - began + (less.facts["mlem"]["seconds"] if begins else 0.0)
    scores = low_dose_scores(
        study,
        of="answer",
        truths=plan.truths,
        heart=heart,
        fraction=less.facts["dose"]["fraction"],
        expected=system(study["answer"].data),
        likelihood_5=less.facts["mlem"]["log_likelihood_5"],
        with_maps=with_maps,
    )
    return {"seconds": round(seconds, 4), **scores}


def _begins_with_mlem(plan: "LowDosePlan", run: "Run", method: Any | None) -> bool:
    """Whether the MLEM that was made for all is where the method begins; its time is then the method's too."""
    from photopeak.methods.volume_slices import VolumeSlices

    return method is None or (
        isinstance(method, VolumeSlices)
        and (method.iterations, method.scatter) == (plan.iterations, None)
        and "mu" not in run.entry.sees
    )


def read_settings(folder: Path, split: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Lines of a run's scores by scan and setting."""
    from photopeak.cli.benchmark_run import read_lines

    found: dict[str, dict[str, dict[str, Any]]] = {}
    for line in read_lines(folder, split):
        found.setdefault(line["scan"], {})[line["setting"]] = line
    return found


def low_dose_facts(plan: "LowDosePlan", cohort: Path, split: str) -> dict[str, Any]:
    """What the record of a low-dose benchmark has besides: settings, and where the defects of the scans are."""
    from photopeak.cli.benchmark import part_of
    from photopeak.evaluate.low_dose import defects_of
    from photopeak.io.cohort import open_cohort

    scored = part_of(open_cohort(cohort, mmap=True), split, **plan.scored)
    return {
        "settings": list(plan.settings),
        "held_out": list(plan.held_out),
        "iterations": plan.iterations,
        "defects": {name: defects_of(study) for name, study in zip(scored.names, scored, strict=True)},
    }


def _given_folder(out: Path, plan: "LowDosePlan", name: str, setting: str) -> Path:
    plain = setting.replace("%", "_percent").replace(", ", "-").replace(" ", "_")
    return out / GIVEN / f"mlem_{plan.iterations}" / name / plain


def _given(full: "Study", folder: Path) -> "Study":
    """The full study with counts, facts and "mlem" of what was saved for a setting."""
    from dataclasses import replace

    from photopeak.io.store import load_study

    less = load_study(folder)
    facts: Mapping[str, Any] = {**full.facts, **less.facts}
    return replace(full, projections=less.projections, facts=facts).add({"mlem": less["mlem"]}, less.history[-1])
