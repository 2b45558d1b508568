"""How much worse each method gets away from home: other torsos, orbits, collimators, filters, breathing and counts.

python benchmarks/generalise.py [--methods LABEL=WEIGHTS ...] [--torsos FOLDER] [--persons 4] [--hearts 4]
    [--only TEXT ...] [--out benchmarks/results/generalise.json]

WEIGHTS is a file written by training, or the name of a method whose weights are shipped. Persons are drawn from the
population of the simulated cohorts with a seed of their own, so that no training has seen them. Every condition but the
torsos is the same persons at stress acquired or reconstructed in another way. In the torsos (see `torsos`) simulated
hearts of several sizes and places, with and without a defect, are acquired on voxels of 3.2 mm and reconstructed on
6.4 mm. Answers are compared with the noise-free AC of the same acquisition, reconstruction and filter. A scan in which
no heart is found has no score; how many there were is said.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from correct import RESULTS, SHIPPED, labelled
from torsos import Torso, binned, real_woman, with_heart, xcat_man

from photopeak.cardiac.find import FoundHeart
from photopeak.cli import simulate as cli
from photopeak.core import COUNTS, Grid, Step, Study, Volume
from photopeak.core.random import stream
from photopeak.evaluate.patients import heart_scores
from photopeak.evaluate.stats import bootstrap_interval, ratio_interval
from photopeak.methods.osem import Osem
from photopeak.physics.collimators import named_collimator
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.simulate.acquire import Orbit, acquire
from photopeak.simulate.anatomy import Anatomy
from photopeak.simulate.disease import Defect
from photopeak.simulate.dose import dropped, thinned
from photopeak.simulate.population import Patient, draw_scans

SEED, NOISE_SEED, TORSO_SEED = 9001, 9002, 9003
HOME = "in domain"
FIGURES = ("heart NRMSE", "17-segment MAE")
CUTOFF_PER_CM = 0.45
CONTOUR_GAP_MM = 20.0
QUARTER = 0.25
FINE, USUAL = Grid.regular((80, 128, 128), 3.2), Grid.regular((40, 64, 64), 6.4)
JITTER_MM = 6.0
DEFECTS = (
    Defect("LAD", -25.0, 45.0, 40.0, 8.0, 0.5, 1.0),
    Defect("RCA", -170.0, 65.0, 40.0, 8.0, 0.5, 1.0),
    Defect("LCX", 112.0, 65.0, 40.0, 8.0, 0.5, 1.0),
)
Scores = dict[str, dict[str, dict[str, float]]]
"""By method, case and figure."""


@dataclass(frozen=True)
class Condition:
    """One way of making scans: (label, case) and the study of each, and what changes beside home."""

    name: str
    cases: Callable[[], Iterator[tuple[str, Study]]]
    paired: bool = True


@dataclass(frozen=True)
class People:
    """The persons of all conditions but the torsos, and their usual acquisitions."""

    persons: Sequence[Any]
    usual: Sequence[Study]

    @classmethod
    def drawn(cls, count: int) -> "People":
        persons = [cli._Person.draw(f"person {number}", number, SEED, "64") for number in range(count)]
        return cls(persons, [acquired(p.anatomy, p.number) for p in persons])

    def again(self, change: Callable[[ParallelHole, Volume, Volume], ParallelHole]) -> Iterator[tuple[str, Study]]:
        """Acquired once more, by another camera: of the usual one, the body and the hospital's map of it."""
        for person in self.persons:

            def orbit(mu_true: Volume, mu: Volume, anatomy: Anatomy = person.anatomy) -> ParallelHole:
                camera = cli._orbit(anatomy.patient, anatomy.grid, mu_true, mu)
                assert isinstance(camera, ParallelHole)
                return change(camera, mu_true, mu)

            yield person.name, imaged(acquired(person.anatomy, person.number, orbit))

    def breathing(self, times: float) -> Iterator[tuple[str, Study]]:
        for person in self.persons:
            deeper = replace(person.stress, breathing_mm=times * person.stress.breathing_mm)
            yield person.name, imaged(acquired(replace(person.anatomy, patient=deeper), person.number))

    def processed(self, change: Callable[[Study, int], Study], **filtered: float) -> Iterator[tuple[str, Study]]:
        """The usual acquisition with other counts or another filter."""
        for person, study in zip(self.persons, self.usual, strict=True):
            yield person.name, imaged(change(study, person.number), **filtered)


def acquired(anatomy: Anatomy, number: int, orbit: Orbit | None = None) -> Study:
    usual = partial(cli._orbit, anatomy.patient, anatomy.grid)
    return acquire(anatomy, orbit or usual, scatter=cli._scatter, generator=stream(NOISE_SEED, number))


