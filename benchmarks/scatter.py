"""Effective-source scatter beside Monte Carlo: in three simulated torsos and in water cylinders, and its seconds.

python benchmarks/scatter.py [--histories N] [--out FILE.json]
python benchmarks/scatter.py --kernels FILE    makes the kernels that photopeak ships
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from photopeak.cli.simulate import CLEARANCE_MM
from photopeak.core import Grid, Volume, attenuation
from photopeak.core.random import stream
from photopeak.physics.esse import AROUND_MM, Esse
from photopeak.physics.esse_kernels import make_kernels
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.photons import track
from photopeak.simulate.anatomy import build_anatomy
from photopeak.simulate.population import draw_patient
from photopeak.simulate.tracer import activity

GRID = Grid.regular((40, 64, 64), 6.4)
WATER_PER_CM = 0.1536
KERNEL_HISTORIES, KERNEL_SEED = 16_000_000, 1996


@dataclass(frozen=True)
class Case:
    """A body, the region of it that is looked at, and the camera."""

    name: str
    activity: Tensor
    mu: Volume
    region: Tensor
    camera: ParallelHole


def torso(seed: int) -> Case:
    """A simulated patient; the region is the left ventricle and 15 mm around it."""
    patient = draw_patient(stream(seed, 0), name=f"torso_{seed}")
    anatomy = build_anatomy(patient, GRID)
    radius = patient.chest_width_mm / 2 + CLEARANCE_MM
    near = GRID.points() - anatomy.heart_centre_mm
    heart = torch.from_numpy((near**2).sum(-1) < 55.0**2)
    about = f"{patient.sex}, chest {patient.chest_width_mm:.0f} mm"
    camera = ParallelHole.circular(shape=(40, 64), radius_mm=radius)
    return Case(f"torso {seed} ({about})", activity(anatomy).data, anatomy.mu(), heart.float(), camera)


def cylinder(radius_mm: float) -> Case:
    """Even activity in a water cylinder; the region is all of it."""
    points = GRID.points()
    inside = torch.from_numpy(points[..., 0] ** 2 + points[..., 1] ** 2 < radius_mm**2).float()
    mu = Volume(WATER_PER_CM * inside, GRID, attenuation(140.5))
    camera = ParallelHole.circular(views=6, shape=(40, 64), radius_mm=radius_mm + 50)
    return Case(f"water cylinder, radius {radius_mm:g} mm", inside, mu, inside, camera)


def compared(case: Case, histories: int) -> list[dict[str, object]]:
    """Scatter of both, over all bins and over those that look through the region; as it is, and as published."""
    system = case.camera.system(GRID, case.mu)
    truth = track(case.activity, case.mu, case.camera, histories=histories, generator=stream(1, 0))
    through = case.camera.system(GRID)(case.region)
    seen = through > 0.2 * through.amax((1, 2), keepdim=True)
    size, primary = truth.scatter[seen].norm(), system(case.activity).double()
    results = []
    for name, around_mm in (("density around", AROUND_MM), ("water all around, as published", None)):
        scatter = Esse(case.camera, GRID, case.mu, around_mm=around_mm)
        scatter(case.activity)
        began = time.perf_counter()
        estimate = scatter(case.activity).double()
        seconds = time.perf_counter() - began
        off = (estimate - truth.scatter)[seen]
        of_views = (estimate * seen).sum((1, 2)) / (truth.scatter * seen).sum((1, 2))
        results.append(
            {
                "case": case.name,
                "esse": name,
                "histories": histories,
                "scatter_to_primary": float(truth.scatter.sum() / truth.primary.sum()),
                "scatter_to_primary_in_region": float(truth.scatter[seen].sum() / truth.primary[seen].sum()),
                "esse_over_monte_carlo": float(estimate.sum() / truth.scatter.sum()),
                "esse_over_monte_carlo_in_region": float(estimate[seen].sum() / truth.scatter[seen].sum()),
                "of_views_in_region": [float(extreme) for extreme in torch.aminmax(of_views)],
                "relative_difference_in_region": float(off.norm() / size),
                "monte_carlo_noise_in_region": float(truth.scatter_variance[seen].sum().sqrt() / size),
                "difference_over_primary_in_region": float(off.abs().sum() / primary[seen].sum()),
                "primary_projector_over_monte_carlo": float(primary.sum() / truth.primary.sum()),
                "esse_seconds": seconds,
                "views": len(case.camera.angles_deg),
            }
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--histories", type=int, default=60_000_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5], help="of the torsos")
    parser.add_argument("--kernels", type=Path)
    arguments = parser.parse_args()
    if arguments.kernels:
        make_kernels(histories=KERNEL_HISTORIES, seed=KERNEL_SEED).save(arguments.kernels)
        return
    cases = [*map(torso, arguments.seeds), cylinder(100.0), cylinder(150.0)]
    results = [result for case in cases for result in compared(case, arguments.histories)]
    for result in results:
        print("\n".join(f"{name:36} {value}" for name, value in result.items()), end="\n\n")
    if arguments.out:
        arguments.out.write_text(json.dumps({"threads": torch.get_num_threads(), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
