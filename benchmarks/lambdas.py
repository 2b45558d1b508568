"""Refits how strongly DiffSPECT-3D follows the data, by count fraction, on validation persons: `Lambdas`.

python benchmarks/lambdas.py COHORT WEIGHTS [--persons 3] [--steps 8] [--write WEIGHTS] [--out FILE.json]

Columns are searched one after the other, from the paper's fits: where sampling starts, the share of EM, the gradient,
total variation. Counts and views share a row where they leave about as many counts. The least heart NRMSE over that of
MLEM wins, geometric mean over persons and settings. One scan of each person of the validation split, stress and rest by
turns.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from intervals import one_scan_each
from low_dose import Case

from photopeak.io.cohort import open_cohort
from photopeak.learn.learned import LearnedMethod
from photopeak.methods.diffspect import DiffSpect
from photopeak.methods.diffspect_settings import Lambdas

ROWS: Mapping[float, tuple[str, ...]] = {
    0.01: ("1%",),
    0.05: ("5%", "1 view"),
    0.17: ("20%", "3 views"),
    0.5: ("50%", "9 views"),
}
TRIED: Mapping[str, tuple[float, ...]] = {
    "start": (0.05, 0.1, 0.2, 0.4),
    "em": (0.3, 1.0),
    "dps": (0.0, 0.1, 0.3),
    "tv": (0.0, 0.04),
}


def refitted_row(method: DiffSpect, cases: Sequence[Case], fraction: float, steps: int) -> dict[str, Any]:
    """The best strengths at a count fraction, their NRMSE over MLEM's, and that of the paper's."""
    begun = [case.error("mlem") for case in cases]

    def error(row: Mapping[str, float]) -> float:
        table = Lambdas((fraction,), **{name: (value,) for name, value in row.items()})
        used = method.using(steps=steps, lambdas=table)
        ratios = [case.error_with(used) / first for case, first in zip(cases, begun, strict=True)]
        return math.prod(ratios) ** (1 / len(ratios))

    row = Lambdas.printed().at(fraction)
    printed = best = error(row)
    for name, values in TRIED.items():
        for value in values:
            tried = {**row, name: value}
            found = error(tried)
            print(f"  {fraction:g}  {name} {value:g}: {found:.3f} (best {best:.3f})", flush=True)
            if found < best:
                best, row = found, tried
    return {"fraction": fraction, **row, "NRMSE over MLEM's": best, "with the paper's": printed}


def with_lambdas(method: DiffSpect, lambdas: Lambdas) -> DiffSpect:
    """The same weights in a method that follows other strengths unless told otherwise."""
    arguments = {**method.arguments, "lambdas": {name: list(column) for name, column in asdict(lambdas).items()}}
    other = type(method)(**arguments)
    other.use_weights(method.players.state_dict())
    other.card = method.card
    return other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--persons", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--write", type=Path, help="the same weights with the refitted strengths")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    method = DiffSpect.restored(given.weights)
    studies = one_scan_each(open_cohort(given.cohort).split("validation"), given.persons)
    rows = []
    for fraction, settings in ROWS.items():
        cases = [Case.of(study, setting, method.iterations) for study in studies for setting in settings]
        row = refitted_row(method, cases, fraction, given.steps)
        rows.append({**row, "settings": settings, "persons": len(studies), "steps": given.steps})
        print(json.dumps(rows[-1]), flush=True)
    names = {"fractions": "fraction", "dps": "dps", "em": "em", "tv": "tv", "start": "start"}
    lambdas = Lambdas(**{column: tuple(row[name] for row in rows) for column, name in names.items()})
    if given.write:
        LearnedMethod.save(with_lambdas(method, lambdas), given.write)
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