def imaged(study: Study, cutoff_per_cm: float = CUTOFF_PER_CM) -> Study:
    """With "nac", the heart found in it, and "ac_clean": without noise, with the true attenuation."""
    study = Osem("nac", cutoff_per_cm=cutoff_per_cm)(study)
    in_register = replace(study, volumes={**study.volumes, "mu": study["mu_true"]})
    perfect = Osem("ac", counts="clean", as_="ac_clean", cutoff_per_cm=cutoff_per_cm)(in_register)
    return cli.with_heart(study.add({"ac_clean": perfect["ac_clean"]}, perfect.history[-1]))


def nearer(by_mm: float, camera: ParallelHole, mu_true: Volume, mu: Volume) -> ParallelHole:
    """Radii less `by_mm`, but never into the body."""
    clear = np.maximum.reduce([camera.around(m, gap_mm=cli.SMALLEST_GAP_MM).radii_mm for m in (mu_true, mu)])
    return replace(
        camera, radii_mm=tuple(float(max(r - by_mm, c)) for r, c in zip(camera.radii_mm, clear, strict=True))
    )


def contour(camera: ParallelHole, mu_true: Volume, mu: Volume) -> ParallelHole:
    both = [camera.around(m, gap_mm=CONTOUR_GAP_MM).radii_mm for m in (mu_true, mu)]
    return replace(camera, radii_mm=tuple(map(float, np.maximum(*both))))


def with_views(views: int, camera: ParallelHole, mu_true: Volume, mu: Volume) -> ParallelHole:
    return ParallelHole.circular(
        views=views, radius_mm=camera.radii_mm[0], shape=camera.shape, pixel_mm=camera.pixel_mm
    )


def behind(collimator: str, camera: ParallelHole, mu_true: Volume, mu: Volume) -> ParallelHole:
    return replace(camera, collimator=named_collimator(collimator))


