"""Bodies and hearts of the cohort, as named lengths and angles.

Sex, age, height and weight follow CardiAC (PADM, arXiv 2511.06948, Table 2: 323 men and 101 women, 65.4 +- 10.2 years,
1.62 +- 0.10 m, 63.2 +- 10.5 kg). Other lengths are assumptions, tuned to what attenuation does to normal studies
(docs/data-card-simulated.md); no person was measured.
"""

from typing import Any, Literal

from photopeak.core.errors import BadArgument
from photopeak.simulate.draws import Draw

BodyType = Literal["any", "slim", "average", "obese"]

MALE_FRACTION = 323 / 424
ARMS_UP_FRACTION = 0.9
BMI_RANGES = {"slim": (17.0, 20.0), "average": (22.5, 25.5), "obese": (31.0, 36.0)}
HERNIA_FRACTION = 0.03


def draw_body(draw: Draw, body: BodyType = "any") -> dict[str, Any]:
    """Sex, size and outline of one person, and where the diaphragm is.

    Parameters
    ----------
    body : "any" for the cohort's mix, or a body type by its range of body mass index.
    """
    if body != "any" and body not in BMI_RANGES:
        raise BadArgument(f"body {body!r}", needed=f"any, {', '.join(BMI_RANGES)}", remedy="Use one of these.")
    male = draw.chance(MALE_FRACTION)
    height = draw.normal(1.645, 0.090, 1.40, 1.90) if male else draw.normal(1.54, 0.082, 1.30, 1.78)
    bmi = draw.normal(24.3, 2.9, 16.5, 38.0) if male else draw.normal(23.8, 3.4, 16.0, 38.0)
    if body != "any":
        bmi = draw.uniform(*BMI_RANGES[body])
    excess, tall = bmi - 24.0, 100 * height - (164 if male else 154)
    fat = (12.0 if male else 13.0) + 0.9 * excess + draw.normal(0.0, 2.0)
    breast = draw.lognormal(6.0, 0.4) if male else draw.lognormal(40.0 * 1.05**excess, 0.25)
    return {
        "sex": "M" if male else "F",
        "age_years": draw.normal(65.4, 10.2, 30.0, 92.0),
        "height_m": height,
        "weight_kg": bmi * height**2,
        "arms_up": draw.chance(ARMS_UP_FRACTION),
        "chest_width_mm": (321.0 if male else 284.0) + 5.0 * excess + 0.4 * tall + draw.normal(0.0, 9.0),
        "chest_depth_mm": (226.0 if male else 197.0) + 4.5 * excess + 0.2 * tall + draw.normal(0.0, 7.0),
        "belly": min(max(0.02 + 0.018 * excess + draw.normal(0.0, 0.04), -0.10), 0.30),
        "fat_mm": min(max(fat, 4.0), 32.0),
        "breast_mm": min(breast, 16.0 if male else 62.0),
        "left_dome_mm": (-7.0 if male else -10.0) + 1.3 * excess + draw.normal(0.0, 7.0, -14.0, 24.0),
        "right_dome_mm": draw.normal(14.0, 6.0, 0.0, 30.0),
        "lung_top_mm": draw.normal(140.0 + 0.8 * tall, 8.0, 115.0, 170.0),
        "liver_mm": (57.0 if male else 73.0) + draw.normal(0.0, 5.0, -12.0, 12.0),
        "stomach_scale": draw.uniform(0.75, 1.25),
        "hernia_mm": draw.uniform(18.0, 30.0) if draw.chance(HERNIA_FRACTION) else 0.0,
        "lung_mu_per_cm": draw.uniform(0.040, 0.048),
        "bone_mu_per_cm": draw.uniform(0.22, 0.25),
    }


def draw_heart(draw: Draw, *, male: bool, scale: float, bmi: float) -> dict[str, Any]:
    """Place, direction and size of the heart; `scale` is the width of the chest over that of an average man.

    Both ventricles are larger in the obese (Lauer et al., JAMA 1991; 266:231; Chahal et al., Chest 2012; 141:388).
    """
    excess = bmi - 24.0
    return {
        "heart_x_mm": draw.normal(42.0, 5.0, 28.0, 58.0) * scale,
        "heart_y_mm": draw.normal(-33.0, 4.0, -41.0, -21.0) * scale,
        "lv_radius_mm": draw.normal((33.6 if male else 31.4) + 0.14 * excess, 1.5, 30.0, 38.0),
        "lv_length_mm": draw.normal((86.0 if male else 80.5) + 0.35 * excess, 4.0, 75.0, 95.0),
        "wall_mm": draw.normal((10.2 if male else 9.5) + 0.05 * excess, 0.5, 9.0, 11.0),
        "apical_thinning": draw.uniform(0.30, 0.40),
        "azimuth_deg": draw.normal(45.0, 5.0, 35.0, 55.0),
        "elevation_deg": draw.normal(21.0, 6.0, 10.0, 35.0),
        "rv_scale": draw.normal(1.0 + 0.004 * excess, 0.07, 0.85, 1.2),
        "atria_scale": draw.normal(1.0, 0.08, 0.8, 1.25),
    }
