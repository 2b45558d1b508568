"""Who is in the simulated cohort: one draw of body, heart, uptake and disease.

Cohort statistics follow CardiAC (PADM, arXiv 2511.06948, Table 2); body dimensions, uptake ratios and disease are
published ranges or stated assumptions.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from photopeak.core.errors import BadArgument

State = Literal["stress", "rest"]
Stressor = Literal["exercise", "pharmacologic", "none"]
HotGut = Literal["none", "bowel", "stomach"]

MALE_FRACTION = 323 / 424
HOT_GUT_FRACTION = 0.3
ABNORMAL_FRACTION = 0.45
MULTIVESSEL_FRACTION = 0.2
TERRITORIES = {"LAD": 0.45, "RCA": 0.30, "LCX": 0.25}
# Mean angle and its SD (from anterior toward lateral), range of the angle from the apex; degrees.
_TERRITORY_PLACE = {
    "LAD": (-25.0, 20.0, 15.0, 75.0),
    "RCA": (-170.0, 15.0, 45.0, 90.0),
    "LCX": (112.0, 18.0, 45.0, 90.0),
}
# Mean and coefficient of variation of concentration over remote myocardium.
_UPTAKE = {
    "spleen": (0.5, 0.4),
    "kidney": (0.9, 0.35),
    "gallbladder": (1.5, 0.8),
    "blood": (0.10, 0.3),
    "rv_wall": (0.35, 0.25),
    "lung": (0.08, 0.35),
    "adipose": (0.03, 0.2),
    "bone": (0.08, 0.25),
    "gut": (0.22, 0.5),
}
_LIVER_UPTAKE = {"exercise": 0.45, "pharmacologic": 0.65, "none": 0.75}
_COUNTS = {"stress": 390e3, "rest": 230e3}


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
    """

    territory: str
    angle_deg: float
    from_apex_deg: float
    radius_deg: float
    edge_deg: float
    uptake: float
    transmural: float


@dataclass(frozen=True)
class Patient:
    """Everything drawn for one simulated patient and one acquisition; lengths in mm unless named otherwise.

    Parameters
    ----------
    state, stressor : "stress" or "rest"; "exercise", "pharmacologic" or "none".
    chest_width_mm, chest_depth_mm : outer size at the level of the heart.
    left_dome_mm : top of the left diaphragm above (+) the lowest point of the left ventricle.
    right_dome_mm : top of the right diaphragm above the left.
    heart_x_mm, heart_y_mm : middle of the left ventricle, LPS, from the axis of the body; its z is 0.
    lv_radius_mm, lv_length_mm : outer short-axis radius, and outer length from base to apex.
    apical_thinning : part of the wall thickness lost at the apex.
    azimuth_deg, elevation_deg : apex to the left of anterior, and toward the feet.
    lung_mu_per_cm, bone_mu_per_cm : attenuation at 140.5 keV.
    uptake : (organ, concentration over remote myocardium) pairs.
    hot_gut : "none", "bowel" or "stomach": a hot loop or wall near the inferior wall.
    myocardial_counts : primary counts from the myocardium in a 60-view LEHR acquisition.
    """

    name: str
    sex: Literal["M", "F"]
    age_years: float
    height_m: float
    weight_kg: float
    state: State
    stressor: Stressor
    arms_up: bool
    chest_width_mm: float
    chest_depth_mm: float
    belly: float
    fat_mm: float
    breast_mm: float
    left_dome_mm: float
    right_dome_mm: float
    lung_top_mm: float
    heart_x_mm: float
    heart_y_mm: float
    lv_radius_mm: float
    lv_length_mm: float
    wall_mm: float
    apical_thinning: float
    azimuth_deg: float
    elevation_deg: float
    rv_scale: float
    atria_scale: float
    stomach_scale: float
    lung_mu_per_cm: float
    bone_mu_per_cm: float
    uptake: tuple[tuple[str, float], ...]
    hot_gut: HotGut
    defects: tuple[Defect, ...]
    myocardial_counts: float

    @property
    def bmi(self) -> float:
        """Body mass index, kg/m2."""
        return self.weight_kg / self.height_m**2

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, tuples and dictionaries."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Patient":
        """The patient of a `to_dict` record, also after a round trip through JSON."""
        known = {field.name for field in dataclasses.fields(cls)}
        if set(record) != known:
            raise BadArgument(
                f"patient record with wrong keys {sorted(set(record) ^ known)}",
                needed="exactly the fields of Patient",
                remedy="Write records with Patient.to_dict of this version.",
            )
        uptake = tuple((str(organ), float(value)) for organ, value in record["uptake"])
        defects = tuple(Defect(**defect) for defect in record["defects"])
        return cls(**{**record, "uptake": uptake, "defects": defects})


