"""The nouns: Grid, Volume, Camera, Projections, Study, LinearOperator, Method."""

from photopeak.core.camera import Camera, SystemOperator
from photopeak.core.errors import PhotopeakError
from photopeak.core.grid import Grid
from photopeak.core.method import Method
from photopeak.core.operator import LinearOperator
from photopeak.core.projections import EnergyWindow, Projections
from photopeak.core.study import Step, Study
from photopeak.core.units import BQML, COUNTS, FACTOR, HU, SUV, Quantity, attenuation
from photopeak.core.volume import Volume

__all__ = [
    "BQML",
    "COUNTS",
    "FACTOR",
    "HU",
    "SUV",
    "Camera",
    "EnergyWindow",
    "Grid",
    "LinearOperator",
    "Method",
    "PhotopeakError",
    "Projections",
    "Quantity",
    "Step",
    "Study",
    "SystemOperator",
    "Volume",
    "attenuation",
]
