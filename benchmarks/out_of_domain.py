"""How well the out-of-domain score tells scans of another kind from usual ones: AUROC for each listed shift.

python benchmarks/out_of_domain.py COHORT [--real FOLDER_OF_NM_FILES] [--scans 508] [--persons 20] [--out FILE.json]

Features of train scans make the score; validation scans are the usual ones, and the shifts are made of the same
persons. The test split is not read. A scan in which no left ventricle is found counts as refused: it is the furthest.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from photopeak.cardiac.find import FoundHeart, find_heart
from photopeak.core import Study, Volume
from photopeak.core.errors import HeartNotFound
from photopeak.core.random import stream
from photopeak.evaluate.ood import HARD_LIMIT, Population, features, found_heart, population
from photopeak.io import load
from photopeak.io.cohort import open_cohort
from photopeak.methods.osem import Osem
from photopeak.simulate.dose import thinned

Shift = Callable[[Study, int], Volume]
PET_FWHM_MM = 6.0
BOWEL_MM, BOWEL_OVER_WALL = 22.0, 3.0


def mirrored(study: Study, number: int) -> Volume:
    """Dextrocardia, or a series whose left and right are exchanged."""
    return study["nac"].with_data(study["nac"].data.flip(2))


def upside_down(study: Study, number: int) -> Volume:
    """Slices in the wrong order."""
    return study["nac"].with_data(study["nac"].data.flip(0))


def other_pixel(study: Study, number: int) -> Volume:
    return study["nac"].on(study["nac"].grid.resampled(4.0), order=3)


def of_dose(fraction: float) -> Shift:
    def made(study: Study, number: int) -> Volume:
        fewer = thinned(study.projections["raw"], fraction, stream(7, number))
        return Osem("nac")(replace(study, projections={"raw": fewer}))["nac"]

    return made


def hot_bowel(study: Study, number: int) -> Volume:
    """A loop of gut against the inferior wall, primary photons only, in the counts and not just in the image."""
    raw, mu, heart = study.projections["raw"], study["mu_true"], found_heart(study)
    wall = float(study["activity"].data[study["lv"].data > 0.5].mean())
    place = np.array(heart.frame.centre_mm) - [0, 0, heart.outer_radius_mm + BOWEL_MM + 5]
    inside = (((mu.grid.points() - place) / [1.6, 1, 1]) ** 2).sum(-1) <= BOWEL_MM**2
    gut = torch.from_numpy(BOWEL_OVER_WALL * wall * inside).to(mu.data)
    more = torch.poisson(raw.camera.system(mu.grid, mu)(gut), generator=stream(8, number))
    return Osem("nac")(replace(study, projections={"raw": raw.with_counts(raw.counts + more)}))["nac"]


def pet(study: Study, number: int) -> Volume:
    """An attenuation-corrected PET of the same tracer distribution: sharp, without attenuation."""
    sigma = PET_FWHM_MM / 2.355 / np.array(study["activity"].grid.spacing_mm)
    blurred = gaussian_filter(study["activity"].numpy(), sigma)
    noisy = torch.poisson(40 * torch.from_numpy(blurred), generator=stream(9, number)) / 40
    return study["nac"].with_data(noisy)


def corrected_already(study: Study, number: int) -> Volume:
    return study["ac"]


SHIFTS: dict[str, Shift] = {
    "dextrocardia": mirrored,
    "slices upside down": upside_down,
    "other pixel (4 mm)": other_pixel,
    "half the counts": of_dose(0.5),
    "a quarter of the counts": of_dose(0.25),
    "a tenth of the counts": of_dose(0.1),
    "hot bowel": hot_bowel,
    "PET given as SPECT (simulated)": pet,
    "AC given as NAC": corrected_already,
}


Found = dict[str, float] | None


def described(nac: Volume, heart: FoundHeart | None = None) -> Found:
    """Features of an image whose heart is to be found, as of a user's; None where there is none."""
    try:
        return features(nac, heart or find_heart(nac))
    except HeartNotFound:
        return None


def distances(usual: Population, scans: Sequence[Found]) -> np.ndarray:
    """Of each scan; infinite without a heart."""
    return np.array([np.inf if found is None else usual.distance(found) for found in scans])


def auroc(usual: np.ndarray, shifted: np.ndarray) -> float:
    """Chance that a shifted scan is further than a usual one; ties count half."""
    ranks = rankdata(np.minimum([*usual, *shifted], 1e9))
    n, m = len(shifted), len(usual)
    return float((ranks[m:].sum() - n * (n + 1) / 2) / (n * m))


def told(usual: Population, inside: Sequence[Found], shifted: Sequence[Found]) -> dict[str, float]:
    far = distances(usual, shifted)
    refused = [found is None or usual.refuses(found) for found in shifted]
    return {
        "n": len(far),
        "auroc": round(auroc(distances(usual, inside), far), 3),
        "median distance": round(float(np.median(np.minimum(far, 99))), 2),
        "beyond 95 % quantile": round(float((far > usual.quantile_95).mean()), 3),
        "refused": round(float(np.mean(refused)), 3),
        "no heart found": round(float(np.isinf(far).mean()), 3),
    }


def usual_scans(scans: Sequence["Scan"]) -> Population:
    return population([scan.found for scan in scans], [scan.person for scan in scans])


@dataclass(frozen=True)
class Scan:
    """Of a usual scan: its features, whose it is, and whether the arms were out of the way."""

    found: dict[str, float]
    person: str
    arms_up: bool

    @classmethod
    def of(cls, study: Study) -> "Scan":
        found = features(study["nac"], found_heart(study))
        return cls(found, study.facts["person"], bool(study.facts["patient"]["arms_up"]))


def real(folder: Path | None) -> Iterable[Volume]:
    return [] if folder is None else [load(file, as_="nac")["nac"] for file in sorted(folder.glob("*.dcm"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--scans", type=int, default=508)
    parser.add_argument("--persons", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    began = time.perf_counter()
    cohort = open_cohort(arguments.cohort)
    train, validation = cohort.split("train"), cohort.split("validation")
    trained = [Scan.of(study) for study in train[: arguments.scans]]
    seen = [Scan.of(study) for study in validation]
    usual, inside = usual_scans(trained), [scan.found for scan in seen]
    some = [validation[number] for number in range(0, 2 * arguments.persons, 2)]
    results = {"validation": told(usual, inside, inside)}
    for name, shift in SHIFTS.items():
        results[name] = told(usual, inside, [described(shift(s, n)) for n, s in enumerate(some)])
        print(name, results[name], f"{time.perf_counter() - began:.0f} s", flush=True)
    up = usual_scans([scan for scan in trained if scan.arms_up])
    groups = [[scan.found for scan in seen if scan.arms_up == side] for side in (True, False)]
    results["arms down, trained on arms up alone"] = told(up, *groups)
    if others := [described(nac) for nac in real(arguments.real)]:
        results["other camera (real series)"] = told(usual, inside, others)
    about = {"train scans": usual.scans, "validation scans": len(inside), "features": len(usual.names)}
    limits = {
        "95 %": usual.quantile_95,
        "99 %": usual.quantile_99,
        "anatomy refused beyond": HARD_LIMIT * usual.quantile_99,
    }
    written = json.dumps({"about": about, "limits": limits, "shifts": results}, indent=1)
    print(written)
    if arguments.out:
        arguments.out.write_text(written + "\n")


if __name__ == "__main__":
    main()
