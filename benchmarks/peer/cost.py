"""How the projector's cost grows with voxels and views, beside the floor of the machine it runs on.

python benchmarks/peer/cost.py [--quick] [--threads 2] [--device cpu|cuda] [--out benchmarks/results/cost.json]

The floor is what a forward must move and compute, at the bandwidth of a copy and the rate of a matrix product that are
measured in the same run. On a GPU it is the GEMM form, with OSEM of a batch of studies.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torso import Job, processor, seconds

from photopeak.recon.iterate import osem

SIZES, VIEWS = (64, 96, 128), (15, 30, 60, 120)
READS_PER_VOXEL = 2
"""Image and mu once for each view, float32; what is rotated stays in cache."""
FLOPS_PER_VOXEL = {
    "rotate image and mu, four neighbours each": 2 * 4 * 2,
    "survival: path, product and an exponential of ten": 12,
    "two blurs of three taps": 2 * 5,
    "sum over depth": 1,
}
BATCH = 16


def needs(job: Job) -> tuple[float, float]:
    """Bytes and floating-point operations that a forward cannot do without."""
    voxels = job.views * job.size**3
    return voxels * READS_PER_VOXEL * 4 + job.views * job.size**2 * 4, voxels * sum(FLOPS_PER_VOXEL.values())


def machine(device: str) -> dict[str, object]:
    """Name, threads, GB/s of a copy (read and write counted) and GFLOP/s of a float32 matrix product."""
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)
    square = torch.rand(2048, 2048, device=device)
    return {
        "processor": processor() if device == "cpu" else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "copy_gb_per_s": 2 * 4e-9 * source.numel() / seconds(finished(lambda: target.copy_(source), device)),
        "gemm_gflop_per_s": 2e-9 * 2048**3 / seconds(finished(lambda: square @ square, device)),
    }


def finished(work: Callable[[], object], device: str) -> Callable[[], object]:
    """`work`, returning only when the device is done."""

    def run() -> None:
        work()
        if device != "cpu":
            torch.cuda.synchronize()

    return run


def measured(job: Job, device: str, floor: dict[str, object]) -> dict[str, object]:
    """Seconds of forward and adjoint, what a forward needs, and the time that this machine could do it in."""
    image, mu = job.scene()
    system = job.camera.system(job.grid, mu.to(device))
    image = image.to(device)
    counts = system(image)
    moved, computed = needs(job)
    return {
        "job": str(job),
        "size": job.size,
        "views": job.views,
        "forward_s": seconds(finished(lambda: system(image), device)),
        "adjoint_s": seconds(finished(lambda: system.T(counts), device)),
        "needs_gb": moved * 1e-9,
        "needs_gflop": computed * 1e-9,
        "floor_s": max(moved * 1e-9 / floor["copy_gb_per_s"], computed * 1e-9 / floor["gemm_gflop_per_s"]),
    }


def batch(job: Job, device: str) -> dict[str, object]:
    """OSEM 4x10 of a batch of studies that share a camera and mu."""
    image, mu = job.scene()
    system = job.camera.system(job.grid, mu.to(device), memory_mb=16384)
    counts = system(image.to(device)).expand(BATCH, -1, -1, -1).contiguous()
    torch.cuda.reset_peak_memory_stats()
    taken = seconds(finished(lambda: osem(system, counts, iterations=4, subsets=10), device))
    peak_mb = torch.cuda.max_memory_allocated() / 2**20
    return {"job": str(job), "studies": BATCH, "osem_s": taken, "peak_mb": peak_mb}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="up to 64^3")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sizes = (32, 48, 64) if given.quick else SIZES
    about = machine(given.device)
    print(json.dumps(about), flush=True)
    rows = []
    for job in dict.fromkeys([*(Job(size, 60) for size in sizes), *(Job(sizes[-1], views) for views in VIEWS)]):
        rows.append(measured(job, given.device, about))
        print(json.dumps(rows[-1]), flush=True)
    result = {"machine": about, "growth": rows}
    if given.device == "cuda":
        result["batch"] = batch(Job(sizes[-1], 60), given.device)
        print(json.dumps(result["batch"]), flush=True)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
