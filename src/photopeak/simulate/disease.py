"""Coronary disease: perfusion defects by territory, at stress and at rest.

Shares of territories, extents, severities and kinds are assumptions that span what perfusion studies describe.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, cast

from photopeak.simulate.draws import Draw

Kind = Literal["reversible", "fixed", "mixed"]

ABNORMAL_FRACTION = 0.45
MULTIVESSEL_FRACTION = 0.2
TERRITORIES = {"LAD": 0.45, "RCA": 0.30, "LCX": 0.25}
KINDS = {"reversible": 0.50, "fixed": 0.25, "mixed": 0.25}
# Mean angle and its SD (from anterior toward lateral), range of the angle from the apex; degrees.
_PLACE = {"LAD": (-25.0, 20.0, 15.0, 75.0), "RCA": (-170.0, 15.0, 45.0, 90.0), "LCX": (112.0, 18.0, 45.0, 90.0)}


@dataclass(frozen=True)
class Defect:
    """A perfusion defect: a cap on the left ventricle seen from its inside.

    Parameters
    ----------
    territory : "LAD", "RCA" or "LCX".
    angle_deg : centre around the long axis, from anterior (0) toward lateral (90).
    from_apex_deg : centre as an angle from the apical direction, with the ventricle scaled to a sphere.
    radius_deg : angular radius of the cap, to the half-way point of its edge.
    edge_deg : width of the smooth edge.
    uptake : what is left of normal uptake, 0 to 1.
    transmural : part of the wall's depth that is affected, from the endocardium, 0 to 1.
    kind : "reversible" (gone at rest), "fixed" (the same at rest) or "mixed" (milder at rest).
    """

    territory: str
    angle_deg: float
    from_apex_deg: float
    radius_deg: float
    edge_deg: float
    uptake: float
    transmural: float
    kind: Kind = "fixed"


def draw_defects(draw: Draw) -> tuple[Defect, ...]:
    """The defects of one person at stress; none in most, two territories in one of five of the others."""
    if not draw.chance(ABNORMAL_FRACTION):
        return ()
    territories = [draw.choice(TERRITORIES)]
    if draw.chance(MULTIVESSEL_FRACTION):
        others = {name: weight for name, weight in TERRITORIES.items() if name not in territories}
        territories.append(draw.choice(others))
    return tuple(_draw_defect(draw, territory) for territory in territories)


def at_rest(draw: Draw, defects: tuple[Defect, ...]) -> tuple[Defect, ...]:
    """What is left of stress defects at rest: a mixed one has 30 to 70 % of its depth."""
    left = []
    for defect in defects:
        part = draw.uniform(0.3, 0.7)
        if defect.kind == "mixed":
            left.append(dataclasses.replace(defect, uptake=1 - part * (1 - defect.uptake)))
        elif defect.kind == "fixed":
            left.append(defect)
    return tuple(left)


def _draw_defect(draw: Draw, territory: str) -> Defect:
    """Extent is 5 to 35 % of the wall; a cap of angular radius r covers (1 - cos r) / (1 - cos 115 deg) of it."""
    angle, sd, low, high = _PLACE[territory]
    extent = 0.05 + 0.30 * draw.uniform(0.0, 1.0) ** 1.5
    return Defect(
        territory=territory,
        angle_deg=draw.normal(angle, sd, angle - 2 * sd, angle + 2 * sd),
        from_apex_deg=draw.uniform(low, high),
        radius_deg=math.degrees(math.acos(1 - extent * (1 - math.cos(math.radians(115.0))))),
        edge_deg=draw.uniform(6.0, 12.0),
        uptake=draw.uniform(0.2, 0.85),
        transmural=draw.uniform(0.3, 1.0),
        kind=cast(Kind, draw.choice(KINDS)),
    )