def draw_patient(generator: torch.Generator, *, name: str) -> Patient:
    """One patient of the cohort; the same generator state gives the same patient."""
    draw = _Draw(generator)
    body = _draw_body(draw)
    male = body["sex"] == "M"
    state: State = "stress" if draw.chance(0.5) else "rest"
    stressor = _draw_stressor(draw, state)
    heart = _draw_heart(draw, male=male, scale=body["chest_width_mm"] / 310.0)
    hot_gut = _draw_hot_gut(draw)
    return Patient(
        name=name,
        state=state,
        stressor=stressor,
        **body,
        **heart,
        uptake=_draw_uptake(draw, stressor, hot_gut),
        hot_gut=hot_gut,
        defects=_draw_defects(draw),
        myocardial_counts=min(max(draw.lognormal(_COUNTS[state], 0.35), 0.3 * _COUNTS[state]), 2.5 * _COUNTS[state]),
    )


@dataclass(frozen=True)
class _Draw:
    """Named distributions on one generator."""

    generator: torch.Generator

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator, dtype=torch.float64))

    def normal(self, mean: float, sd: float, low: float = -math.inf, high: float = math.inf) -> float:
        value = mean + sd * float(torch.randn((), generator=self.generator, dtype=torch.float64))
        return min(max(value, low), high)

    def lognormal(self, mean: float, cv: float) -> float:
        spread = math.log1p(cv**2)
        return mean * math.exp(math.sqrt(spread) * self.normal(0.0, 1.0) - spread / 2)

    def chance(self, probability: float) -> bool:
        return self.uniform(0.0, 1.0) < probability

    def choice(self, weights: Mapping[str, float]) -> str:
        point, names = self.uniform(0.0, sum(weights.values())), list(weights)
        for option in names[:-1]:
            point -= weights[option]
            if point < 0:
                return option
        return names[-1]


def _draw_body(draw: _Draw) -> dict[str, Any]:
    male = draw.chance(MALE_FRACTION)
    height = draw.normal(1.645, 0.065, 1.45, 1.85) if male else draw.normal(1.54, 0.06, 1.36, 1.72)
    bmi = draw.normal(24.3, 3.1, 16.5, 38.0) if male else draw.normal(23.8, 3.6, 16.0, 38.0)
    excess, tall = bmi - 24.0, 100 * height - (164 if male else 154)
    fat = (8.0 if male else 13.0) + 1.1 * excess + draw.normal(0.0, 2.0)
    breast = draw.lognormal(28.0 * math.exp(0.05 * excess), 0.3) if not male else draw.lognormal(6.0, 0.4)
    return {
        "sex": "M" if male else "F",
        "age_years": draw.normal(65.4, 10.2, 30.0, 92.0),
        "height_m": height,
        "weight_kg": bmi * height**2,
        "arms_up": draw.chance(0.75),
        "chest_width_mm": (312.0 if male else 284.0) + 5.0 * excess + 0.4 * tall + draw.normal(0.0, 9.0),
        "chest_depth_mm": (212.0 if male else 196.0) + 4.5 * excess + 0.2 * tall + draw.normal(0.0, 7.0),
        "belly": min(max(0.02 + 0.018 * excess + draw.normal(0.0, 0.04), -0.10), 0.30),
        "fat_mm": min(max(fat, 4.0), 32.0),
        "breast_mm": min(breast, 75.0 if not male else 16.0),
        "left_dome_mm": draw.normal(4.0 + 0.5 * excess, 8.0, -12.0, 28.0),
        "right_dome_mm": draw.normal(15.0, 6.0, 0.0, 32.0),
        "lung_top_mm": draw.normal(140.0 + 0.8 * tall, 8.0, 115.0, 170.0),
        "stomach_scale": draw.uniform(0.75, 1.25),
        "lung_mu_per_cm": draw.uniform(0.040, 0.048),
        "bone_mu_per_cm": draw.uniform(0.22, 0.25),
    }


