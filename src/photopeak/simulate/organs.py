"""Where the organs of a patient lie: named shapes in LPS mm, the first of two that overlap wins.

The axis of the body is x = y = 0 and the left ventricle's middle is at z = 0. Sizes are those of a supine adult, scaled
with the patient; nothing here is a measurement of a person.
"""

import numpy as np

from photopeak.simulate.population import Patient
from photopeak.simulate.shapes import (
    Array,
    Point,
    Shape,
    boxed,
    ellipsoid,
    grown,
    half_space,
    intersection,
    smooth_union,
    superellipse,
    tube,
)
from photopeak.simulate.trunk import TALL_MM, Trunk
from photopeak.simulate.ventricle import LeftVentricle

Layers = list[tuple[str, Shape]]
_BREAST_Z_MM = 38.0


def layout(patient: Patient) -> Layers:
    """(tissue, shape) pairs from the highest priority to the lowest."""
    trunk = Trunk(patient)
    chest = _bust(patient, trunk)
    return [
        *_heart(patient, trunk),
        *_bones(trunk),
        *_hernia(patient, trunk),
        *_vessels(patient, trunk),
        *_abdomen(patient, trunk),
        *_mediastinum(patient, trunk),
        ("lung", trunk.lungs()),
        ("diaphragm", trunk.inside()),
        *_limbs(patient, trunk),
        ("breast", grown(chest, -2.0 - 0.12 * patient.breast_mm)),
        ("adipose", chest),
        ("adipose", trunk.skin()),
    ]


def _heart(patient: Patient, trunk: Trunk) -> Layers:
    lv = LeftVentricle.of(patient)
    r, half = lv.radius_mm, lv.length_mm / 2
    s, t = patient.rv_scale, patient.atria_scale
    ventricle = ellipsoid(
        lv.at(-0.80 * r * s, 0.05 * r, -0.22 * half), (1.02 * r * s, 1.0 * r * s, 0.88 * half), lv.axes
    )
    right = intersection(ventricle, trunk.inside(-2.0))
    left_atrium = ellipsoid(lv.at(-2, 2, -half - 16 * t), (31 * t, 27 * t, 24 * t), lv.axes)
    right_atrium = ellipsoid(lv.at(-1.30 * r, 2, -1.15 * half), (25 * t, 30 * t, 25 * t), lv.axes)
    pad = tube([lv.at(-4, -6, half - 10), (0.9 * lv.centre_mm[0], float(trunk.front_y(-30.0)) + 8, -30)], [16, 12])
    return [
        ("lv_cavity", lv.cavity()),
        ("lv_wall", lv.filled()),
        ("blood", grown(right, -4.0)),
        ("rv_wall", right),
        ("blood", left_atrium),
        ("blood", right_atrium),
        ("heart_fat", intersection(grown(right, 4.0), trunk.inside())),
        ("heart_fat", intersection(pad, trunk.inside())),
    ]


def _vessels(patient: Patient, trunk: Trunk) -> Layers:
    lv = LeftVentricle.of(patient)
    r, half = lv.radius_mm, lv.length_mm / 2
    back = trunk.spine_y - 24
    root, atrium = lv.at(-0.3 * r, 8, -half), lv.at(-1.30 * r, 2, -1.15 * half)
    arch: list[Point] = [
        root,
        (-10, -26, 45),
        (-8, -18, 72),
        (8, 0, 88),
        (20, back, 70),
        (21, back, 0),
        (16, back + 2, -400),
    ]
    outflow = lv.at(-0.7 * r, 0.9 * r, -0.3 * half)
    return [
        ("blood", tube(arch, [15, 15, 14, 13, 12, 11, 10])),
        ("blood", tube([outflow, (14, -28, 52), (10, -8, 62), (52, 14, 52)], [14, 13, 12, 8])),
        ("blood", tube([(10, -8, 60), (-50, 10, 48)], [11, 8])),
        ("blood", tube([atrium, (-28, -16, 60), (-26, -18, 130)], [11, 9, 8])),
        ("blood", tube([atrium, (-22, 10, trunk.right_dome - 10), (-18, back, -400)], [12, 11, 10])),
        ("air", tube([(0, back - 6, 70), (0, back - 14, 320)], [7, 8])),
    ]


