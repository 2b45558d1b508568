from dataclasses import replace
from typing import Any

import pytest
import torch

from photopeak.core import Step, Study
from photopeak.core.errors import BadArgument, OutOfDomain
from photopeak.evaluate.domain import differences, factor_checks, image_check, require_answerable, training_domain
from photopeak.evaluate.ood import found_heart


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


@pytest.mark.parametrize(("factor", "verdict"), [(3.3, "usual"), (6.0, "unusual"), (0.5, "refused"), (9.0, "refused")])
def test_factors_beyond_physics_are_refused(patient: Study, factor: float, verdict: str) -> None:
    scaled = patient["nac"].with_data(factor * patient["nac"].data)
    study = patient.add({"ac": scaled}, Step(("ac",), "scaled"))
    checks = factor_checks(study, found_heart(patient), {"factor": {"mean": 3.2, "sd": 0.4}})
    assert checks[0].verdict == verdict
    if verdict == "refused":
        with pytest.raises(OutOfDomain, match="AC / NAC"):
            require_answerable(checks)
    else:
        require_answerable(checks)


def test_a_card_without_a_population_is_said_not_to_know(patient: Study, domain: dict[str, Any]) -> None:
    assert "population" not in domain
    assert image_check(patient, found_heart(patient), domain).verdict == "not known"


def test_a_flipped_heart_is_further_than_the_patients_of_training(patient: Study) -> None:
    generator = torch.Generator().manual_seed(1)
    nac = patient["nac"]
    people = []
    for number in range(40):
        noise = 1 + 0.05 * torch.randn(nac.data.shape, generator=generator)
        other = patient.add({"nac": nac.with_data(nac.data * noise)}, Step(("nac",), "noise"))
        people.append(other.with_facts(person=str(number)))
    domain = training_domain(people, voxel_mm=6.4)
    assert domain["factor"]["mean"] == pytest.approx(3.3, abs=1.0)
    flipped = patient.add({"nac": nac.with_data(nac.data.flip(2))}, Step(("nac",), "flip"))
    assert image_check(people[0], found_heart(patient), domain).verdict == "usual"
    check = image_check(flipped, found_heart(patient), domain)
    assert check.verdict == "refused"
    with pytest.raises(OutOfDomain, match="--anyway"):
        require_answerable([check])
