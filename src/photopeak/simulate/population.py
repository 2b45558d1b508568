"""Who is in the simulated cohort: one draw of body, heart and disease, and of the two scans that a person has.

Cohort statistics follow CardiAC (PADM, arXiv 2511.06948, Table 2); doses are those of an Asian perfusion cohort (J Nucl
Med Technol 2024, tc.123.266836), counts those that a conventional camera measured (Imbert et al., J Nucl Med 2012).
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch

from photopeak.core.errors import BadArgument
from photopeak.simulate.body import BodyType, draw_body, draw_heart
from photopeak.simulate.disease import Defect, at_rest, draw_defects
from photopeak.simulate.draws import Draw

State = Literal["stress", "rest"]
Stressor = Literal["exercise", "pharmacologic", "none"]
HotGut = Literal["none", "bowel", "stomach", "gallbladder"]
Protocol = Literal["two-day", "stress-rest one-day", "rest-stress one-day"]

PROTOCOLS = {"two-day": 413.0, "stress-rest one-day": 9.0, "rest-stress one-day": 1.0}
HOT_GUT_FRACTION = 0.3
HOT_GUTS = {"bowel": 0.5, "stomach": 0.3, "gallbladder": 0.2}
SECONDS = 900.0
COUNTS_PER_MBQ_S = (0.6, 0.1)
# Mean and SD, MBq; one-day protocols give a small dose first (ASNC 2016: 296 to 444, then 888 to 1332).
_TWO_DAY_MBQ = {"stress": (719.0, 303.0), "rest": (421.0, 205.0)}
_FIRST_MBQ, _SECOND_MBQ = (296.0, 444.0), (888.0, 1332.0)
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
    "liver": (1.0, 0.4),
    "muscle": (1.0, 0.25),
}
_LIVER_UPTAKE = {"exercise": 0.45, "pharmacologic": 0.65, "none": 0.75}
_MUSCLE_UPTAKE = {"exercise": 0.10, "pharmacologic": 0.07, "none": 0.07}
_BETWEEN_SCANS = 0.15
_BREATHING_LOG_SD = 0.5
# SD per axis (left, posterior, head) of well and of badly registered scans, and how many are bad.
_SHIFT_MM, _BAD_SHIFT_MM, _BAD_SHIFTS = (5.0, 5.0, 7.0), (8.0, 8.0, 15.0), 0.28


@dataclass(frozen=True)
class Patient:
    """Everything drawn for one simulated person and one of the scans; lengths in mm unless named otherwise.

    Parameters
    ----------
    state, stressor : "stress" or "rest"; "exercise", "pharmacologic" or "none".
    protocol : "two-day", "stress-rest one-day" or "rest-stress one-day".
    dose_mbq : injected Tc-99m MIBI.
    chest_width_mm, chest_depth_mm : outer size at the level of the heart.
    left_dome_mm : top of the left diaphragm above (+) the lowest point of the left ventricle.
    right_dome_mm : top of the right diaphragm above the left.
    liver_mm : from the top of the right dome to the liver's lower edge in the midline.
    hernia_mm : radius of a stomach that lies behind the heart; 0 for none.
    heart_x_mm, heart_y_mm : middle of the left ventricle, LPS, from the axis of the body; its z is 0.
    lv_radius_mm, lv_length_mm : outer short-axis radius, and outer length from base to apex.
    apical_thinning : part of the wall thickness lost at the apex.
    azimuth_deg, elevation_deg : apex to the left of anterior, and toward the feet.
    lung_mu_per_cm, bone_mu_per_cm : attenuation at 140.5 keV.
    breathing_mm : from end-expiration to end-inspiration, along the body.
    misregistration_mm : how far the CT's map of attenuation lies from the emission, LPS (x, y, z).
    uptake : (organ, concentration over remote myocardium) pairs.
    hot_gut : "none", or what is hot near the inferior wall.
    myocardial_counts : primary counts from the myocardium in the acquisition; as drawn, 60 views of LEHR in 900 s.
    """

    name: str
    sex: Literal["M", "F"]
    age_years: float
    height_m: float
    weight_kg: float
    state: State
    stressor: Stressor
    protocol: Protocol
    dose_mbq: float
    arms_up: bool
    chest_width_mm: float
    chest_depth_mm: float
    belly: float
    fat_mm: float
    breast_mm: float
    left_dome_mm: float
    right_dome_mm: float
    lung_top_mm: float
    liver_mm: float
    stomach_scale: float
    hernia_mm: float
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
    lung_mu_per_cm: float
    bone_mu_per_cm: float
    breathing_mm: float
    misregistration_mm: tuple[float, float, float]
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
        shift = tuple(map(float, record["misregistration_mm"]))
        return cls(**{**record, "uptake": uptake, "defects": defects, "misregistration_mm": shift})


def draw_scans(generator: torch.Generator, *, name: str, body: BodyType = "any") -> tuple[Patient, Patient]:
    """One person at stress and at rest: the same anatomy, called `name`_stress and `name`_rest.

    Parameters
    ----------
    body : "any" for the cohort's mix, "slim", "average" or "obese".
    """
    draw = Draw(generator)
    anatomy = draw_body(draw, body)
    male = anatomy["sex"] == "M"
    anatomy |= draw_heart(
        draw, male=male, scale=anatomy["chest_width_mm"] / 310.0, bmi=anatomy["weight_kg"] / anatomy["height_m"] ** 2
    )
    defects = draw_defects(draw)
    protocol = cast(Protocol, draw.choice(PROTOCOLS))
    stressor: Stressor = "exercise" if draw.chance(0.5) else "pharmacologic"
    organs = {organ: draw.lognormal(mean, cv) for organ, (mean, cv) in _UPTAKE.items()}
    # Larger in men (Pretorius et al.: 1.1 to 37.4 mm, more than 10 mm in a third).
    breathing = (8.2 if male else 7.3) * math.exp(draw.normal(0.0, _BREATHING_LOG_SD))
    common = {**anatomy, "protocol": protocol}

    def scan(state: State, stressor: Stressor, defects: tuple[Defect, ...]) -> Patient:
        hot_gut = _draw_hot_gut(draw)
        dose = _draw_dose(draw, protocol, state)
        sensitivity = draw.normal(*COUNTS_PER_MBQ_S, 0.3, 0.9)
        return Patient(
            name=f"{name}_{state}",
            state=state,
            stressor=stressor,
            dose_mbq=dose,
            **common,
            breathing_mm=min(max(draw.lognormal(breathing, _BETWEEN_SCANS), 1.1), 37.4),
            misregistration_mm=_draw_shift(draw),
            uptake=_draw_uptake(draw, organs, stressor, hot_gut),
            hot_gut=hot_gut,
            defects=defects,
            myocardial_counts=dose * sensitivity * SECONDS,
        )

    return scan("stress", stressor, defects), scan("rest", "none", at_rest(draw, defects))


def draw_patient(generator: torch.Generator, *, name: str) -> Patient:
    """The stress scan of one person, called `name`; the same generator state gives the same patient."""
    return dataclasses.replace(draw_scans(generator, name=name)[0], name=name)


def _draw_dose(draw: Draw, protocol: Protocol, state: State) -> float:
    if protocol == "two-day":
        mean, sd = _TWO_DAY_MBQ[state]
        return min(max(draw.lognormal(mean, sd / mean), 0.25 * mean), 2.5 * mean)
    return draw.uniform(*(_FIRST_MBQ if protocol.startswith(state) else _SECOND_MBQ))


def _draw_hot_gut(draw: Draw) -> HotGut:
    hot = draw.chance(HOT_GUT_FRACTION)
    where = cast(HotGut, draw.choice(HOT_GUTS))
    return where if hot else "none"


def _draw_uptake(
    draw: Draw, organs: Mapping[str, float], stressor: Stressor, hot_gut: HotGut
) -> tuple[tuple[str, float], ...]:
    """What a person's organs take up in one scan: their own level, varied a little from scan to scan."""
    uptake = {organ: level * draw.lognormal(1.0, _BETWEEN_SCANS) for organ, level in organs.items()}
    uptake["liver"] *= _LIVER_UPTAKE[stressor]
    uptake["muscle"] *= _MUSCLE_UPTAKE[stressor]
    uptake["hot_gut"] = draw.uniform(0.5, 1.5) if hot_gut in ("bowel", "stomach") else 0.0
    bright = draw.uniform(2.0, 5.0)
    uptake["gallbladder"] = bright if hot_gut == "gallbladder" else min(uptake["gallbladder"], 5.0)
    return tuple(sorted(uptake.items()))


def _draw_shift(draw: Draw) -> tuple[float, float, float]:
    """Two thirds are off by more than 6.8 mm in some direction, a quarter badly (J Nucl Med 2009; 50:1471)."""
    sds = _BAD_SHIFT_MM if draw.chance(_BAD_SHIFTS) else _SHIFT_MM
    x, y, z = (draw.normal(0.0, sd, -2 * sd, 2 * sd) for sd in sds)
    return x, y, z