def _bones(trunk: Trunk) -> Layers:
    y, wide, deep = trunk.spine_y, trunk.half_width, trunk.inner_depth
    chest = trunk.inside()
    limit = trunk.inside(12.0)

    def vertebra(z: Array) -> Array:
        # The lung apex fixes the levels, so that patients differ in which vertebra is behind the heart.
        return np.abs((z - trunk.patient.lung_top_mm) % 32.0 - 16.0) - 13.0

    def column(half_width: float, centre_y: float, half_depth: float) -> Shape:
        size = (half_width, half_depth)
        bar = superellipse(lambda z: half_width + 0 * z, lambda z: half_depth + 0 * z, centre_y, 2.2, TALL_MM, size)
        return boxed(lambda x, y, z: np.maximum(bar.distance(x, y, z), vertebra(z)), bar.low, bar.high)

    def ribs(x: Array, y: Array, z: Array) -> Array:
        wall = np.abs(chest.distance(x, y, z) - 6.0) - 3.5
        tilted = np.abs((z - 0.4 * y) % 28.0 - 14.0) - 5.5
        breastbone_gap = 26.0 - np.abs(x) + 0.7 * np.maximum(y + 0.6 * deep, 0)
        return np.maximum(np.maximum(wall, tilted * 0.93), breastbone_gap)

    def breastbone(x: Array, y: Array, z: Array) -> Array:
        plate = np.abs(y - trunk.front_y(z) + 6) - 5.5
        return np.maximum(np.maximum(plate, np.abs(x) - (17 + 0.06 * z)), np.abs(z - 40) - 80)

    return [
        ("bone", column(20.0, y, 16.0)),
        ("bone", column(26.0, y + 25.0, 4.5)),
        ("bone", column(4.0, y + 30.0, 11.0)),
        ("bone", boxed(ribs, (limit.low[0], limit.low[1], -150.0), limit.high)),
        ("bone", boxed(breastbone, (-25.0, -wide, -40.0), (25.0, 0.0, 120.0))),
    ]


def _abdomen(patient: Patient, trunk: Trunk) -> Layers:
    left, right, wide = trunk.left_dome, trunk.right_dome, trunk.inner_width
    space, size = trunk.abdomen(), patient.stomach_scale
    liver = intersection(
        space,
        half_space((0.55, 0.1, -1.0), patient.liver_mm - right),
        half_space((0.75, 1.0, 0.0), 16.0),
        half_space((1.2, 0.3, -1.0), 0.5 * wide - left),
    )
    path = [(0.50 * wide, 26, left - 36), (0.46 * wide, -18, left - 58), (0.10 * wide, -44, left - 92)]
    stomach = tube(path, [33 * size, 28 * size, 17 * size])
    loop = tube(
        [(0.72 * wide, 0, left - 34), (0.56 * wide, -42, left - 26), (0.30 * wide, -54, left - 40), (-20, -58, -170)],
        [13, 12, 12, 13],
    )
    spleen = ellipsoid((0.66 * wide, 40, left - 56), (36, 40, 54))
    organs: Layers = [
        ("bowel", loop),
        ("gallbladder", tube([(-0.30 * wide, -20, right - 105), (-0.36 * wide, -52, right - 130)], [10, 15])),
        ("stomach", grown(stomach, -4.0)),
        ("stomach_wall", stomach),
        ("spleen", spleen),
        ("kidney", ellipsoid((58, 36, left - 110), (26, 23, 52))),
        ("kidney", ellipsoid((-58, 36, right - 145), (26, 23, 52))),
    ]
    return [(name, intersection(shape, space)) for name, shape in organs] + [("liver", liver), ("viscera", space)]


