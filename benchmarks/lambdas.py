"""Refits how strongly DiffSPECT-3D follows the data, by count fraction and by share of views: `Lambdas`.

python benchmarks/lambdas.py COHORT WEIGHTS [--persons 3] [--steps 5] [--write WEIGHTS] [--out FILE.json]

On validation persons, columns are searched one after the other: where sampling starts, the gradient, total variation,
the share of EM. Values are tried in order, until one is worse than the best. The least heart NRMSE over that of MLEM
wins, geometric mean over persons and settings. One scan of each person, stress and rest by turns.
"""

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from intervals import one_scan_each
from low_dose import Case

from photopeak.core import Study
from photopeak.io.cohort import open_cohort
from photopeak.learn.learned import LearnedMethod
from photopeak.methods.diffspect import DiffSpect
from photopeak.methods.diffspect_settings import Lambdas

COUNTS: Mapping[float, tuple[str, ...]] = {0.01: ("1%",), 0.05: ("5%",), 0.2: ("20%",), 0.5: ("50%",)}
VIEWS: Mapping[float, tuple[str, ...]] = {1 / 19: ("1 view",), 3 / 19: ("3 views",), 9 / 19: ("9 views",)}
TRIED: Mapping[str, tuple[float, ...]] = {
    "start": (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9),
    "dps": (0.03, 0.1, 0.2),
    "tv": (0.01, 0.03, 0.06),
    "em": (0.5,),
}
FIRST = {"dps": 0.0, "em": 1.0, "tv": 0.0}


def refitted_row(method: DiffSpect, cases: Sequence[Case], fraction: float, steps: int) -> dict[str, Any]:
    """The best strengths at a fraction, their NRMSE over MLEM's, and that of the paper's."""
    begun = [case.error("mlem") for case in cases]

    def over_mlem(used: DiffSpect) -> float:
        ratios = [case.error_with(used) / first for case, first in zip(cases, begun, strict=True)]
        return math.prod(ratios) ** (1 / len(ratios))

    def error(row: Mapping[str, float]) -> float:
        table = Lambdas.of({"fractions": [fraction], **{name: [value] for name, value in row.items()}})
        return over_mlem(method.using(steps=steps, lambdas=table))

    best, row = math.inf, dict(FIRST)
    for name, values in TRIED.items():
        for value in values:
            tried = {**row, name: value}
            found = error(tried)
            print(f"  {fraction:.3g}  {name} {value:g}: {found:.3f} (best {best:.3f})", flush=True)
            if found > best:
                break
            best, row = found, tried
    printed = over_mlem(method.using(steps=steps, every=max(1, round(steps * 0.4)), noises=2, lambdas="printed"))
    return {"fraction": fraction, **row, "NRMSE over MLEM's": best, "with the paper's": printed}


def refitted(
    method: DiffSpect, studies: Sequence[Study], settings: Mapping[float, tuple[str, ...]], steps: int
) -> Iterator[dict[str, Any]]:
    """A row for each fraction."""
    for fraction, names in settings.items():
        cases = [Case.of(study, setting, method.iterations) for study in studies for setting in names]
        row = refitted_row(method, cases, fraction, steps)
        yield {**row, "settings": names, "persons": len(studies), "steps": steps}


def with_lambdas(method: DiffSpect, lambdas: Lambdas) -> DiffSpect:
    """The same weights in a method that follows other strengths unless told otherwise."""
    other = type(method)(**{**method.arguments, "lambdas": lambdas.to_dict()})
    other.use_weights(method.players.state_dict())
    other.card = method.card
    return other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--persons", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--write", type=Path, help="the same weights with the refitted strengths")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    method = DiffSpect.restored(given.weights)
    studies = one_scan_each(open_cohort(given.cohort).split("validation"), given.persons)
    rows, tables = [], []
    names = {"fractions": "fraction", "dps": "dps", "em": "em", "tv": "tv", "start": "start"}
    for settings in (COUNTS, VIEWS):
        table = []
        for row in refitted(method, studies, settings, given.steps):
            table.append(row)
            print(json.dumps(row), flush=True)
        rows += table
        tables.append(Lambdas.of({column: [row[name] for row in table] for column, name in names.items()}))
    lambdas = replace(tables[0], views=tables[1])
    if given.write:
        LearnedMethod.save(with_lambdas(method, lambdas), given.write)
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
