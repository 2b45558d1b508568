"""Random 2D slice pairs a second, read from a cohort on disk by one process, warm.

python benchmarks/slices.py [COHORT] [--pairs 30000] [--out FILE.json]

Without a cohort, two are written: 848 scans of 40x64x64 and 100 of 80x128x128, "nac" and "ac".
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from photopeak.core import COUNTS, Grid, Study, Volume
from photopeak.io.cohort import Cohort, open_cohort, write_manifest
from photopeak.io.slices import ORIENTATIONS, Orientation
from photopeak.io.store import save_study

SIZES = ((848, (40, 64, 64), 6.4), (100, (80, 128, 128), 3.2))
NEEDED_PER_S = 15_000


def cohort_of_noise(folder: Path, scans: int, shape: tuple[int, int, int], voxel_mm: float) -> Cohort:
    """Scans of random numbers: what is in a slice does not change how fast it is read."""
    grid, generator = Grid.regular(shape, voxel_mm), torch.Generator().manual_seed(0)
    names = [f"scan_{number:04d}" for number in range(scans)]
    for name in names:
        volumes = {n: Volume(torch.rand(shape, generator=generator), grid, COUNTS) for n in ("nac", "ac")}
        save_study(Study(name, volumes), folder / name)
    write_manifest(folder, dict.fromkeys(names, "train"), about={"benchmark": "slices"})
    return open_cohort(folder)


def pairs_per_s(cohort: Cohort, orientation: Orientation, pairs: int) -> float:
    """Random pairs, each a copy of its own, after all of them have been read once."""
    slices, generator = cohort.slices("nac", "ac", orientation=orientation), torch.Generator().manual_seed(1)
    for number in range(len(slices)):
        slices[number]
    numbers = torch.randint(len(slices), (pairs,), generator=generator).tolist()
    began = time.perf_counter()
    for number in numbers:
        slices[number]
    return pairs / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path, nargs="?")
    parser.add_argument("--pairs", type=int, default=30_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.cohort is not None:
            cohort = open_cohort(arguments.cohort)
            cohorts = {f"{len(cohort)} scans of {cohort[0]['nac'].grid.shape}": cohort}
        else:
            cohorts = {
                f"{n} scans of {shape}": cohort_of_noise(Path(scratch) / str(n), n, shape, mm) for n, shape, mm in SIZES
            }
        rows = [
            {
                "cohort": label,
                "orientation": orientation,
                "pairs_per_s": pairs_per_s(cohort, orientation, arguments.pairs),
            }
            for label, cohort in cohorts.items()
            for orientation in ORIENTATIONS
        ]
    for row in rows:
        ratio = row["pairs_per_s"] / NEEDED_PER_S
        print(f"{row['cohort']}, {row['orientation']}: {row['pairs_per_s']:.0f} pairs/s, {ratio:.2f} of {NEEDED_PER_S}")
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
