"""Seconds to correct one whole study, loading of weights not counted: steps, samples and threads.

python benchmarks/correct.py [--methods LABEL=WEIGHTS ...] [--steps 1 5 20 100 200] [--samples 1 8] [--threads 1 2]
    [--repeats 2] [--most-seconds 60] [--out benchmarks/results/correct.json]

WEIGHTS is a file written by training, or the name of a method whose weights are shipped. The study is simulated, 40
slices of 64x64; the heart is found beforehand, in seconds that are listed by themselves. The wall seconds are the best
of the repeats; beside them are the processor's seconds, which depend less on what else the machine does. What would
take longer than --most-seconds, judged by what was measured with fewer evaluations of the network, is not run: its row
has no seconds, only what is to be expected.
"""

import argparse
import inspect
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from photopeak.cardiac.find import find_heart
from photopeak.cli.simulate import simulate
from photopeak.core import Study
from photopeak.learn.checkpoint import load_checkpoint
from photopeak.methods import method

Row = dict[str, Any]
RESULTS = Path(__file__).resolve().parent / "results"
SHIPPED = ("concord", "padm")


def restored(weights: str) -> Any:
    """The method of a weights file, or the shipped one of this name."""
    path = Path(weights)
    return method(str(load_checkpoint(path)[1]["method"]), path) if path.is_file() else method(weights)


def labelled(pairs: Sequence[str]) -> dict[str, Any]:
    """Methods by label, of LABEL=WEIGHTS."""
    return {label: restored(weights or label) for label, _, weights in (pair.partition("=") for pair in pairs)}


def timed(made: Any, study: Study, repeats: int) -> Row:
    """Best wall seconds and the processor's seconds of that call."""
    runs = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        made(study)
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    seconds, processor = min(runs)
    return {"seconds": round(seconds, 3), "cpu_seconds": round(processor, 3)}


def rows(label: str, made: Any, study: Study, asked: argparse.Namespace) -> Iterator[Row]:
    """All settings of one method, from few evaluations of its network to many."""
    takes = inspect.signature(made.using).parameters
    every = {name: getattr(asked, name) if name in takes else [1] for name in ("steps", "samples")}
    settings = [(steps, samples) for samples in every["samples"] for steps in every["steps"]]
    for threads in asked.threads:
        torch.set_num_threads(threads)
        fixed_s, each_s = 0.0, 0.0
        for steps, samples in sorted(settings, key=lambda pair: pair[0] * pair[1]):
            evaluations = steps * samples
            row: Row = {"method": label, "steps": steps, "samples": samples, "threads": threads}
            expected = fixed_s + each_s * evaluations
            if expected > asked.most_seconds:
                yield {**row, "seconds": None, "expected_seconds": round(expected, 1)}
                continue
            used = made.using(**{k: v for k, v in (("steps", steps), ("samples", samples)) if k in takes})
            found = timed(used, study, asked.repeats if expected < asked.most_seconds / 4 else 1)
            fixed_s = found["seconds"] if evaluations == 1 else min(fixed_s, found["seconds"])
            each_s = max((found["seconds"] - fixed_s) / evaluations, 0.0) or each_s
            yield {**row, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(SHIPPED), metavar="LABEL=WEIGHTS")
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 5, 20, 100, 200])
    parser.add_argument("--samples", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--most-seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=RESULTS / "correct.json")
    asked = parser.parse_args()
    methods = labelled(asked.methods)
    scan = simulate(seed=3)
    began = time.perf_counter()
    heart = find_heart(scan["nac"])
    finding_s = time.perf_counter() - began
    study = Study(scan.name, {"nac": scan["nac"]}, scan.projections).with_facts(heart=heart.to_dict())
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_at_start": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
    }
    measured = []
    for label, made in methods.items():
        made(study)
        for row in rows(label, made, study, asked):
            print(row, flush=True)
            measured.append(row)
    record = {"machine": machine, "slices": 40, "find_heart_seconds": round(finding_s, 2), "rows": measured}
    asked.out.write_text(json.dumps(record, indent=1) + "\n")
    print(asked.out)


if __name__ == "__main__":
    main()
