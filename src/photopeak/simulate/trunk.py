"""The walls of chest and abdomen, and the diaphragm between them."""

from dataclasses import dataclass

import numpy as np

from photopeak.simulate.population import Patient
from photopeak.simulate.shapes import Array, Shape, boxed, intersection, outside, superellipse
from photopeak.simulate.ventricle import LeftVentricle

TALL_MM = (-400.0, 320.0)
"""From the feet's end of everything that is drawn to the head's."""


@dataclass(frozen=True)
class Trunk:
    """The walls of chest and abdomen, and the diaphragm between them."""

    patient: Patient

    @property
    def half_width(self) -> float:
        return self.patient.chest_width_mm / 2

    @property
    def half_depth(self) -> float:
        return self.patient.chest_depth_mm / 2

    @property
    def inner_width(self) -> float:
        """Half width inside the ribs at the heart."""
        return self.half_width - self.patient.fat_mm - 15.0

    @property
    def inner_depth(self) -> float:
        return self.half_depth - self.patient.fat_mm - 15.0

    @property
    def inner_y(self) -> float:
        """The back has more muscle than the front."""
        return -5.0

    @property
    def spine_y(self) -> float:
        return self.half_depth - self.patient.fat_mm - 44.0

    @property
    def left_dome(self) -> float:
        return LeftVentricle.of(self.patient).lowest_mm + self.patient.left_dome_mm

    @property
    def right_dome(self) -> float:
        return self.left_dome + self.patient.right_dome_mm

    def skin(self, depth_mm: float = 0.0) -> Shape:
        """The trunk's outline, `depth_mm` under the skin."""
        belly = self.patient.belly

        def width(z: Array) -> Array:
            return self.half_width * (1 - 0.14 * _rise(z, 50, 190) + 0.5 * belly * _rise(-z, 40, 170)) - depth_mm

        def depth(z: Array) -> Array:
            return self.half_depth * (1 - 0.22 * _rise(z, 20, 190) + belly * _rise(-z, 40, 170)) - depth_mm

        return superellipse(width, depth, 0.0, 2.6, TALL_MM, (1.3 * self.half_width, 1.3 * self.half_depth))

    def inside(self, by_mm: float = 0.0) -> Shape:
        """The space inside the ribs, closed above the lungs; `by_mm` moves its wall outward."""
        top = self.patient.lung_top_mm

        def narrowing(z: Array) -> Array:
            return np.sqrt(np.clip(1 - (np.maximum(z - 10, 0) / (top - 10)) ** 2, 1e-3, 1))

        return superellipse(
            lambda z: self.inner_width * narrowing(z) ** 0.9 + by_mm,
            lambda z: self.inner_depth * narrowing(z) ** 0.7 + by_mm,
            self.inner_y,
            2.4,
            (TALL_MM[0], top),
            (self.inner_width + by_mm, self.inner_depth + by_mm),
        )

    def front_y(self, z: Array | float) -> Array:
        """The inside of the breastbone in the midline."""
        part = np.clip(1 - (np.maximum(z - 10, 0) / (self.patient.lung_top_mm - 10)) ** 2, 1e-3, 1)
        return self.inner_y - self.inner_depth * part**0.35

    def diaphragm_mm(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Height of the diaphragm over (x, y), and how much steeper than level its surface is."""
        rim = min(self.left_dome, self.right_dome) - 85.0
        reach = 0.56 * self.inner_width
        # It is attached higher in front than behind.
        deep = np.where(y < -12, 1.5, 0.95) * np.float32(self.inner_depth)
        square_sum: Array = np.full(1, 1e-6, dtype=np.float32)
        slope_x: Array = np.zeros(1, dtype=np.float32)
        slope_y: Array = np.zeros(1, dtype=np.float32)
        for side, top in ((-1, self.right_dome), (1, self.left_dome)):
            u, v = (x - side * 0.82 * reach) / reach, (y + 12) / deep
            square = u * u + v * v
            power = ((top - rim) * np.exp(-square * square)) ** 2
            square_sum = square_sum + power
            slope_x = slope_x - power * 4 * square * u / reach
            slope_y = slope_y - power * 4 * square * v / deep
        bump = np.sqrt(square_sum)
        return rim + bump, np.sqrt(1 + (slope_x**2 + slope_y**2) / square_sum)

    def below_diaphragm(self, gap_mm: float = 0.0) -> Shape:
        def distance(x: Array, y: Array, z: Array) -> Array:
            height, steepness = self.diaphragm_mm(x, y)
            return (z - height) / steepness + gap_mm

        return boxed(distance, (-1e6, -1e6, -1e6), (1e6, 1e6, max(self.left_dome, self.right_dome) + 25.0))

    def abdomen(self) -> Shape:
        """The peritoneal space under a diaphragm 4 mm thick."""
        return intersection(self.below_diaphragm(4.0), self.inside())

    def lungs(self) -> Shape:
        space = intersection(outside(self.below_diaphragm()), self.inside())
        lowest = min(self.left_dome, self.right_dome) - 90.0
        return boxed(space.distance, (space.low[0], space.low[1], lowest), space.high)


def _rise(z: Array, start: float, stop: float) -> Array:
    """0 before `start`, 1 after `stop`, smooth between."""
    part = np.clip((z - start) / (stop - start), 0, 1)
    return part * part * (3 - 2 * part)
