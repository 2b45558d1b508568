"""Colon and loops of small bowel, whose FDG no CT foretells: in a few it is intense, in most it is faint.

Courses, sizes and uptakes are assumptions.
"""

from dataclasses import dataclass

from photopeak.simulate.anatomy import Anatomy
from photopeak.simulate.draws import Draw
from photopeak.simulate.paint import presence
from photopeak.simulate.shapes import Array, Point, Shape, tube
from photopeak.simulate.trunk import Trunk

LOOPS, TURNS = 4, 6
INTENSE = 0.12
"""Part of people in whom the colon shines, as metformin makes it."""
_SUV, _INTENSE_SUV, _MOST_SUV = (1.3, 0.45), (3.0, 8.0), 8.0
_DENSITY = (0.90, 1.04)
_LOWEST_MM = -340.0


@dataclass(frozen=True, eq=False)
class Gut:
    """A piece of bowel.

    Parameters
    ----------
    presence : part of each voxel [z, y, x] that it fills.
    suv : of wall and contents together.
    density_g_per_cm3 : less than water's where there is gas.
    """

    presence: Array
    suv: float
    density_g_per_cm3: float


def draw_bowel(draw: Draw, anatomy: Anatomy) -> tuple[Gut, ...]:
    """Three parts of the colon and some loops, where the organs leave them room."""
    trunk, intense = Trunk(anatomy.patient), draw.chance(INTENSE)
    colon = _colon(draw, trunk)
    loops = [_loop(draw, trunk) for _ in range(LOOPS)]
    pieces = []
    for number, shape in enumerate([*colon, *loops]):
        usual, high = draw.lognormal(*_SUV), draw.uniform(*_INTENSE_SUV)
        suv = high if intense and number < len(colon) else min(usual, _MOST_SUV)
        room = presence(shape, anatomy.grid) * anatomy.fractions["viscera"]
        pieces.append(Gut(room, suv, draw.uniform(*_DENSITY)))
    return tuple(pieces)


def _colon(draw: Draw, trunk: Trunk) -> list[Shape]:
    """Ascending, transverse and descending."""
    wide, deep = trunk.inner_width, trunk.inner_depth
    right, left = trunk.right_dome - 150, trunk.left_dome - 95
    sag = draw.uniform(15.0, 70.0)
    across: list[Point] = [
        (-0.62 * wide, -0.30 * deep, right),
        (-0.1 * wide, -0.70 * deep, right - sag),
        (0.3 * wide, -0.68 * deep, right - 0.6 * sag),
        (0.70 * wide, -0.10 * deep, left),
    ]
    radius = draw.uniform(15.0, 23.0)
    return [
        tube([across[0], (-0.68 * wide, 0.1 * deep, right - 40), (-0.62 * wide, 0.0, _LOWEST_MM)], [radius] * 3),
        tube(across, [0.9 * radius] * 4),
        tube([across[-1], (0.74 * wide, 0.25 * deep, left - 50), (0.68 * wide, 0.05 * deep, _LOWEST_MM)], [14.0] * 3),
    ]


def _loop(draw: Draw, trunk: Trunk) -> Shape:
    """A winding piece of small bowel."""
    wide, deep = trunk.inner_width, trunk.inner_depth
    top = min(trunk.right_dome, trunk.left_dome) - 150
    path: list[Point] = [
        (draw.uniform(-0.45, 0.50) * wide, draw.uniform(-0.65, 0.10) * deep, draw.uniform(_LOWEST_MM, top))
        for _ in range(TURNS)
    ]
    return tube(path, [draw.uniform(9.0, 13.0)] * TURNS)
