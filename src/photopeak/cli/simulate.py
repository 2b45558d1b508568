"""``photopeak simulate``: a cohort of simulated people: a stress and a rest scan with projections, or one PET/CT."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from torch import Tensor

    from photopeak.core import Camera, Grid, Study, Volume
    from photopeak.simulate.anatomy import Anatomy
    from photopeak.simulate.population import Patient


def command(
    cohort: Annotated[Path, typer.Argument(help="Folder of the cohort; an interrupted one is continued.")],
    studies: Annotated[int, typer.Option(help="Number of people; each has stress and rest, or one PET/CT.")] = 20,
    seed: Annotated[int, typer.Option(help="Same seed, same people.")] = 0,
    camera: Annotated[str, typer.Option(help="lehr (parallel holes), nm570c (19 pinhole modules) or petct.")] = "lehr",
    matrix: Annotated[str, typer.Option(help="64 (6.4 mm) or 128 (3.2 mm); of lehr.")] = "64",
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
    nosc: Annotated[bool, typer.Option(help='Also "ac_nosc", AC without scatter correction; of lehr.')] = False,
) -> None:
    """Simulate people: anatomy, MIBI, projections with noise (lehr: and scatter), NAC and AC by OSEM or MLEM.

    petct: CT and FDG PET of the torso, with lesions.
    """
    from rich.progress import track

    from photopeak.cli import simulate_petct
    from photopeak.io.cohort import write_manifest
    from photopeak.io.store import STUDY_FILE
    from photopeak.simulate.cohort import in_parallel, patient_names, split_of
    from photopeak.simulate.cohort import scan_names as stress_and_rest

    about = {"simulated": True, "seed": seed, **_settings(camera, matrix, nosc)}
    people = patient_names(studies)
    scan_names = simulate_petct.scan_names if camera == "petct" else stress_and_rest
    cohort.mkdir(parents=True, exist_ok=True)
    scans = {
        scan: {"split": split_of(number), "person": person, "state": state}
        for number, person in enumerate(people)
        for state, scan in scan_names(person).items()
    }
    write_manifest(cohort, scans, about=about)
    missing = [
        number
        for number, person in enumerate(people)
        if not all((cohort / scan / STUDY_FILE).is_file() for scan in scan_names(person).values())
    ]
    make = partial(_simulate_and_save, folder=str(cohort), seed=seed, camera=camera, matrix=matrix, nosc=nosc)
    typer.echo(f"{studies - len(missing)} of {studies} people are there already")
    made = in_parallel(make, missing, workers=workers)
    for _ in track(made, total=len(missing), description="simulating"):
        pass
    write_manifest(cohort, scans, about=about)
    typer.echo(f"{studies} people, {len(scans)} scans in {cohort}")


def _settings(camera: str, matrix: str, nosc: bool) -> dict[str, str | bool]:
    """What the manifest remembers; that of "lehr" as it was when there was no other camera."""
    from photopeak.core.errors import BadArgument

    if camera == "lehr":
        return {"matrix": matrix, "nosc": nosc}
    if camera not in ("nm570c", "petct") or matrix != "64" or nosc:
        raise BadArgument(
            f"camera {camera!r}, matrix {matrix!r}, nosc {nosc}",
            needed="lehr, or nm570c or petct without matrix and nosc (both have a grid of their own)",
            remedy="Choose one.",
        )
    return {"camera": camera}


def simulate(
    name: str = "patient_0000", *, number: int = 0, seed: int = 0, matrix: str = "64", nosc: bool = False
) -> "Study":
    """The stress scan alone of what `simulate_person` makes, with the same bits, called `name`."""
    with one_thread():
        person = _Person.draw(name, number, seed, matrix)
        return replace(with_heart(person.scan(person.stress, 0, nosc=nosc)), name=name)


def simulate_person(
    name: str = "patient_0000", *, number: int = 0, seed: int = 0, matrix: str = "64", nosc: bool = False
) -> "tuple[Study, Study]":
    """Stress and rest of one person; deterministic by seed and number, whatever the number of threads.

    Each has "nac", "ac" (with the map of attenuation that a hospital has, scatter subtracted as it is expected),
    "ac_clean" (without noise, with the true attenuation), "mu", "mu_true", "activity", "lv" and its projections. The
    heart is found in the stress NAC and its frame used for both, as in the clinic.

    Parameters
    ----------
    matrix : "64" for 40x64x64 voxels of 6.4 mm, "128" for 80x128x128 of 3.2 mm.
    nosc : also "ac_nosc", AC that leaves scatter in.
    """
    with one_thread():
        person = _Person.draw(name, number, seed, matrix)
        stress = with_heart(person.scan(person.stress, 0, nosc=nosc))
        rest = person.scan(person.rest, 1, nosc=nosc)
        if "heart" in stress.facts:
            return stress, rest.with_facts(heart=stress.facts["heart"])
        return stress, with_heart(rest)


CLEARANCE_MM = 70.0
"""From the side of the chest to the collimator: arms, or the gap above a supine patient."""
SMALLEST_GAP_MM = 5.0
"""From whatever reaches furthest, arms that lie beside the body included."""
_NOISE_STREAMS = 2


@dataclass(frozen=True)
class _Person:
    """One person's anatomy, built once for both scans."""

    name: str
    number: int
    seed: int
    anatomy: "Anatomy"
    stress: "Patient"
    rest: "Patient"

    @classmethod
    def draw(cls, name: str, number: int, seed: int, matrix: str) -> "_Person":
        from photopeak.core import Grid
        from photopeak.core.errors import BadArgument
        from photopeak.core.random import stream
        from photopeak.simulate.anatomy import build_anatomy
        from photopeak.simulate.population import draw_scans

        grids = {"64": Grid.regular((40, 64, 64), 6.4), "128": Grid.regular((80, 128, 128), 3.2)}
        if matrix not in grids:
            raise BadArgument(f"matrix {matrix!r}", needed="64 or 128", remedy="Choose one.")
        stress, rest = draw_scans(stream(seed, number), name=name)
        return cls(name, number, seed, build_anatomy(stress, grids[matrix]), stress, rest)

    def scan(self, patient: "Patient", place: int, *, nosc: bool) -> "Study":
        """Acquisition and reconstructions of one of the scans; each has a stream of noise of its own."""
        from photopeak.core.random import stream
        from photopeak.methods.osem import Osem
        from photopeak.simulate.acquire import acquire

        study = acquire(
            replace(self.anatomy, patient=patient),
            partial(_orbit, patient, self.anatomy.grid),
            scatter=_scatter,
            generator=stream(self.seed, -1 - _NOISE_STREAMS * self.number - place),
        )
        for reconstruction in (Osem("nac"), Osem("ac")):
            study = reconstruction(study)
        if nosc:
            study = Osem("ac", scatter=None, as_="ac_nosc")(study)
        in_register = replace(study, volumes={**study.volumes, "mu": study["mu_true"]})
        perfect = Osem("ac", counts="clean", as_="ac_clean")(in_register)
        step = replace(perfect.history[-1], reads=("mu_true", "clean", "scatter"))
        return study.add({"ac_clean": perfect["ac_clean"]}, step).with_facts(person=self.name)


