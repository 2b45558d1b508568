"""DiffSPECT-3D beyond its tables: steps, intervals, no CT, and another camera, on persons of the test split.

python benchmarks/low_dose.py steps COHORT WEIGHTS [--steps 3 5 8 25]
python benchmarks/low_dose.py intervals COHORT WEIGHTS [--samples 8]
python benchmarks/low_dose.py ct-free COHORT WEIGHTS --map-weights FILE
python benchmarks/low_dose.py camera PARALLEL_HOLE_COHORT WEIGHTS [--settings "15 views"]
    each with [--persons 10] [--settings "5%" "5 views"] [--out FILE.json]

One scan of each person, stress and rest by turns, under each setting. Heart NRMSE against AC without noise, after one
least-squares factor; mean over persons with 95 % bootstrap intervals. Seconds are of one thread, MLEM not counted.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from intervals import one_scan_each

from photopeak.cardiac.find import FoundHeart
from photopeak.cli.benchmark_lowdose import counted_less, reconstructed
from photopeak.cli.benchmark_run import with_heart
from photopeak.cli.mu_free import with_predicted_mu
from photopeak.core import Step, Study
from photopeak.evaluate.calibration import coverage, errors_of, fit_calibration, sharpness
from photopeak.evaluate.patients import heart_scores
from photopeak.evaluate.stats import bootstrap_interval, ratio_interval
from photopeak.io.cohort import open_cohort
from photopeak.methods.diffspect import DiffSpect
from photopeak.methods.mlem import Mlem
from photopeak.simulate.dose import Setting

TRUTH, NRMSE = "ac_clean", "heart NRMSE"
ANSWERED = Step(("answer",), "copy", ("ac",))


@dataclass(frozen=True)
class Case:
    """One person under one setting, with the MLEM that every method begins with."""

    study: Study
    heart: FoundHeart

    @classmethod
    def of(cls, study: Study, setting: str, iterations: int) -> "Case":
        full, heart = with_heart(study)
        less = counted_less(full, Setting.named(setting), study.name)
        made = reconstructed(less, iterations)
        known = replace(less, projections={**less.projections, **made.projections})
        return cls(known.add({"mlem": made["mlem"]}, made.history[-1]), heart)

    def error(self, of: str) -> float:
        """Heart NRMSE of a volume, in per cent."""
        return float(heart_scores(self.study, of=of, truth=TRUTH, heart=self.heart)[NRMSE])

    def error_with(self, method: Callable[[Study], Study]) -> float:
        """Heart NRMSE of a method's answer, in per cent."""
        return Case(self.study.add({"answer": method(self.study)["ac"]}, ANSWERED), self.heart).error("answer")


@dataclass(frozen=True)
class Asked:
    """The persons and the network that an experiment is about."""

    cohort: Path
    weights: Path
    persons: int
    settings: Sequence[str]
    steps: Sequence[int]
    samples: int
    map_weights: Path | None

    def method(self, **using: Any) -> DiffSpect:
        """The network with settings of use."""
        return DiffSpect.restored(self.weights).using(**using)

    def cases(self, setting: str, split: str = "test") -> list[Case]:
        """Persons of a split under a setting."""
        studies = one_scan_each(open_cohort(self.cohort).split(split), self.persons)
        iterations = DiffSpect.restored(self.weights).iterations
        return [Case.of(study, setting, iterations) for study in studies]


def by_steps(asked: Asked) -> Iterator[dict[str, Any]]:
    """Quality and time against the number of network evaluations."""
    for setting in asked.settings:
        cases = asked.cases(setting)
        yield {"setting": setting, "method": "MLEM", **_stated([case.error("mlem") for case in cases])}
        for steps in asked.steps:
            method, began = asked.method(steps=steps), time.process_time()
            row = _stated([case.error_with(method) for case in cases])
            seconds = round((time.process_time() - began) / len(cases), 1)
            memory = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2)
            yield {"setting": setting, "steps": steps, **row, "seconds": seconds, "peak memory, GiB": memory}


