from photopeak.core import Study
from photopeak.evaluate.strata import STRATA, UNKNOWN, strata_of


def test_classes_of_a_simulated_woman() -> None:
    patient = {"sex": "F", "height_m": 1.6, "weight_kg": 80.0, "breast_mm": 30.0, "defects": [{"territory": "LAD"}]}
    study = Study("s", facts={"patient": {**patient, "state": "rest"}, "misregistration_mm": [6.0, 0.0, 6.0]})
    assert strata_of(study) == {
        "sex": "women",
        "BMI class": "30 or more",
        "breast size": "25 mm or more",
        "state": "rest",
        "perfusion": "defect",
        "CT": "shifted above 6.4 mm",
    }


def test_classes_of_a_man_and_what_the_manifest_says_first() -> None:
    patient = {"sex": "M", "height_m": 1.8, "weight_kg": 70.0, "breast_mm": 0.0, "defects": [], "state": "rest"}
    study = Study("s", facts={"patient": {**patient, "misregistration_mm": [0, 0, 6.4]}})
    told = strata_of(study, state="stress")
    assert list(told.values()) == ["men", "below 25", "men", "stress", "normal", "in register"]


def test_an_imported_study_tells_nothing() -> None:
    assert strata_of(Study("s")) == dict.fromkeys(STRATA, UNKNOWN)
