"""The parallel-hole projector beside PyTomography 3.4.0, in one run on one machine: seconds, agreement, truth, memory.

python benchmarks/peer/beside.py [--quick] [--threads 2] [--out benchmarks/results/beside.json]

Needs an environment that has both (``make bench-peer``). OSEM runs in a process of its own for each code, so that its
peak of memory is its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from alone import ITERATIONS, PEER, SUBSETS
from peer import VERSION, peer_system, to_peer
from torch import Tensor
from torso import Job, processor, seconds

from photopeak.core import Grid, Volume

ENGINES = ("gemm", "compiled")
FINE = 256
FINE_VIEWS = 4


def projectors(job: Job) -> dict[str, object]:
    """Seconds of forward and adjoint, their ratios, and how far each forward lies from the other and from truths."""
    image, mu = job.scene()
    systems = {engine: job.camera.system(job.grid, mu, engine=engine) for engine in ENGINES}
    peer, peer_image = peer_system(job), to_peer(image)
    seen = {PEER: peer.forward(peer_image).mT} | {engine: system(image) for engine, system in systems.items()}
    counts = seen["compiled"]
    peer_counts = counts.mT.contiguous()
    seen_by_all = in_circle(job)
    forward = {PEER: seconds(lambda: peer.forward(peer_image))}
    adjoint = {PEER: seconds(lambda: peer.backward(peer_counts))}
    for engine, system in systems.items():
        forward[engine] = seconds(lambda system=system: system(image))
        adjoint[engine] = seconds(lambda system=system: system.T(counts))

    same_kernel = job.camera.system(job.grid, mu, engine="gemm", kernel="sampled")
    exact = job.camera.system(job.grid, mu.with_data(mu.data.double()), engine="gemm")(image.double())
    few = list(range(0, job.views, -(-job.views // FINE_VIEWS)))
    fine = finely(job, few)
    return {
        "forward_s": forward,
        "adjoint_s": adjoint,
        "forward_ratio": ratios(forward),
        "adjoint_ratio": ratios(adjoint),
        "peer_to_ours_same_kernel": distance(seen[PEER], same_kernel(image)),
        "peer_adjoint_to_transpose": distance(
            to_peer(peer.backward(peer_counts))[:, seen_by_all], same_kernel.T(counts)[:, seen_by_all]
        ),
        "peer_to_compiled": distance(seen["compiled"], seen[PEER]),
        "to_pixel_integrated": {who: distance(y, exact) for who, y in seen.items()},
        "to_fine_voxels": {who: distance(y[few], fine) for who, y in seen.items()},
    }


def finely(job: Job, views: list[int]) -> Tensor:
    """Some views of the same voxels cut into cubes of 1.6 mm, gathered on the job's pixels: nobody's kernel."""
    factor = FINE // job.size
    image, mu = job.scene()
    grid = Grid.regular((FINE,) * 3, job.voxel_mm / factor)
    cut = [
        v.repeat_interleave(factor, 0).repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        for v in (image, mu.data)
    ]
    camera = Job(FINE, job.views).camera.views(views)
    seen = camera.system(grid, Volume(cut[1], grid, mu.quantity), engine="gemm")(cut[0] / factor**3)
    return seen.reshape(len(views), job.size, factor, job.size, factor).sum((2, 4))


def in_circle(job: Job) -> Tensor:
    """[y, x] voxels inside every view's columns; in the corners PyTomography pads and we do not."""
    offset = torch.arange(job.size) - (job.size - 1) / 2
    return torch.hypot(offset[:, None], offset[None, :]) < job.size / 2 - 1


def reconstructions(job: Job) -> dict[str, object]:
    """Seconds, peak memory and error of OSEM by each code on the same noisy counts, each in its own process."""
    image, mu = job.scene()
    expected = job.camera.system(job.grid, mu)(image)
    counts = torch.poisson(20 * expected / expected.mean(), generator=torch.Generator().manual_seed(0))
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/counts.npy", counts.numpy())
        for who in (PEER, *ENGINES):
            arguments = [who, folder, str(job.size), str(job.views), str(torch.get_num_threads())]
            command = [sys.executable, str(Path(__file__).with_name("alone.py")), *arguments]
            subprocess.run(command, check=True)
            found[who] = json.loads(Path(folder, f"{who}.json").read_text())
            made = torch.from_numpy(np.load(f"{folder}/{who}.npy")) * (expected.mean() / 20)
            found[who]["error"] = distance(made, image)
    taken = {who: row["seconds"] for who, row in found.items()}
    return {
        "osem_s": taken,
        "osem_ratio": ratios(taken),
        "osem_peak_mb": {who: row["peak_mb"] for who, row in found.items()},
        "at_start_mb": {who: row["at_start_mb"] for who, row in found.items()},
        "osem_error": {who: row["error"] for who, row in found.items()},
    }


def ratios(taken: dict[str, float]) -> dict[str, float]:
    return {who: taken[PEER] / taken[who] for who in taken if who != PEER}


def distance(found: Tensor, truth: Tensor) -> float:
    """Relative L2."""
    return float((found.double() - truth.double()).norm() / truth.double().norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="64^3 alone; PyTomography needs eight minutes for 128^3")
    parser.add_argument("--size", type=int, help="one size instead, to try this out")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    jobs = [Job(64, 64)] if given.quick else [Job(64, 64), Job(128, 60)]
    if given.size:
        jobs = [Job(given.size, 10)]
    machine = {
        "processor": processor(),
        "threads": given.threads,
        "torch": torch.__version__,
        "pytomography": VERSION,
        "osem": f"{ITERATIONS}x{SUBSETS}",
        "fine_views": FINE_VIEWS,
    }
    rows = []
    for job in jobs:
        rows.append({"job": str(job), "size": job.size, "voxel_mm": job.voxel_mm, "views": job.views})
        rows[-1] |= projectors(job)
        print(json.dumps(rows[-1], indent=1), flush=True)
        rows[-1] |= reconstructions(job)
        print(json.dumps(rows[-1], indent=1), flush=True)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"machine": machine, "jobs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
