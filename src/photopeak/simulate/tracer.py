"""Where the tracer is: uptake of every tissue, with the patient's perfusion defects in the left ventricle."""

from collections.abc import Collection

import numpy as np

from photopeak.core import COUNTS, Volume
from photopeak.simulate.anatomy import Anatomy
from photopeak.simulate.disease import Defect
from photopeak.simulate.population import Patient
from photopeak.simulate.shapes import Array
from photopeak.simulate.ventricle import LeftVentricle

# Tissues that take another tissue's uptake.
_LIKE = {
    "lv_cavity": "blood",
    "breast": "adipose",
    "heart_fat": "adipose",
    "mediastinum": "blood",
    "viscera": "muscle",
    "diaphragm": "muscle",
    "bowel": "gut",
    "stomach_wall": "gut",
    "stomach": "adipose",
}
_HOT_TISSUE = {"bowel": "bowel", "stomach": "stomach_wall"}
_DEPTH_EDGE = 0.08
_TRUTH_STEP_MM = 1.5


def activity(anatomy: Anatomy, tissues: Collection[str] | None = None) -> Volume:
    """Tracer concentration over that of remote myocardium, [z, y, x]; scale it to counts when it is acquired.

    Parameters
    ----------
    tissues : those that are wanted; all unless given.
    """
    total = anatomy.weighted(tissue_uptake(anatomy.patient), tissues)
    if tissues is None or "lv_wall" in tissues:
        total = total + myocardium(anatomy).numpy()
    return Volume.from_numpy(total, anatomy.grid, COUNTS)


def myocardium(anatomy: Anatomy) -> Volume:
    """What the left ventricular wall alone adds to `activity`, [z, y, x]."""
    alone = np.zeros(anatomy.grid.shape, dtype=np.float32)
    wall = np.nonzero(anatomy.lv_wall)
    points = anatomy.grid.world(np.stack(wall, axis=-1))
    alone[wall] = anatomy.lv_wall[wall] * perfusion(anatomy.patient, points)
    return Volume.from_numpy(alone, anatomy.grid, COUNTS)


def tissue_uptake(patient: Patient) -> dict[str, float]:
    """Concentration of every tissue but the left ventricular wall over that of remote myocardium."""
    uptake = dict(patient.uptake)
    uptake |= {tissue: uptake[model] for tissue, model in _LIKE.items()}
    if patient.hot_gut in _HOT_TISSUE:
        uptake[_HOT_TISSUE[patient.hot_gut]] = uptake["hot_gut"]
    return uptake


def perfusion(patient: Patient, points_mm: Array) -> Array:
    """Relative uptake of left ventricular wall at LPS points [..., 3]: 1 where no defect is."""
    ventricle = LeftVentricle.of(patient)
    value = np.ones(points_mm.shape[:-1])
    for defect in patient.defects:
        value = np.minimum(value, 1 - (1 - defect.uptake) * _presence(defect, ventricle, points_mm))
    return value


def _presence(defect: Defect, ventricle: LeftVentricle, points_mm: Array) -> Array:
    """0 outside the defect, 1 inside, smooth between."""
    angle, from_apex = np.deg2rad([defect.angle_deg, defect.from_apex_deg])
    centre = np.array([np.sin(from_apex) * np.sin(angle), np.sin(from_apex) * np.cos(angle), np.cos(from_apex)])
    away_deg = np.rad2deg(np.arccos(np.clip(ventricle.directions(points_mm) @ centre, -1, 1)))
    across = 0.5 - 0.5 * np.tanh(2 * (away_deg - defect.radius_deg) / defect.edge_deg)
    if defect.transmural >= 1:
        return across
    deep = (ventricle.depth(points_mm) - defect.transmural) / _DEPTH_EDGE
    return across * (0.5 - 0.5 * np.tanh(deep))


def perfusion_truth(anatomy: Anatomy) -> dict[int, float]:
    """True mean uptake of the 17 AHA segments over that of remote myocardium, whatever the grid."""
    ventricle = anatomy.ventricle
    reach = np.arange(-0.75 * ventricle.length_mm, 0.75 * ventricle.length_mm, _TRUTH_STEP_MM)
    cube = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    points = cube + np.array(ventricle.centre_mm)
    wall = points[ventricle.in_wall(points)]
    value, segment = perfusion(anatomy.patient, wall), ventricle.segments(wall)
    return {number: float(value[segment == number].mean()) for number in range(1, 18)}