def half_the_views(study: Study, number: int) -> Study:
    every = {name: dropped(seen, seen.counts.shape[0] // 2) for name, seen in study.projections.items()}
    return replace(study, projections=every)


def quarter_of_counts(study: Study, number: int) -> Study:
    """A quarter of what was measured; the expectations go down with it."""
    parts = {name: seen.with_counts(QUARTER * seen.counts) for name, seen in study.projections.items()}
    raw = thinned(study.projections["raw"], QUARTER, stream(NOISE_SEED, -1 - number))
    return replace(study, projections={**parts, "raw": raw})


def as_it_is(study: Study, number: int) -> Study:
    return study


def in_torso(torso: Torso, hearts: int) -> Iterator[tuple[str, Study]]:
    """Hearts of simulated persons of the torso's sex, each normal and with a defect."""
    number, made = 0, 0
    while made < hearts:
        number += 1
        person = draw_scans(stream(TORSO_SEED, number), name="heart")[0]
        if person.sex != torso.sex:
            continue
        made += 1
        for state, defects in (("normal", ()), ("defect", (DEFECTS[made % len(DEFECTS)],))):
            anatomy = with_heart(torso, placed(torso, replace(person, defects=defects), number), FINE)
            yield f"heart {made}, {state}", imaged(binned(acquired(anatomy, number), USUAL))


def placed(torso: Torso, patient: Patient, number: int) -> Patient:
    """A patient whose heart lies within 6 mm of where the torso's would be."""
    jitter = torch.rand(2, generator=stream(TORSO_SEED, -number)) * 2 - 1
    x, y = (usual + JITTER_MM * float(j) for usual, j in zip(torso.heart_mm, jitter, strict=True))
    return replace(patient, heart_x_mm=x, heart_y_mm=y, chest_width_mm=torso.width_mm, arms_up=True)


def conditions(people: People, torsos: Sequence[Torso], hearts: int) -> list[Condition]:
    def again(name: str, change: Callable[..., ParallelHole], *first: Any) -> Condition:
        return Condition(name, lambda: people.again(partial(change, *first)))

    return [
        Condition(HOME, lambda: people.processed(as_it_is)),
        *(Condition(f"{t.name}, 3.2 mm", partial(in_torso, t, hearts), paired=False) for t in torsos),
        again("orbit 40 mm further", nearer, -40.0),
        again("orbit 40 mm nearer", nearer, 40.0),
        again("body contour", contour),
        again("64 views", with_views, 64),
        Condition("30 views", lambda: people.processed(half_the_views)),
        again("GE LEGP", behind, "GE LEGP"),
        again("Siemens LEUHR", behind, "Siemens LEUHR"),
        Condition("Butterworth 0.35 / cm", lambda: people.processed(as_it_is, cutoff_per_cm=0.35)),
        Condition("Butterworth 0.60 / cm", lambda: people.processed(as_it_is, cutoff_per_cm=0.60)),
        Condition("twice the breathing", lambda: people.breathing(2.0)),
        Condition("a quarter of the counts", lambda: people.processed(quarter_of_counts)),
    ]


def uncorrected(study: Study) -> Study:
    return study.add({"ac": Volume(study["nac"].data, study["nac"].grid, COUNTS)}, Step(("ac",), "uncorrected"))


def scored(condition: Condition, methods: Mapping[str, Any]) -> tuple[Scores, list[str]]:
    """Figures of every method, and the cases in which no heart was found."""
    scores: Scores = {label: {} for label in methods}
    lost = []
    for case, study in condition.cases():
        if "heart" not in study.facts:
            lost.append(case)
            continue
        heart = FoundHeart.from_dict(study.facts["heart"])
        for label, made in methods.items():
            reads, raw = (getattr(made, "reads", ("nac",)), getattr(made, "reads_projections", ()))
            seen = replace(study.only(*reads), projections={name: study.projections[name] for name in raw})
            answer = made(seen)["ac"]
            both = replace(study, volumes={"ac": answer, "ac_clean": study["ac_clean"]})
            found = heart_scores(both, of="ac", truth="ac_clean", heart=heart)
            scores[label][case] = {figure: round(found[figure], 3) for figure in FIGURES}
    return scores, lost


def beside(condition: Condition, rows: Mapping[str, Any], home: Mapping[str, Any], figure: str) -> dict[str, Any]:
    """Mean of a figure here and at home, and their ratio with a 95 % bootstrap interval."""
    if condition.paired:
        common = [case for case in rows if case in home]
        here, there = ([of[case][figure] for case in common] for of in (rows, home))
    else:
        here, there = by_heart(rows, figure), [row[figure] for row in home.values()]
    told: dict[str, Any] = {"n": len(here), "mean": round(float(np.mean(here)), 3) if here else None}
    if min(len(here), len(there)) < 2:
        return told
    ratio, low, high = (ratio_interval if condition.paired else unpaired_ratio)(here, there, generator=stream(1, 1))
    span = bootstrap_interval(here, generator=stream(1, 2))
    return {
        **told,
        "interval": [round(span.low, 3), round(span.high, 3)],
        "home mean": round(float(np.mean(there)), 3),
        "ratio": round(ratio, 3),
        "ratio interval": [round(low, 3), round(high, 3)],
    }


def by_heart(rows: Mapping[str, Any], figure: str) -> list[float]:
    """Of each heart the mean over its states, since they are not independent."""
    hearts: dict[str, list[float]] = {}
    for case, row in rows.items():
        hearts.setdefault(case.split(",")[0], []).append(row[figure])
    return [float(np.mean(values)) for values in hearts.values()]


def unpaired_ratio(
    here: Sequence[float], there: Sequence[float], *, generator: torch.Generator, draws: int = 5000
) -> tuple[float, float, float]:
    """Of the means of two groups, each drawn by itself."""
    groups = [torch.tensor(values, dtype=torch.float64) for values in (here, there)]
    a, b = (x[torch.randint(len(x), (draws, len(x)), generator=generator)].mean(1) for x in groups)
    low, high = torch.quantile(a / b, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(groups[0].mean() / groups[1].mean()), low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(SHIPPED), metavar="LABEL=WEIGHTS")
    parser.add_argument("--torsos", type=Path, help="folder of the two torsos; left out unless given")
    parser.add_argument("--persons", type=int, default=4)
    parser.add_argument("--hearts", type=int, default=4, help="in each torso")
    parser.add_argument("--only", nargs="+", default=[""], help="conditions whose name holds one of these")
    parser.add_argument("--out", type=Path, default=RESULTS / "generalise.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    methods = {"NAC": uncorrected, **labelled(asked.methods)}
    used = {label: dict(made.settings()) for label, made in methods.items() if label != "NAC"}
    torsos = [xcat_man(asked.torsos), real_woman(asked.torsos)] if asked.torsos else []
    every = conditions(People.drawn(asked.persons), torsos, asked.hearts)
    wanted = [c for c in every if c.name == HOME or any(text in c.name for text in asked.only)]
    home: Scores = {}
    results: dict[str, Any] = {}
    for condition in wanted:
        scores, lost = scored(condition, methods)
        home = home or scores
        told = {
            label: {figure: beside(condition, rows, home[label], figure) for figure in FIGURES}
            for label, rows in scores.items()
        }
        results[condition.name] = {"no heart found": lost, "methods": told, "cases": scores}
        for label, figures in told.items():
            line = "  ".join(f"{f} {r['mean']} x{r.get('ratio')} {r.get('ratio interval')}" for f, r in figures.items())
            print(f"{condition.name:26} {label:14} n={figures[FIGURES[0]]['n']}  {line}", flush=True)
        about = {"persons": asked.persons, "hearts in each torso": asked.hearts, "weights": used}
        record = {"about": {**about, "cpu_seconds": round(time.process_time() - began)}, "conditions": results}
        asked.out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{asked.out}, {time.process_time() - began:.0f} CPU s")


if __name__ == "__main__":
    main()
