"""The 19-pinhole camera on 50x70x70 voxels of 4 mm: seconds to build, to start again, to project and back, and memory.

python benchmarks/pinhole.py [--out FILE.json]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from photopeak.core import Grid, Volume, attenuation
from photopeak.physics.pinhole import Pinhole
from photopeak.physics.pinhole_system import PinholeSystem
from photopeak.recon.updates import em_update

BODY = "50x70x70 at 4 mm", Grid.regular((50, 70, 70), 4.0)
WHOLE_BODY = "60x90x110 at 4 mm", Grid.regular((60, 90, 110), 4.0)


def seconds(job: Callable[[], object], repeats: int = 1) -> float:
    """Best of several runs."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        job()
        times.append(time.perf_counter() - began)
    return min(times)


def phantom(grid: Grid) -> tuple[torch.Tensor, Volume]:
    """A hot heart in a warm body, and the body's attenuation."""
    points = grid.points()
    body = ((points[..., 0] + 30) / 150) ** 2 + ((points[..., 1] - 20) / 110) ** 2 < 1
    heart = np.linalg.norm(points, axis=-1) < 40
    mu = Volume.from_numpy(np.where(body, 0.15, 0.0), grid, attenuation(140.5))
    return torch.from_numpy((heart + 0.1 * body).astype(np.float32)), mu


def compiled(camera: Pinhole) -> float:
    """Seconds to have every kernel compiled, on a grid of a few voxels: once after an installation."""
    image, mu = phantom(Grid.regular((4, 6, 6), 40.0))

    def job() -> None:
        system = camera.system(Grid.regular((4, 6, 6), 40.0), mu)
        system.T(system(image))

    return seconds(job)


def measured(name: str, grid: Grid) -> dict[str, object]:
    """One camera on one grid, in this process."""
    camera = Pinhole.named("dnm_530c")
    compile_s = compiled(camera)
    image, mu = phantom(grid)
    first_s = seconds(lambda: camera.system(grid))
    second_s = seconds(lambda: camera.system(grid), 3)
    system = camera.system(grid)
    survival_s = seconds(lambda: system.attenuated(mu), 2)
    attenuated = system.attenuated(mu)
    dense, counts = torch.ones(grid.shape), torch.ones(system.range_shape)
    step = em_update(attenuated, attenuated(image))
    weights = sum(len(rays.weight) for rays in system.rays)
    return {
        "grid": name,
        "rays_million": sum(len(rays.voxel) for rays in system.rays) / 1e6,
        "weights_million": weights / 1e6,
        "compile_or_load_s": compile_s,
        "build_s": first_s,
        "second_start_s": second_s,
        "attenuation_s": survival_s,
        "forward_s": seconds(lambda: attenuated(dense), 7),
        "transpose_s": seconds(lambda: attenuated.T(counts), 7),
        "forward_8_images_s": seconds(lambda: attenuated(dense.expand(8, *grid.shape)), 2),
        "forward_9_views_s": seconds(lambda: attenuated.views(camera.central(9))(dense), 7),
        "mlem_step_s": seconds(lambda: step(torch.ones(grid.shape)), 5),
        "dot_test_64": dot_test(attenuated),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
    }


def dot_test(system: PinholeSystem) -> float:
    """Relative difference of <Ax, y> and <x, A.T y> in float64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(system.domain_shape, generator=generator, dtype=torch.float64)
    y = torch.randn(system.range_shape, generator=generator, dtype=torch.float64)
    forward, adjoint = system(x), system.T(y)
    scale = float(forward.norm() * y.norm() + x.norm() * adjoint.norm())
    return abs(float((forward * y).sum()) - float((x * adjoint).sum())) / scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cases = [BODY, WHOLE_BODY]
    if arguments.alone is not None:
        print(json.dumps(measured(*cases[arguments.alone])))
        return
    rows = []
    for case in range(len(cases)):
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "PHOTOPEAK_CACHE": cache}
            command = [sys.executable, __file__, "--alone", str(case)]
            made = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            row = json.loads(made.stdout)
            row["cache_mb"] = sum(p.stat().st_size for p in Path(cache).rglob("*") if p.is_file()) / 1e6
        print(", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
        rows.append(row)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
