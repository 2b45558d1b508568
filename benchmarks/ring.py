"""The PET ring's projector beside the same line integrals written plainly with scipy and scikit-image.

python benchmarks/ring.py [--out FILE.json]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import rotate
from skimage.transform import radon

from photopeak.core import Grid
from photopeak.physics.ring import Ring


def by_rotation(image: np.ndarray, camera: Ring) -> np.ndarray:
    """Rotate all slices and sum the rows: [view, plane, bin]."""
    turned = (rotate(image, a, axes=(1, 2), reshape=False, order=1, prefilter=False) for a in camera.angles_deg)
    return np.stack([slices.sum(1) for slices in turned])


def by_radon(image: np.ndarray, camera: Ring) -> np.ndarray:
    """scikit-image's Radon transform of each slice, whose angles turn the other way: [view, plane, bin]."""
    angles = [-a for a in camera.angles_deg]
    return np.stack([radon(plane, angles, circle=True) for plane in image], axis=1).transpose(2, 1, 0)


def seconds(job: Callable[[], object], repeats: int) -> float:
    """Best of several runs, after one to warm up."""
    job()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        job()
        times.append(time.perf_counter() - began)
    return min(times)


def measured(size: int, planes: int, voxel_mm: float, views: int) -> dict[str, object]:
    """All projectors on smooth organs in a body; no blur and no attenuation, which the plain ones do not have."""
    grid = Grid.regular((planes, size, size), (3.27, voxel_mm, voxel_mm))
    x, y, z = np.moveaxis(grid.points(), -1, 0)
    body = 1 / (1 + np.exp(((x / 170) ** 2 + (y / 120) ** 2 - 1) * 12))
    body *= np.hypot(x, y) < 0.49 * size * voxel_mm
    image = torch.from_numpy(
        (body + 4 * body * np.exp(-((x - 50) ** 2 + (y + 40) ** 2 + z**2) / 1800)).astype(np.float32)
    )
    camera = Ring.half_turn(
        views=views, bins=size, bin_mm=voxel_mm, planes=planes, plane_mm=3.27, fwhm_mm=0.0, radius_mm=400.0
    )
    system = camera.system(grid)
    counts = system(image)
    ours, adjoint = seconds(lambda: system(image), 5), seconds(lambda: system.T(counts), 5)
    row: dict[str, object] = {"grid": str(grid), "views": views, "threads": torch.get_num_threads()}
    row |= {"forward_s": ours, "adjoint_s": adjoint}
    for name, plain in (("scipy", by_rotation), ("skimage", by_radon)):
        theirs = seconds(lambda plain=plain: plain(image.numpy(), camera), 1)
        row |= {f"{name}_s": theirs, f"{name}_ratio": theirs / ours}
        expected = plain(image.numpy(), camera)
        row[f"{name}_difference"] = float(np.linalg.norm(counts.numpy() - expected) / np.linalg.norm(expected))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    rows = [measured(65, 24, 8.0, 60), measured(129, 47, 4.0, 180)]
    for row in rows:
        print(", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    if out is not None:
        out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
