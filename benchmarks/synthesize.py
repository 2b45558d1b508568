"""Seconds and memory of `photopeak synthesize` on a CT of 250 slices of 256x256, by number of samples.

python benchmarks/synthesize.py [--weights FILE] [--samples 1 4] [--threads 2]
    [--out benchmarks/results/synthesize.json]

The CT is a simulated torso twice, one on top of the other: 96 cm long and 45 cm wide, as from head to thighs, in voxels
of 3.84 x 1.75 x 1.75 mm. Reading, report and NIfTI are counted; each row is a process of its own. The bar is 600 s on
two cores for the settings that the shipped weights are calibrated for.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from photopeak.cli.simulate_petct import simulate_person
from photopeak.cli.synthesize import synthesize
from photopeak.cli.synthesize_method import ready
from photopeak.core import HU, Grid, Volume
from photopeak.io.ct_source import read_ct_source
from photopeak.io.nifti import write_nifti

SHAPE, VOXEL_MM = (250, 256, 256), (3.84, 1.75, 1.75)
KVP, AIR_HU = 120.0, -1000.0
RESULTS = Path(__file__).resolve().parent / "results"


def long_ct(folder: Path) -> Path:
    """A CT of 250 slices as NIfTI."""
    torso = simulate_person(seed=3)["ct"]
    twice = torch.cat([torso.data, torso.data])
    grid = Grid.regular(twice.shape, torso.grid.spacing_mm)
    path = folder / "ct.nii.gz"
    write_nifti(Volume(twice, grid, HU).on(Grid.regular(SHAPE, VOXEL_MM), outside=AIR_HU), path)
    return path


def one(ct: Path, out: Path, weights: Path | None, samples: int, threads: int) -> dict[str, Any]:
    """One run in this process."""
    torch.set_num_threads(threads)
    wall, cpu = time.perf_counter(), time.process_time()
    method = ready(None, weights, {"samples": samples})
    made = synthesize(read_ct_source(ct, kvp=KVP), method, out)
    return {
        "method": method.name,
        "samples": samples,
        "steps": method.steps,
        "threads": threads,
        "PET voxels": "x".join(map(str, made["pet"].grid.shape)),
        "seconds": round(time.perf_counter() - wall, 1),
        "processor seconds": round(time.process_time() - cpu, 1),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "processor": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "synthesize.json")
    parser.add_argument("--ct", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.ct is not None:
            row = one(given.ct, Path(folder) / "out", given.weights, given.samples[0], given.threads)
            given.out.write_text(json.dumps(row))
            return
        ct, rows = long_ct(Path(folder)), []
        for samples in given.samples:
            told = Path(folder) / f"{samples}.json"
            asked = ["--ct", ct, "--out", told, "--samples", samples, "--threads", given.threads]
            asked += [] if given.weights is None else ["--weights", given.weights]
            subprocess.run([sys.executable, __file__, *map(str, asked)], check=True)
            rows.append(json.loads(told.read_text()))
            print(rows[-1], flush=True)
    given.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(given.out)


if __name__ == "__main__":
    main()
