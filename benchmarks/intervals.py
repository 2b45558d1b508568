"""How often the truth of test persons lies in the intervals that a calibrated method states: nominally 50, 80, 95 %.

python benchmarks/intervals.py COHORT [--method concord] [--weights FILE] [--persons 40] [--samples 8] [--truth VOLUME]
    [--out FILE.json]

One scan of each person of the test split, stress and rest by turns; the calibration travels in the weights, where
validation scans have put it, for the settings of use that stand beside it. Shares of the voxels of the heart volume of
interest, or for PET of the body; mean over persons, 95 % interval.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from photopeak.cli.synthesize_method import calibrated_for
from photopeak.core import Study
from photopeak.evaluate.calibration import Calibration, Errors, coverage, errors_of, region_of, sharpness
from photopeak.evaluate.stats import bootstrap_interval
from photopeak.io.cohort import Cohort, open_cohort
from photopeak.methods import method as method_named

TRUTHS = {"ac": "ac_clean", "pet": "pet"}


def one_scan_each(cohort: Cohort, persons: int) -> list[Study]:
    """Stress of the first person, rest of the second, and so on."""
    names = list(cohort.persons.values())[:persons]
    order = list(cohort.names)
    return [cohort[order.index(scans[turn % len(scans)])] for turn, scans in enumerate(names)]


def errors(study: Study, method: Any, truth: str | None) -> Errors:
    """Errors and stated spreads of the answer to a study of which the method sees what it reads."""
    region = region_of(method.writes)
    assert region is not None
    answer = method(study.only(*method.reads))
    spreads = {"answer": answer[region.answer], "answer_sd": answer[f"{region.answer}_sd"]}
    judged = study.add(spreads, answer.history[-1])
    return errors_of(judged, of="answer", truth=truth or TRUTHS[region.answer], region=region)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--method", default="concord")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--persons", type=int, default=40)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--truth", help="the volume that it was calibrated for; ac_clean, or for PET the measured one")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    method: Any = method_named(given.method, given.weights)
    method = method.using(**{**calibrated_for(method.card), "samples": given.samples})
    calibration = Calibration.from_dict(method.card["calibration"])
    people = [
        errors(study, method, given.truth)
        for study in one_scan_each(open_cohort(given.cohort).split("test"), given.persons)
    ]
    rows = []
    for what, used in (("as sampled", None), ("calibrated", calibration)):
        each = [coverage([one], used) for one in people]
        row: dict[str, Any] = {"intervals": what, "persons": len(people)}
        for level in each[0]:
            values = [100 * shares[level] for shares in each]
            middle, low, high = bootstrap_interval(values, generator=torch.Generator().manual_seed(0))
            row[f"within {level:.0%}, %"] = f"{middle:.1f} ({low:.1f} to {high:.1f})"
        row["width of 95 %, % of level"] = round(100 * sharpness(people, used), 1)
        rows.append(row)
        print(json.dumps(row, indent=1))
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
