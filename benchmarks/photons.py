"""The photon tracker against nature and the literature: rate, slab law, Compton's relation, scatter fractions.

python benchmarks/photons.py [--histories 20e6] [--out FILE.json] [--freeze FILE.npz]

A history is one emitted photon followed to its end: it has left the body, lost more energy than the window forgives, or
scattered six times; what its emission and each scatter send to one detector is traced out of the body and deposited.
Literature: scatter is 20 to 40 % of all counts in most clinical Tc-99m studies, and leaving out multiple scatter costs
under 7 % of the scatter-to-primary ratio at 6 cm of water but up to 27 % at 21.6 cm (Cao, Frey & Tsui, IEEE Trans Nucl
Sci 1994;41:1594, abstract; perfect energy resolution there).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from photopeak.core import Grid, Volume, attenuation
from photopeak.core.random import stream
from photopeak.core.units import TC99M_KEV
from photopeak.physics.cross_sections import WATER, compton_energy_kev
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.photon_kernels import compton
from photopeak.physics.photons import PhotonCounts, track
from photopeak.simulate.anatomy import build_anatomy
from photopeak.simulate.population import draw_patient
from photopeak.simulate.tracer import activity, myocardium

Array = np.ndarray
CLEARANCE_MM = 70.0
CHEST_MU_PER_CM = np.array([0, 0.154, 0.044, 0.235], np.float32)
CHEST_ACTIVITY = np.array([0, 0.12, 1.0, 0.55], np.float32)


def _mu(array: Array, grid: Grid) -> Volume:
    return Volume.from_numpy(array, grid, attenuation(TC99M_KEV))


def ratio(seen: PhotonCounts, where: torch.Tensor | None = None) -> float:
    """Scatter over primary, in all pixels or in some."""
    kept = slice(None) if where is None else where
    return float(seen.scatter[kept].sum() / seen.primary[kept].sum())


def slab(histories: int) -> list[dict[str, float]]:
    """Primary counts of a thin source behind water, over exp(-mu d)."""
    grid, voxel_mm = Grid.regular((4, 48, 48), 5.0), 5.0
    mu = float(WATER.mu_per_cm(TC99M_KEV))
    camera = ParallelHole((0.0,), (250.0,), (4, 48), voxel_mm, None)
    rows = []
    for depth_cm in (2.0, 5.0, 10.0, 15.0, 20.0):
        first = 44 - round(10 * depth_cm / voxel_mm)
        water, source = np.zeros(grid.shape), torch.zeros(grid.shape)
        water[:, first:44] = mu
        source[:, 44] = 1
        seen = track(source, _mu(water, grid), camera, histories=histories, generator=stream(0, 0), orders=0)
        passed = float(seen.primary.sum() / source.sum())
        rows.append({"depth_cm": depth_cm, "passed": passed, "over_exp": passed / float(np.exp(-mu * depth_cm))})
    return rows


def compton_error() -> float:
    """Largest relative departure of the kernel from 1/E' - 1/E = (1 - cos)/mc2."""
    cosines = np.linspace(-1, 1, 1001)
    worst = 0.0
    for energy in (60.0, 140.5, 364.5, 511.0):
        ours = np.array([compton(energy, c)[0] for c in cosines])
        worst = max(worst, float(np.abs(ours / compton_energy_kev(energy, cosines) - 1).max()))
    return worst


def cylinder(histories: int) -> dict[str, object]:
    """Ratios of sources in a water cylinder, 22 cm across and 40 cm long, and what single scatter leaves out."""
    grid = Grid.regular((64, 40, 40), 6.25)
    points = grid.points()
    from_axis = np.hypot(points[..., 0], points[..., 1])
    water = (from_axis < 110) * float(WATER.mu_per_cm(TC99M_KEV))
    camera = ParallelHole.circular(views=8, arc_deg=360, shape=(64, 40), pixel_mm=6.25, radius_mm=150)
    found: dict[str, object] = {}
    for name, inside in (("line", from_axis < 7), ("filled", from_axis < 110)):
        source = torch.from_numpy((inside & (np.abs(points[..., 2]) < 150)).astype(np.float32))
        for window in ("with coherent", "Compton only"):
            seen = track(
                source, _mu(water, grid), camera, histories=histories, generator=stream(1, 0),
                coherent=window == "with coherent",
            )  # fmt: skip
            whole = ratio(seen)
            found[f"{name}, {window}"] = {"ratio": whole, "fraction": whole / (1 + whole)}
    found["left out by single scatter"] = {depth: _multiple(depth, histories) for depth in (6.0, 21.6)}
    return found


