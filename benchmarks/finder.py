"""How far the found left ventricle is from the true one, on simulated patients' NAC images.

python benchmarks/finder.py [--patients 20] [--seed 77] [--out FILE.json]
"""

import argparse
import json
from pathlib import Path

import numpy as np

from photopeak.cli.simulate import simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    shifts, turns = [], []
    for number in range(options.patients):
        facts = simulate(f"patient_{number:04d}", number=number, seed=options.seed).facts
        found, true = facts["heart"], facts["truth"]
        shifts.append(np.linalg.norm(np.subtract(found["centre_mm"], true["heart_centre_mm"])))
        cosine = np.clip(np.dot(found["long_axis"], true["long_axis"]), -1, 1)
        turns.append(np.degrees(np.arccos(cosine)))
    rows = {
        "patients": options.patients,
        **{f"centre_mm_{name}": float(f(shifts)) for name, f in FIGURES.items()},
        **{f"axis_deg_{name}": float(f(turns)) for name, f in FIGURES.items()},
    }
    print(", ".join(f"{key} {value:.3g}" for key, value in rows.items()))
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1))


FIGURES = {"median": np.median, "p95": lambda values: np.quantile(values, 0.95), "max": np.max}

if __name__ == "__main__":
    main()
