"""Where FDG is an hour after injection: each person's own SUV of every tissue.

Liver 2.17 +- 0.44 and blood 1.55 +- 0.38 are those of 132 oncology patients (Boktor et al., J Nucl Med 2013; 54:677).
How often the fasting myocardium takes up none, little, some or much is from 91 (Tiwari et al., Indian J Nucl Med 2012;
27:69). Other tissues, and what a grade of the myocardium is in SUV, are assumptions. Head and bladder are left out.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from photopeak.core import SUV, Volume
from photopeak.simulate.anatomy import Anatomy
from photopeak.simulate.draws import Draw
from photopeak.simulate.population import Patient
from photopeak.simulate.ventricle import LeftVentricle

# Mean, and coefficient of variation beside what a person's tissues have in common.
_ORGANS = {
    "liver": (2.17, 0.15),
    "blood": (1.55, 0.21),
    "spleen": (1.80, 0.20),
    "kidney": (2.60, 0.30),
    "lung": (0.50, 0.25),
    "muscle": (0.75, 0.20),
    "adipose": (0.30, 0.25),
    "breast": (0.45, 0.30),
    "bone": (1.10, 0.30),
    "viscera": (0.70, 0.25),
    "bowel": (1.40, 0.50),
    "stomach_wall": (2.00, 0.35),
    "gallbladder": (0.60, 0.40),
}
_LIKE = {
    "lv_cavity": ("blood", 1.0),
    "mediastinum": ("blood", 0.7),
    "diaphragm": ("muscle", 1.0),
    "heart_fat": ("adipose", 1.0),
    "stomach": ("adipose", 1.0),
}
"""Tissues that take a part of another's uptake."""
_TOGETHER, _WITH_BMI, _MEAN_BMI = 0.10, 0.6, 24.0
# How often, and between which SUVs; without uptake it is that of muscle and blood.
MYOCARDIUM = {"none": 0.41, "mild": 0.12, "moderate": 0.30, "marked": 0.17}
_MYOCARDIAL_SUV = {"none": (1.0, 1.7), "mild": (2.0, 3.5), "moderate": (3.5, 6.0), "marked": (6.0, 12.0)}
_RIGHT_OVER_LEFT = (0.25, 0.5)
_UNEVEN = 0.35


@dataclass(frozen=True)
class Uptake:
    """SUV in one person.

    Parameters
    ----------
    suv : of every tissue that holds any; that of "lv_wall" is the mean over the wall's directions.
    myocardium : "none", "mild", "moderate" or "marked".
    uneven : part by which the lateral wall takes up more, and the septum less, than the mean.
    """

    suv: Mapping[str, float]
    myocardium: str
    uneven: float


def draw_uptake(draw: Draw, patient: Patient) -> Uptake:
    """One person's uptake; by body weight it is higher in the heavy, whose fat takes up little."""
    common = draw.lognormal(1.0, _TOGETHER) * (patient.bmi / _MEAN_BMI) ** _WITH_BMI
    suv = {organ: common * draw.lognormal(mean, cv) for organ, (mean, cv) in _ORGANS.items()}
    grade = draw.choice(MYOCARDIUM)
    suv["lv_wall"] = draw.uniform(*_MYOCARDIAL_SUV[grade])
    suv["rv_wall"] = max(suv["muscle"], suv["lv_wall"] * draw.uniform(*_RIGHT_OVER_LEFT))
    suv |= {tissue: part * suv[model] for tissue, (model, part) in _LIKE.items()}
    return Uptake(suv, grade, draw.uniform(0.0, _UNEVEN))


def fdg(anatomy: Anatomy, uptake: Uptake, tissues: Collection[str] | None = None) -> Volume:
    """SUV [z, y, x], without lesions.

    Parameters
    ----------
    tissues : those that are wanted; all unless given.
    """
    even = {tissue: value for tissue, value in uptake.suv.items() if tissue != "lv_wall"}
    total = anatomy.weighted(even, tissues)
    if tissues is None or "lv_wall" in tissues:
        wall = np.nonzero(anatomy.lv_wall)
        points = anatomy.grid.world(np.stack(wall, axis=-1))
        lateral = LeftVentricle.of(anatomy.patient).directions(points)[..., 0]
        total[wall] += anatomy.lv_wall[wall] * uptake.suv["lv_wall"] * (1 + uptake.uneven * lateral)
    return Volume.from_numpy(total, anatomy.grid, SUV)
