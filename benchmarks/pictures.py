"""A contact sheet of simulated people: attenuation and activity, transaxial and coronal through the left ventricle.

python benchmarks/pictures.py OUT.png [--people 20] [--seed 1] [--first 0] [--torso FILE.npz] [--ct FILE.nii.gz]

Real ones beside them, as far as they are given: a torso (arrays "hu" and "suv" of FDG, 4 mm voxels) and a chest CT.
Pictures are in the radiologist's view: the patient's right is at the left.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from photopeak.core import HU, Grid, Volume
from photopeak.core.random import stream
from photopeak.io.nifti import read_nifti
from photopeak.physics.mumap import mu_from_ct
from photopeak.simulate.anatomy import STILL, build_anatomy
from photopeak.simulate.motion import over_breaths
from photopeak.simulate.population import Patient, draw_scans
from photopeak.simulate.tracer import activity

GRID = Grid.regular((80, 128, 128), 3.2)
TORSO_MM = 4.0
TORSO_HEART = (67, 54, 65)
MU_TOP, ACTIVITY_TOP = 0.22, 1.1


@dataclass(frozen=True)
class Sheet:
    """What one person shows: slices [row, column] of mu and activity, head up and anterior up."""

    title: str
    mu: tuple[np.ndarray, np.ndarray]
    activity: tuple[np.ndarray, np.ndarray] | None


def simulated(number: int, seed: int) -> Sheet:
    patient, _ = draw_scans(stream(seed, number), name=str(number))
    anatomy = build_anatomy(patient, GRID)
    breath = partial(over_breaths, room=anatomy.room, breathing_mm=patient.breathing_mm)
    mu = breath(anatomy.mu(tissues=STILL), anatomy.mu(tissues=anatomy.riding)).numpy()
    uptake = breath(activity(anatomy, STILL), activity(anatomy, anatomy.riding)).numpy()
    place = np.round(GRID.index(anatomy.heart_centre_mm)).astype(int)
    return Sheet(title(patient), planes(mu, place), planes(uptake, place))


def title(patient: Patient) -> str:
    arms = "" if patient.arms_up else " arms down"
    hot = "" if patient.hot_gut == "none" else f" hot {patient.hot_gut}"
    hernia = " hernia" if patient.hernia_mm else ""
    ill = "+".join(defect.territory for defect in patient.defects)
    return f"{patient.name} {patient.sex} BMI {patient.bmi:.0f}{arms}{hot}{hernia} {ill}"


def planes(volume: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transaxial and coronal slice through an index (k, j, i)."""
    k, j, _ = place
    return volume[k], volume[::-1, j]


def real_torso(path: Path) -> Sheet:
    arrays = np.load(path)
    grid = Grid.regular(arrays["hu"].shape, TORSO_MM)
    ct = Volume(torch.from_numpy(arrays["hu"].astype(np.float32)), grid, HU)
    mu = mu_from_ct(ct, kvp=120).numpy()
    uptake = arrays["suv"].astype(np.float32)
    place = np.array(TORSO_HEART)
    return Sheet("real woman, CT and FDG", planes(mu, place), planes(uptake / 6, place))


def real_ct(path: Path) -> Sheet:
    ct = read_nifti(path, HU)
    on = ct.on(Grid.regular((56, 64, 64), 3.0, centre_mm=tuple(ct.grid.centre_mm)), outside=-1000.0)
    return Sheet("real chest CT", planes(mu_from_ct(on, kvp=120).numpy(), np.array([26, 26, 32])), None)


def draw(sheets: list[Sheet], columns: int, out: Path) -> None:
    rows = -(-len(sheets) // columns)
    figure = plt.figure(figsize=(4.2 * columns, 3.6 * rows), facecolor="black")
    for cell, sheet in zip(figure.subfigures(rows, columns).flat, sheets, strict=False):
        cell.set_facecolor("black")
        cell.suptitle(sheet.title, color="white", fontsize=9, y=0.99)
        axes = cell.subplots(
            2, 2, gridspec_kw={"hspace": 0.02, "wspace": 0.02, "top": 0.93, "bottom": 0, "left": 0, "right": 1}
        )
        for axis in axes.flat:
            axis.set_axis_off()
        for row in range(2):
            axes[row, 0].imshow(sheet.mu[row], cmap="gray", vmin=0, vmax=MU_TOP)
            if sheet.activity is not None:
                axes[row, 1].imshow(sheet.activity[row], cmap="inferno", vmin=0, vmax=ACTIVITY_TOP)
    figure.savefig(out, dpi=70, facecolor="black")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--torso", type=Path)
    parser.add_argument("--ct", type=Path)
    options = parser.parse_args()
    sheets = [simulated(options.first + number, options.seed) for number in range(options.people)]
    if options.torso:
        sheets.append(real_torso(options.torso))
    if options.ct:
        sheets.append(real_ct(options.ct))
    draw(sheets, options.columns, options.out)


if __name__ == "__main__":
    main()
