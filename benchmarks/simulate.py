"""Seconds to simulate one person, by part; and what attenuation does to simulated normals.

python benchmarks/simulate.py [--repeats 2] [--normals 40] [--matrix 64] [--seed 11] [--out FILE.json]

All on one thread: a cohort is made by one process for each core. Wall seconds depend on what else the machine does,
CPU seconds less. Normals are
people whose defects are left out, at stress; segments are those of the true ventricle.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import HeartFrame
from photopeak.cardiac.polar import LVSurface, polar_map
from photopeak.cardiac.segments import segment_means
from photopeak.cli import simulate as cli
from photopeak.core import Study
from photopeak.core.random import stream
from photopeak.methods.osem import Osem
from photopeak.simulate.population import draw_scans

MID_ANTERIOR, MID_INFERIOR = 7, 10


def timed(job: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    cpu, wall = time.process_time(), time.perf_counter()
    made = job()
    return made, {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}


def parts(matrix: str, seed: int) -> dict[str, dict[str, float]]:
    """One whole person, and its steps on the stress scan."""
    found = {}
    _, found["person: stress + rest, everything"] = timed(lambda: cli.simulate_person("p", seed=seed, matrix=matrix))
    person, found["anatomy, once"] = timed(lambda: cli._Person.draw("p", 0, seed, matrix))
    study, found["scan: projections, noise, NAC, AC, AC of truth"] = timed(
        lambda: person.scan(person.stress, 0, nosc=False)
    )
    camera = study.projections["raw"].camera
    _, found["  scatter"] = timed(lambda: cli._scatter(camera, study["mu_true"], study["activity"]))
    _, found["  NAC"] = timed(lambda: Osem("nac")(study))
    _, found["  AC"] = timed(lambda: Osem("ac")(study))
    _, found["finder, once"] = timed(lambda: cli.with_heart(study))
    return found


def true_surface(study: Study) -> LVSurface:
    patient, truth = study.facts["patient"], study.facts["truth"]
    frame = HeartFrame(tuple(truth["heart_centre_mm"]), tuple(truth["long_axis"]))
    return LVSurface.of(FoundHeart(frame, patient["lv_radius_mm"], patient["lv_length_mm"], 1.0))


def normal(number: int, seed: int, matrix: str) -> dict[str, Any]:
    """Segments of one normal's images; "perfect" is the same reconstruction of photons that nothing attenuates."""
    person = cli._Person.draw("p", number, seed, matrix)
    study = person.scan(replace(person.stress, defects=()), 0, nosc=True)
    surface, camera = true_surface(study), study.projections["raw"].camera
    bare = camera.system(study["mu"].grid)(study["activity"].data)
    unattenuated = replace(study, projections={"raw": study.projections["raw"].with_counts(bare)})
    images = {name: study[name] for name in ("nac", "ac", "ac_nosc", "ac_clean")}
    images["perfect"] = Osem("nac")(unattenuated)["nac"]
    segments = {name: segment_means(polar_map(image, surface)).numpy() for name, image in images.items()}
    scatter, clean = (study.projections[name].counts.sum() for name in ("scatter", "clean"))
    return {
        "sex": person.stress.sex,
        "bmi": person.stress.bmi,
        "scatter_to_primary": float(scatter / (clean - scatter)),
        **{name: values / values.mean() for name, values in segments.items()},
        "factor": float(segments["ac"].mean() / segments["nac"].mean()),
        "factor_clean": float(segments["ac_clean"].mean() / segments["nac"].mean()),
    }


def physics(normals: int, seed: int, matrix: str) -> dict[str, Any]:
    """Figures of `normals` people of each sex."""
    people: dict[str, list[dict[str, Any]]] = {"M": [], "F": []}
    number = 0
    while min(map(len, people.values())) < normals:
        sex = draw_scans(stream(seed, number), name="p")[0].sex
        if len(people[sex]) < normals:
            people[sex].append(normal(number, seed, matrix))
        number += 1
    return {sex: summary(rows) for sex, rows in people.items()}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    def ratio(image: str, above: int, below: int) -> np.ndarray:
        return np.array([row[image][above - 1] / row[image][below - 1] for row in rows])

    off = np.array([row["ac_clean"] / row["perfect"] - 1 for row in rows])
    return {
        "people": len(rows),
        "nac_inferior_over_anterior": spread(ratio("nac", MID_INFERIOR, MID_ANTERIOR)),
        "nac_anterior_over_inferior": spread(ratio("nac", MID_ANTERIOR, MID_INFERIOR)),
        "ac_inferior_over_anterior": spread(ratio("ac", MID_INFERIOR, MID_ANTERIOR)),
        "ac_nosc_inferior_over_anterior": spread(ratio("ac_nosc", MID_INFERIOR, MID_ANTERIOR)),
        "ac_clean_inferior_over_anterior": spread(ratio("ac_clean", MID_INFERIOR, MID_ANTERIOR)),
        "perfect_inferior_over_anterior": spread(ratio("perfect", MID_INFERIOR, MID_ANTERIOR)),
        "ac_over_nac": spread(np.array([row["factor"] for row in rows])),
        "ac_clean_over_nac": spread(np.array([row["factor_clean"] for row in rows])),
        "scatter_to_primary": spread(np.array([row["scatter_to_primary"] for row in rows])),
        "ac_clean_segments_off_mean": [round(float(v), 4) for v in off.mean(axis=0)],
        "ac_clean_segments_off_p95": float(np.quantile(np.abs(off), 0.95)),
        "ratio_against_bmi": float(
            np.corrcoef([row["bmi"] for row in rows], ratio("nac", MID_INFERIOR, MID_ANTERIOR))[0, 1]
        ),
    }


def spread(values: np.ndarray) -> dict[str, float]:
    return {"mean": round(float(values.mean()), 4), "sd": round(float(values.std()), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--normals", type=int, default=0, help="of each sex")
    parser.add_argument("--matrix", default="64", help="for the normals")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    record: dict[str, Any] = {"threads": 1, "seconds": {}}
    for matrix in ("64", "128") if options.repeats else ():
        runs = [parts(matrix, options.seed) for _ in range(options.repeats)]
        record["seconds"][matrix] = {part: min((r[part] for r in runs), key=lambda s: s["cpu_s"]) for part in runs[0]}
        for part, seconds in record["seconds"][matrix].items():
            print(f"{matrix:>3} {part:<48} {seconds['cpu_s']:7.2f} CPU s {seconds['wall_s']:7.2f} wall s")
    if options.normals:
        record["normals"] = physics(options.normals, options.seed, options.matrix)
        for sex, figures in record["normals"].items():
            for name, value in figures.items():
                print(f"{sex} {name}: {value}")
    if options.out is not None:
        options.out.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