def _draw_heart(draw: _Draw, *, male: bool, scale: float) -> dict[str, Any]:
    return {
        "heart_x_mm": draw.normal(42.0, 5.0, 28.0, 58.0) * scale,
        "heart_y_mm": draw.normal(-25.0, 5.0, -38.0, -12.0) * scale,
        "lv_radius_mm": draw.normal(33.6 if male else 31.4, 1.5, 30.0, 38.0),
        "lv_length_mm": draw.normal(86.0 if male else 80.5, 4.0, 75.0, 95.0),
        "wall_mm": draw.normal(10.2 if male else 9.5, 0.5, 9.0, 11.0),
        "apical_thinning": draw.uniform(0.30, 0.40),
        "azimuth_deg": draw.normal(45.0, 5.0, 35.0, 55.0),
        "elevation_deg": draw.normal(21.0, 6.0, 10.0, 35.0),
        "rv_scale": draw.normal(1.0, 0.07, 0.85, 1.2),
        "atria_scale": draw.normal(1.0, 0.08, 0.8, 1.25),
    }


def _draw_stressor(draw: _Draw, state: State) -> Stressor:
    if state == "rest":
        return "none"
    return "exercise" if draw.chance(0.5) else "pharmacologic"


def _draw_hot_gut(draw: _Draw) -> HotGut:
    if not draw.chance(HOT_GUT_FRACTION):
        return "none"
    return "bowel" if draw.chance(0.6) else "stomach"


def _draw_uptake(draw: _Draw, stressor: str, hot_gut: str) -> tuple[tuple[str, float], ...]:
    uptake = {organ: draw.lognormal(mean, cv) for organ, (mean, cv) in _UPTAKE.items()}
    uptake["gallbladder"] = min(uptake["gallbladder"], 5.0)
    uptake["liver"] = draw.lognormal(_LIVER_UPTAKE[stressor], 0.4)
    uptake["muscle"] = draw.lognormal(0.10 if stressor == "exercise" else 0.07, 0.25)
    uptake["hot_gut"] = 0.0 if hot_gut == "none" else draw.uniform(0.5, 1.5)
    return tuple(sorted(uptake.items()))


def _draw_defects(draw: _Draw) -> tuple[Defect, ...]:
    if not draw.chance(ABNORMAL_FRACTION):
        return ()
    territories = [draw.choice(TERRITORIES)]
    if draw.chance(MULTIVESSEL_FRACTION):
        others = {name: weight for name, weight in TERRITORIES.items() if name not in territories}
        territories.append(draw.choice(others))
    return tuple(_draw_defect(draw, territory) for territory in territories)


def _draw_defect(draw: _Draw, territory: str) -> Defect:
    """Extent is 5 to 35 % of the wall; a cap of angular radius r covers (1 - cos r) / (1 - cos 115 deg) of it."""
    angle, sd, low, high = _TERRITORY_PLACE[territory]
    extent = 0.05 + 0.30 * draw.uniform(0.0, 1.0) ** 1.5
    return Defect(
        territory=territory,
        angle_deg=draw.normal(angle, sd, angle - 2 * sd, angle + 2 * sd),
        from_apex_deg=draw.uniform(low, high),
        radius_deg=math.degrees(math.acos(1 - extent * (1 - math.cos(math.radians(115.0))))),
        edge_deg=draw.uniform(6.0, 12.0),
        uptake=draw.uniform(0.2, 0.85),
        transmural=draw.uniform(0.3, 1.0),
    )
