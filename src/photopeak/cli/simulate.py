"""``photopeak simulate``: a cohort of simulated patients with projections, NAC and AC."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from photopeak.core import Study


def command(
    cohort: Annotated[Path, typer.Argument(help="Folder of the cohort; an interrupted one is continued.")],
    studies: Annotated[int, typer.Option(help="Number of patients.")] = 20,
    seed: Annotated[int, typer.Option(help="Same seed, same patients.")] = 0,
    matrix: Annotated[str, typer.Option(help="64 (6.4 mm) or 128 (3.2 mm).")] = "64",
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Simulate patients: anatomy, MIBI, LEHR projections with noise, NAC and AC by OSEM."""
    from rich.progress import track

    from photopeak.io.store import STUDY_FILE, write_manifest
    from photopeak.simulate.cohort import in_parallel, patient_names, split_of

    names = patient_names(studies)
    cohort.mkdir(parents=True, exist_ok=True)
    splits = {name: split_of(number) for number, name in enumerate(names)}
    write_manifest(cohort, splits, about={"simulated": True, "seed": seed, "matrix": matrix})
    missing = [number for number, name in enumerate(names) if not (cohort / name / STUDY_FILE).is_file()]
    make = partial(_simulate_and_save, folder=str(cohort), seed=seed, matrix=matrix)
    typer.echo(f"{studies - len(missing)} of {studies} patients are there already")
    made = in_parallel(make, missing, workers=workers)
    for _ in track(made, total=len(missing), description="simulating"):
        pass
    typer.echo(f"{studies} patients in {cohort}")


def simulate(name: str = "patient_0000", *, number: int = 0, seed: int = 0, matrix: str = "64") -> "Study":
    """One simulated patient with "nac", "ac", "ac_clean", truth and projections; deterministic by seed and number.

    Parameters
    ----------
    matrix : "64" for 40x64x64 voxels of 6.4 mm, "128" for 80x128x128 of 3.2 mm.
    """
    from photopeak.cardiac.find import find_heart
    from photopeak.core import Grid
    from photopeak.core.errors import BadArgument, HeartNotFound
    from photopeak.core.random import stream
    from photopeak.methods.osem import Osem
    from photopeak.physics.parallel_hole import ParallelHole
    from photopeak.physics.scatter import broad_scatter
    from photopeak.simulate.acquire import acquire
    from photopeak.simulate.anatomy import build_anatomy
    from photopeak.simulate.population import draw_patient

    grids = {"64": Grid.regular((40, 64, 64), 6.4), "128": Grid.regular((80, 128, 128), 3.2)}
    if matrix not in grids:
        raise BadArgument(f"matrix {matrix!r}", needed="64 or 128", remedy="Choose one.")
    grid, generator = grids[matrix], stream(seed, number)
    rows, _, columns = grid.shape
    patient = draw_patient(generator, name=name)
    anatomy = build_anatomy(patient, grid)
    camera = ParallelHole.circular(shape=(rows, columns), pixel_mm=grid.spacing_mm[0])
    closest_mm = max(camera.around(anatomy.mu(), gap_mm=SMALLEST_GAP_MM).radii_mm)
    radius_mm = max(patient.chest_width_mm / 2 + CLEARANCE_MM, closest_mm)
    study = acquire(
        anatomy,
        replace(camera, radii_mm=(radius_mm,) * len(camera.radii_mm)),
        scatter=partial(broad_scatter, pixel_mm=camera.pixel_mm),
        generator=generator,
    )
    study = Osem("nac")(study)
    study = Osem("ac")(study)
    study = Osem("ac", counts="clean", as_="ac_clean")(study)
    try:
        return study.with_facts(heart=find_heart(study["nac"]).to_dict())
    except HeartNotFound as error:
        return study.with_facts(heart_not_found=str(error))


CLEARANCE_MM = 70.0
"""From the side of the chest to the collimator: arms, or the gap above a supine patient."""
SMALLEST_GAP_MM = 5.0
"""From whatever reaches furthest, arms that lie beside the body included."""


def _simulate_and_save(number: int, *, folder: str, seed: int, matrix: str) -> str:
    from photopeak.io.store import save_study
    from photopeak.simulate.cohort import patient_names

    name = patient_names(number + 1)[number]
    save_study(simulate(name, number=number, seed=seed, matrix=matrix), Path(folder) / name)
    return name
