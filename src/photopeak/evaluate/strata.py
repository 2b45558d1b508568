"""Kinds of patients among whom a method may fail while it does well on average."""

from collections.abc import Mapping
from typing import Any

from photopeak.core import Study

BMI_LIMITS = (25.0, 30.0)
LARGE_BREAST_MM = 25.0
MISREGISTERED_MM = 6.4
UNKNOWN = "not told"
STRATA = ("sex", "BMI class", "breast size", "state", "perfusion", "CT")


def strata_of(study: Study, *, state: str | None = None) -> dict[str, str]:
    """The class of a scan in each of STRATA; UNKNOWN where the study does not say.

    Misregistered means that the hospital's map is more than one pixel of 6.4 mm away. Men have no breast size.

    Parameters
    ----------
    state : "stress" or "rest" where the manifest knows it.
    """
    facts = {**study.facts.get("patient", {}), **study.facts}
    shift = facts.get("misregistration_mm")
    return {
        "sex": {"F": "women", "M": "men"}.get(facts.get("sex", ""), UNKNOWN),
        "BMI class": _bmi_class(facts),
        "breast size": _breast_class(facts),
        "state": state or facts.get("state") or UNKNOWN,
        "perfusion": UNKNOWN if "defects" not in facts else "defect" if facts["defects"] else "normal",
        "CT": UNKNOWN if shift is None else _registration_class(sum(x * x for x in shift) ** 0.5),
    }


def _bmi_class(facts: Mapping[str, Any]) -> str:
    height, weight = facts.get("height_m"), facts.get("weight_kg")
    if not height or not weight:
        return UNKNOWN
    bmi, (normal, obese) = weight / height**2, BMI_LIMITS
    return f"below {normal:g}" if bmi < normal else f"{normal:g} to {obese:g}" if bmi < obese else f"{obese:g} or more"


def _breast_class(facts: Mapping[str, Any]) -> str:
    if "breast_mm" not in facts or "sex" not in facts:
        return UNKNOWN
    if facts["sex"] == "M":
        return "men"
    return (
        f"{LARGE_BREAST_MM:g} mm or more" if facts["breast_mm"] >= LARGE_BREAST_MM else f"below {LARGE_BREAST_MM:g} mm"
    )


def _registration_class(distance_mm: float) -> str:
    return f"shifted above {MISREGISTERED_MM:g} mm" if distance_mm > MISREGISTERED_MM else "in register"
