"""How far the attenuation map that Concord predicts from NAC is from the true one, on persons of the test split.

python benchmarks/map_error.py COHORT [--weights FILE] [--persons 86] [--out FILE.json]

Mean absolute error over the mean of the true map (over breaths), in the body within 100 mm of the heart and in all of
the body, and the bias of the mean; one scan of each person, stress and rest by turns; 95 % bootstrap intervals.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from intervals import one_scan_each

from photopeak.core import Study
from photopeak.evaluate.patients import heart_mask
from photopeak.evaluate.stats import bootstrap_interval
from photopeak.io.cohort import open_cohort
from photopeak.methods import method as method_named
from photopeak.methods.heart_slices import heart_of

BODY_PER_CM, NEAR_MM = 0.02, 100.0


def errors(study: Study, concord: Any) -> dict[str, float]:
    """Per cent, by region."""
    seen = study.only("nac")
    predicted, true = concord.prepared(seen)["mu_predicted"].data, study["mu_true"].data
    body = true > BODY_PER_CM
    near = body & heart_mask(study["mu_true"].grid, heart_of(study), NEAR_MM)
    found = {
        f"error {name}": float(100 * (predicted - true)[region].abs().mean() / true[region].mean())
        for name, region in (("near the heart", near), ("in the body", body))
    }
    return {**found, "bias near the heart": float(100 * (predicted - true)[near].mean() / true[near].mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--persons", type=int, default=86)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    concord = method_named("concord", given.weights)
    people = [errors(study, concord) for study in one_scan_each(open_cohort(given.cohort).split("test"), given.persons)]
    row: dict[str, Any] = {"persons": len(people)}
    for name in people[0]:
        values = [one[name] for one in people]
        middle, low, high = bootstrap_interval(values, generator=torch.Generator().manual_seed(0))
        row[f"{name}, %"] = f"{middle:.1f} ({low:.1f} to {high:.1f})"
    print(json.dumps(row, indent=1))
    if given.out:
        given.out.write_text(json.dumps([row], indent=1) + "\n")


if __name__ == "__main__":
    main()