def _multiple(depth_cm: float, histories: int) -> float:
    """Share of multiple scatter in the scatter of a point at some depth of water 27 cm thick, energies seen sharply."""
    grid = Grid.regular((48, 48, 48), 9.0)
    source, water = torch.zeros(grid.shape), np.zeros(grid.shape)
    water[:, 9:39] = float(WATER.mu_per_cm(TC99M_KEV))
    source[24, 9 + int(depth_cm / 0.9), 24] = 1
    camera = ParallelHole((0.0,), (250.0,), (48, 48), 9.0, None)
    seen = track(
        source, _mu(water, grid), camera, histories=histories, generator=stream(2, 0),
        energy_resolution=0.001, coherent=False,
    )  # fmt: skip
    return float(seen.by_order[0, 3:].sum() / seen.by_order[0, 2:].sum())


def torso(number: int, histories: int) -> dict[str, object]:
    """Scatter to primary of one simulated patient where the left ventricle shows, and how fast it came."""
    patient = draw_patient(stream(0, number), name=f"torso {number}")
    grid = Grid.regular((40, 64, 64), 6.4)
    anatomy = build_anatomy(patient, grid)
    radius = patient.chest_width_mm / 2 + CLEARANCE_MM
    camera = ParallelHole.circular(shape=(40, 64), pixel_mm=6.4, radius_mm=radius)
    source, mu = activity(anatomy).data, anatomy.mu()
    track(source, mu, camera, histories=60, generator=stream(0, 0))
    began, busy = time.perf_counter(), time.process_time()
    seen = track(source, mu, camera, histories=histories, generator=stream(0, 1))
    wall, busy = time.perf_counter() - began, time.process_time() - busy
    expected = camera.system(grid, mu)(source)
    heart = camera.system(grid, mu)(myocardium(anatomy).data)
    over_heart = heart > 0.5 * heart.amax((1, 2), keepdim=True)
    return {
        "patient": f"{patient.sex}, {patient.weight_kg:.0f} kg",
        "heart_ratio": ratio(seen, over_heart),
        "whole_ratio": ratio(seen),
        "primary_over_system": float(seen.primary.sum() / expected.sum()),
        "orders": (seen.by_order.sum(0) / seen.by_order[:, 0].sum()).tolist(),
        "histories_per_s": histories / wall,
        "histories_per_cpu_s": histories / busy,
        "threads": torch.get_num_threads(),
    }


def chest() -> tuple[Array, Array, Grid]:
    """Tissue [z, y, x] (0 air, 1 soft, 2 lung, 3 spine) and uptake class (0 none, 1 body, 2 heart, 3 liver)."""
    grid = Grid.regular((24, 48, 48), 8.0)
    x, y, z = np.moveaxis(grid.points(), -1, 0)
    tissue = ((x / 165) ** 2 + (y / 115) ** 2 < 1).astype(np.uint8)
    for side in (-1, 1):
        tissue[((x - 80 * side) / 55) ** 2 + ((y + 5) / 75) ** 2 + ((z - 30) / 110) ** 2 < 1] = 2
    tissue[np.hypot(x, y - 80) < 18] = 3
    from_heart = np.linalg.norm(np.stack([x - 45, y + 45, z]), axis=0)
    tissue[from_heart < 48] = 1
    uptake = (tissue == 1).astype(np.uint8)
    uptake[np.linalg.norm(np.stack([(x + 60) / 1.6, y, z + 80]), axis=0) < 48] = 3
    tissue[uptake == 3] = 1
    uptake[from_heart < 32] = 0
    uptake[(from_heart >= 32) & (from_heart < 44)] = 2
    return tissue, uptake, grid


def freeze(path: Path, histories: int) -> None:
    """Counts of the little chest that the tests hold the tracker, and scatter models, against."""
    tissue, uptake, grid = chest()
    camera = ParallelHole.circular(views=6, shape=(24, 48), pixel_mm=8.0, radius_mm=230)
    source = torch.from_numpy(CHEST_ACTIVITY[uptake])
    seen = track(source, _mu(CHEST_MU_PER_CM[tissue], grid), camera, histories=histories, generator=stream(3, 0))
    np.savez_compressed(
        path,
        tissue=tissue,
        uptake=uptake,
        mu_per_cm=CHEST_MU_PER_CM,
        activity=CHEST_ACTIVITY,
        voxel_mm=8.0,
        angles_deg=np.array(camera.angles_deg),
        radius_mm=230.0,
        primary=seen.primary.numpy().astype(np.float32),
        scatter=seen.scatter.numpy().astype(np.float32),
        scatter_sd=seen.scatter_variance.sqrt().numpy().astype(np.float16),
        by_order=seen.by_order.numpy(),
        histories=histories,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=float, default=6e6)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--freeze", type=Path, help="write the tests' frozen chest here and stop")
    given = parser.parse_args()
    histories = int(given.histories)
    if given.freeze is not None:
        freeze(given.freeze, histories)
        return
    results = {
        "slab": slab(histories // 10),
        "compton_relative_error": compton_error(),
        "cylinder": cylinder(histories // 2),
        "torsos": [torso(number, histories) for number in range(3)],
    }
    print(json.dumps(results, indent=1))
    if given.out is not None:
        given.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
