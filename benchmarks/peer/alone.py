"""OSEM by one code in a process of its own: seconds and peak memory; called by beside.py.

python benchmarks/peer/alone.py CODE FOLDER SIZE VIEWS THREADS

Reads FOLDER/counts.npy, writes FOLDER/CODE.npy and FOLDER/CODE.json. Only the code that runs is imported.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torso import Job

from photopeak.recon.iterate import osem

PEER = "pytomography"
ITERATIONS, SUBSETS = 4, 10


def reconstruct(who: str, job: Job, counts: Tensor) -> Tensor:
    if who == PEER:
        from peer import peer_osem

        return peer_osem(job, counts, iterations=ITERATIONS, subsets=SUBSETS)
    system = job.camera.system(job.grid, job.scene()[1], engine=who)
    return osem(system, counts, iterations=ITERATIONS, subsets=SUBSETS)


def memory_mb(field: str) -> float:
    """Of this process; Linux keeps VmHWM for the program alone, where getrusage's peak starts at its parent's."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[field].split()[0]) / 1024


def main() -> None:
    who, folder, size, views, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    reconstruct(who, Job(16, 10), torch.ones(10, 16, 16))
    at_start = memory_mb("VmRSS")
    counts = torch.from_numpy(np.load(f"{folder}/counts.npy"))
    began = time.perf_counter()
    image = reconstruct(who, Job(int(size), int(views)), counts)
    taken = time.perf_counter() - began
    np.save(f"{folder}/{who}.npy", image.numpy())
    row = {"seconds": taken, "peak_mb": memory_mb("VmHWM"), "at_start_mb": at_start}
    Path(folder, f"{who}.json").write_text(json.dumps(row))


if __name__ == "__main__":
    main()