def intervals(asked: Asked) -> Iterator[dict[str, Any]]:
    """Shares of heart voxels in the intervals that samples give, as they are and calibrated on validation persons."""
    for setting in asked.settings:
        method = asked.method(steps=asked.steps[0], samples=asked.samples)
        known = {
            split: [_errors(case, method) for case in asked.cases(setting, split)] for split in ("validation", "test")
        }
        for name, used in (("as sampled", None), ("calibrated", fit_calibration(known["validation"]))):
            each = [coverage([one], used) for one in known["test"]]
            shares = {f"within {level:.0%}, %": _interval([100 * one[level] for one in each]) for level in each[0]}
            width = round(100 * sharpness(known["test"], used), 1)
            yield {
                "setting": setting,
                "intervals": name,
                "persons": len(each),
                **shares,
                "width of 95 %, % of level": width,
            }


def without_ct(asked: Asked) -> Iterator[dict[str, Any]]:
    """The answer with a map predicted from NAC of the same few counts, over the one with the map of CT."""
    method = asked.method(steps=asked.steps[0])
    for setting in asked.settings:
        cases = asked.cases(setting)
        blind = [_blind(case, asked.map_weights) for case in cases]
        seeing = [case.error_with(method) for case in cases]
        free = [case.error_with(method) for case in blind]
        yield {
            "setting": setting,
            **_stated(free),
            "with CT": _interval(seeing),
            "ratio": _ratio(free, seeing),
            "MLEM, with CT": _interval([case.error("mlem") for case in cases]),
        }


def other_camera(asked: Asked) -> Iterator[dict[str, Any]]:
    """The same weights on projections of parallel holes, scatter and all."""
    method = asked.method(steps=asked.steps[0], scatter="scatter")
    filtered = Mlem(makes="ac", gaussian_mm=10.0)
    for setting in asked.settings:
        cases = asked.cases(setting)
        ours, plain = [case.error_with(method) for case in cases], [case.error_with(filtered) for case in cases]
        yield {
            "setting": setting,
            **_stated(ours),
            "MLEM, 10 mm Gaussian": _interval(plain),
            "ratio": _ratio(ours, plain),
        }


EXPERIMENTS: Mapping[str, Callable[[Asked], Iterator[dict[str, Any]]]] = {
    "steps": by_steps,
    "intervals": intervals,
    "ct-free": without_ct,
    "camera": other_camera,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--persons", type=int, default=10)
    parser.add_argument("--settings", nargs="+", default=["5%", "5 views"])
    parser.add_argument("--steps", type=int, nargs="+", default=[5])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--map-weights", type=Path)
    parser.add_argument("--out", type=Path)
    given = vars(parser.parse_args())
    experiment, out = EXPERIMENTS[given.pop("experiment")], given.pop("out")
    rows = []
    for row in experiment(Asked(**given)):
        rows.append(row)
        print(json.dumps(row), flush=True)
    if out:
        out.write_text(json.dumps(rows, indent=1) + "\n")


def _blind(case: Case, map_weights: Path | None) -> Case:
    """The case with the map, and the MLEM, that one gets without CT; the heart is found in the few counts too."""
    volumes = {name: volume for name, volume in case.study.volumes.items() if name not in ("mu", "nac", "mlem")}
    facts = {name: fact for name, fact in case.study.facts.items() if name != "heart"}
    study = replace(case.study, volumes=volumes, facts=facts)
    return Case(with_predicted_mu(study, case.study["mu"].grid, map_weights), case.heart)


def _errors(case: Case, method: DiffSpect) -> Any:
    made = method(case.study)
    answer = case.study.add({"answer": made["ac"], "answer_sd": made["ac_sd"]}, ANSWERED)
    return errors_of(answer, of="answer", truth=TRUTH)


def _stated(errors: Sequence[float]) -> dict[str, Any]:
    return {"persons": len(errors), "heart NRMSE, %": _interval(errors)}


def _interval(values: Sequence[float]) -> str:
    middle, low, high = bootstrap_interval(values, generator=torch.Generator().manual_seed(0))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    middle, low, high = ratio_interval(ours, theirs, generator=torch.Generator().manual_seed(0))
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