def _orbit(patient: "Patient", grid: "Grid", mu_true: "Volume", mu: "Volume") -> "Camera":
    """A circle around the chest that clears whatever either map holds."""
    from photopeak.physics.parallel_hole import ParallelHole

    rows, _, columns = grid.shape
    camera = ParallelHole.circular(shape=(rows, columns), pixel_mm=grid.spacing_mm[0])
    reach = max(max(camera.around(body, gap_mm=SMALLEST_GAP_MM).radii_mm) for body in (mu_true, mu))
    radius_mm = max(patient.chest_width_mm / 2 + CLEARANCE_MM, reach)
    return replace(camera, radii_mm=(radius_mm,) * len(camera.radii_mm))


def _scatter(camera: "Camera", mu: "Volume", activity: "Volume") -> "Tensor":
    from photopeak.physics.esse import Esse

    scattered: Tensor = Esse(camera, activity.grid, mu)(activity.data).clamp(min=0)
    return scattered


@contextmanager
def one_thread() -> Iterator[None]:
    """For the same bits everywhere: sums depend on the number of threads. A cohort has a process for each core."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def with_heart(study: "Study") -> "Study":
    from photopeak.cardiac.find import find_heart
    from photopeak.core.errors import HeartNotFound

    try:
        return study.with_facts(heart=find_heart(study["nac"]).to_dict())
    except HeartNotFound as error:
        return study.with_facts(heart_not_found=str(error))


def _simulate_and_save(number: int, *, folder: str, seed: int, camera: str, matrix: str, nosc: bool) -> str:
    from photopeak.cli import simulate_petct, simulate_pinhole
    from photopeak.io.store import save_study
    from photopeak.simulate.cohort import patient_names

    name = patient_names(number + 1)[number]
    studies: tuple[Study, ...]
    if camera == "petct":
        studies = (simulate_petct.simulate_person(name, number=number, seed=seed),)
    elif camera == "nm570c":
        studies = simulate_pinhole.simulate_person(name, number=number, seed=seed)
    else:
        studies = simulate_person(name, number=number, seed=seed, matrix=matrix, nosc=nosc)
    for study in studies:
        save_study(study, Path(folder) / study.name)
    return name
