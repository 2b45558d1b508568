"""The parallel-hole projector beside the same physics written plainly with scipy: seconds, ratio and agreement.

python benchmarks/projector.py [--out FILE.json]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, rotate

from photopeak.core import Grid, Volume, attenuation
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.response import FWHM_PER_SIGMA


def plain_forward(image: np.ndarray, mu: np.ndarray, camera: ParallelHole) -> np.ndarray:
    """Rotate the slices, attenuate, blur plane by plane, sum: [view, row, column]."""
    assert camera.collimator is not None
    views = []
    depth = np.arange(image.shape[1])
    for angle, radius in zip(camera.angles_deg, camera.radii_mm, strict=True):
        turned, turned_mu = (
            np.moveaxis(rotate(v, angle, axes=(1, 2), reshape=False, order=1, prefilter=False), 1, 0)
            for v in (image, mu)
        )
        path = (np.cumsum(turned_mu, 0) - 0.5 * turned_mu) * camera.pixel_mm / 10
        alive = turned * np.exp(-path)
        distance = torch.from_numpy(radius - ((len(depth) - 1) / 2 - depth) * camera.pixel_mm)
        sigma = camera.collimator.fwhm_mm(distance).numpy() / FWHM_PER_SIGMA / camera.pixel_mm
        views.append(sum(gaussian_filter(p, s, mode="constant") for p, s in zip(alive, sigma, strict=True)))
    return np.stack(views)


def seconds(job: Callable[[], object], repeats: int) -> float:
    """Best of several runs, after one to warm up."""
    job()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        job()
        times.append(time.perf_counter() - began)
    return min(times)


def measured(size: int, voxel_mm: float) -> dict[str, object]:
    """Both projectors on a body with a hot heart."""
    grid = Grid.regular((size // 2, size, size), voxel_mm)
    points = grid.points()
    body = (points[..., 0] / 170) ** 2 + (points[..., 1] / 120) ** 2 < 1
    mu = Volume.from_numpy(body * 0.15, grid, attenuation(140.5))
    heart = np.linalg.norm(points - [50, -40, 0], axis=-1) < 40
    image = torch.from_numpy((heart + 0.1 * body).astype(np.float32))
    camera = ParallelHole.circular(shape=grid.shape[:2], pixel_mm=voxel_mm)
    system = camera.system(grid, mu)
    counts, expected = system(image), plain_forward(image.numpy(), mu.numpy(), camera)
    ours, adjoint = seconds(lambda: system(image), 3), seconds(lambda: system.T(counts), 3)
    plain = seconds(lambda: plain_forward(image.numpy(), mu.numpy(), camera), 1)
    return {
        "grid": str(grid),
        "forward_s": ours,
        "adjoint_s": adjoint,
        "scipy_forward_s": plain,
        "forward_ratio": plain / ours,
        "relative_difference": float(np.linalg.norm(counts.numpy() - expected) / np.linalg.norm(expected)),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    rows = [measured(64, 6.4), measured(128, 3.2)]
    for row in rows:
        print(", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    if out is not None:
        out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
