"""The CT of a simulated person: CT numbers of every tissue by tube voltage, and noise.

A tissue is a mixture of materials by density, so that its CT number follows the voltage as its composition says. A
spectrum behind a body acts as one photon energy: that at which cortical bone has the CT number that Carney et al. (Med
Phys 2006; 33:976) give it for each voltage.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from photopeak.core import HU, Volume
from photopeak.core.errors import BadArgument
from photopeak.simulate.anatomy import Anatomy
from photopeak.simulate.draws import Draw
from photopeak.simulate.paint import painted
from photopeak.simulate.population import Patient
from photopeak.simulate.shapes import Array

EFFECTIVE_KEV: Mapping[float, float] = {80.0: 59.0, 100.0: 67.4, 120.0: 74.7, 140.0: 80.5}
VOLTAGES = {80.0: 0.10, 100.0: 0.30, 120.0: 0.40, 140.0: 0.20}
"""How often; assumed."""
NOISE_HU = (14.0, 0.35)
"""SD in a voxel of 4 x 4 x 5 mm amid the trunk, mean and coefficient of variation over people; assumed, low dose."""
_WATER, _MUSCLE, _FAT = "water", "skeletal muscle", "adipose tissue"
_LUNG, _CORTICAL = "lung", "cortical bone"
# g/cm3 of each material in a tissue, as dense as makes the anatomy's attenuation at 511 keV; lung and bone are drawn.
_TISSUES: Mapping[str, Mapping[str, float]] = {
    "lv_cavity": {_MUSCLE: 1.06},
    "lv_wall": {_MUSCLE: 1.05},
    "rv_wall": {_MUSCLE: 1.05},
    "blood": {_MUSCLE: 1.06},
    "adipose": {_FAT: 0.95},
    "heart_fat": {_FAT: 0.95},
    "muscle": {_MUSCLE: 1.05},
    "diaphragm": {_MUSCLE: 1.05},
    "breast": {_FAT: 0.50, _MUSCLE: 0.51},
    "mediastinum": {_FAT: 0.45, _MUSCLE: 0.555},
    "viscera": {_FAT: 0.50, _MUSCLE: 0.50},
    "bowel": {_WATER: 1.0},
    "stomach": {_WATER: 1.0},
    "stomach_wall": {_MUSCLE: 1.05},
    "gallbladder": {_WATER: 1.015},
    "liver": {_MUSCLE: 1.06},
    "spleen": {_MUSCLE: 1.06},
    "kidney": {_MUSCLE: 1.045},
}
# 1/cm at 140.5 keV, at which lung and bone of a person are drawn.
_WATER_PER_CM, _MUSCLE_PER_CM, _CORTICAL_PER_CM = 0.1536, 0.1599, 0.2947
_CORTICAL_DENSITY = 1.92
_DENSITY_CV = 0.006
_AIR_HU = -1000.0


def draw_density(draw: Draw) -> dict[str, float]:
    """Relative density of each soft tissue in one person: some 6 HU from one to another."""
    return {tissue: draw.normal(1.0, _DENSITY_CV, 0.98, 1.02) for tissue in _TISSUES}


def composition(patient: Patient) -> dict[str, Mapping[str, float]]:
    """g/cm3 of each material in every tissue but air, which has none."""
    dense = (patient.bone_mu_per_cm - _MUSCLE_PER_CM) / (_CORTICAL_PER_CM - _MUSCLE_PER_CM)
    bone = {_MUSCLE: 1.05 * (1 - dense), _CORTICAL: _CORTICAL_DENSITY * dense}
    return {**_TISSUES, "bone": bone, "lung": {_LUNG: patient.lung_mu_per_cm / _WATER_PER_CM}}


def ct_noise_free(
    anatomy: Anatomy,
    bodies: Sequence[tuple[Array, float]],
    over_water: Mapping[str, float],
    density: Mapping[str, float],
) -> Volume:
    """CT numbers, HU, in the middle of a breath.

    Parameters
    ----------
    bodies : (part of each voxel [z, y, x], g/cm3 of soft tissue) painted over the tissues.
    over_water : mass attenuation of each material over that of water, at the `EFFECTIVE_KEV` of the voltage.
    density : of tissues, relative to what they usually are.
    """
    table = {
        tissue: density.get(tissue, 1.0) * sum(grams * over_water[material] for material, grams in parts.items())
        for tissue, parts in composition(anatomy.patient).items()
    }
    soft = [(part, grams * over_water[_MUSCLE]) for part, grams in bodies]
    relative = painted(anatomy.weighted(table), soft)
    return Volume.from_numpy(1000 * relative + _AIR_HU, anatomy.grid, HU)


def with_noise(ct: Volume, sd_hu: float, generator: torch.Generator) -> Volume:
    """`ct` with noise from voxel to voxel, more of it in thick slices: tube current follows half of what they absorb.

    Parameters
    ----------
    sd_hu : SD in a slice of mean thickness.
    """
    if not 0 <= sd_hu < 1000:
        raise BadArgument(f"noise of {sd_hu:g} HU", needed="0 to 1000 HU", remedy="Low-dose CT has 10 to 30.")
    relative = (ct.numpy() - _AIR_HU) / 1000
    _, dy, dx = ct.grid.spacing_mm
    across_cm = np.sqrt(4 / np.pi * dy * dx / 100 * relative.clip(min=0).sum(axis=(1, 2)))
    rise = np.exp(0.25 * _WATER_PER_CM * (across_cm - across_cm.mean()))
    noise = torch.randn(ct.grid.shape, generator=generator) * torch.from_numpy(sd_hu * rise).float()[:, None, None]
    return ct.with_data((ct.data + noise).clamp(min=-1024.0))