def _hernia(patient: Patient, trunk: Trunk) -> Layers:
    """The part of a stomach that has slid through the diaphragm: between the heart and the spine."""
    if not patient.hernia_mm:
        return []
    lv, size = LeftVentricle.of(patient), patient.hernia_mm
    front = lv.at(0, 0, -lv.length_mm / 2)[1] + 20
    middle = (18.0, (front + trunk.spine_y - 16) / 2 + 8, lv.lowest_mm + 0.9 * size)
    sac = intersection(ellipsoid(middle, (1.2 * size, 0.9 * size, size)), trunk.inside())
    return [("stomach", grown(sac, -4.0)), ("stomach_wall", sac)]


def _mediastinum(patient: Patient, trunk: Trunk) -> Layers:
    lv = LeftVentricle.of(patient)
    top = patient.lung_top_mm
    middle = (trunk.front_y(60.0) + trunk.spine_y) / 2
    front = [(0, float(trunk.front_y(z)) + 4, z) for z in (-50.0, 30.0, 110.0)]
    shapes = [
        ellipsoid((2, float(middle), 80), (32, 62, top - 15)),
        tube([lv.at(-lv.radius_mm, 0, -20), (0, trunk.spine_y - 10, -10)], [34, 26]),
    ]
    retrosternal = intersection(tube(front, [15, 11, 9]), trunk.inside())
    beside_spine = tube([(0, trunk.spine_y + 6, -400), (0, trunk.spine_y + 6, 320)], [27, 27])
    return [
        ("muscle", intersection(beside_spine, trunk.inside())),
        ("heart_fat", retrosternal),
        *(("mediastinum", intersection(shape, trunk.inside())) for shape in shapes),
    ]


def _limbs(patient: Patient, trunk: Trunk) -> Layers:
    """Arms and the muscle of the trunk; an arm that is up leaves the chest above the heart."""
    fat, wide = patient.fat_mm, trunk.half_width
    thick = 35.0 + 0.5 * fat
    if patient.arms_up:
        path = [(0.62 * wide, 15.0, 125.0), (0.98 * wide, 5.0, 190.0), (1.15 * wide, 0.0, 320.0)]
    else:
        beside = wide + thick - 10
        path = [(0.72 * wide, 12.0, 165.0), (beside, 15.0, 110.0), (beside, 20.0, -400.0)]
    arms = [[(side * x, y, z) for x, y, z in path] for side in (-1, 1)]
    return [
        *(("bone", tube(arm[1:], [11, 11])) for arm in arms),
        *(("muscle", tube(arm, [thick - 0.6 * fat] * 3)) for arm in arms),
        ("muscle", trunk.skin(fat)),
        *(("adipose", tube(arm, [thick] * 3)) for arm in arms),
    ]


def _bust(patient: Patient, trunk: Trunk) -> Shape:
    """Breasts lying to the sides of a supine chest, running smoothly into it."""
    size = patient.breast_mm
    spread, part = 38.0 + 0.6 * size, 0.51
    surface = -trunk.half_depth * (1 - part**2.6) ** (1 / 2.6)
    breasts = []
    for side in (-1, 1):
        turn = np.deg2rad(22.0) * side
        axes = np.array([[np.cos(turn), np.sin(turn), 0], [np.sin(turn), -np.cos(turn), 0], [0, 0, 1]])
        centre = (side * part * trunk.half_width, surface + 8, _BREAST_Z_MM)
        breasts.append(ellipsoid(centre, (spread, size + 6, 1.1 * spread), axes))
    blend = 6.0 + 0.25 * size
    joined = smooth_union([trunk.skin(), *breasts], blend)
    low = [min(b.low[k] for b in breasts) - blend for k in range(3)]
    high = [max(b.high[k] for b in breasts) + blend for k in range(3)]
    return boxed(joined.distance, low, (high[0], 0.0, high[2]))
