from dataclasses import replace
from typing import Any

import pytest

from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.evaluate.domain import differences, training_domain


@pytest.fixture
def domain(patient: Study) -> dict[str, Any]:
    return training_domain([patient], voxel_mm=6.4)


def test_a_simulated_patient_is_in_the_domain_of_simulated_patients(patient: Study, domain: dict[str, Any]) -> None:
    assert domain["camera_models"] == ["SIMULATED"]
    assert domain["simulated_patients"] == 1
    assert differences(patient, domain) == []


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"camera_model": "Discovery NM 530c", "isotope": "Tc-99m"}, "Camera Discovery NM 530c"),
        ({"camera_model": "SIMULATED", "isotope": "Tl-201"}, "Isotope Tl-201"),
        ({"isotope": "Tc-99m"}, "Camera unknown"),
        ({"camera_model": "SIMULATED"}, "not stated"),
    ],
)
def test_other_cameras_and_isotopes_are_named(
    patient: Study, domain: dict[str, Any], facts: dict[str, str], told: str
) -> None:
    (difference,) = differences(replace(patient, facts=facts), domain)
    assert told in difference


def test_another_voxel_size_is_named(patient: Study, domain: dict[str, Any]) -> None:
    grid = patient["nac"].grid.resampled(4.0)
    other = replace(patient, volumes={"nac": patient["nac"].on(grid)})
    (difference,) = differences(other, domain)
    assert "4 x 4 x 4 mm" in difference


def test_isotopes_are_not_mixed(patient: Study) -> None:
    with pytest.raises(BadArgument, match="Tl-201"):
        training_domain([patient, patient.with_facts(isotope="Tl-201")], voxel_mm=6.4)
