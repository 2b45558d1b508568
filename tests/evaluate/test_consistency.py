"""NAC made again: AC in its map fits, NAC called AC does not."""

import pytest

from photopeak.core import Grid, Step, Study, Volume
from photopeak.core.errors import GridMismatch, MissingInput
from photopeak.evaluate.consistency import forward_residual
from photopeak.evaluate.domain import USUAL_RESIDUAL, consistency_check


def having(patient: Study, **volumes: Volume) -> Study:
    return patient.add(volumes, Step(tuple(volumes), "test"))


def test_ac_in_its_map_fits_and_nac_called_ac_does_not(patient: Study) -> None:
    right = forward_residual(patient, mu="mu")
    wrong = forward_residual(having(patient, ac=patient["nac"]), mu="mu")
    assert right < USUAL_RESIDUAL < wrong
    assert wrong > 1.5 * right


def test_without_attenuation_nac_is_its_own_ac(patient: Study) -> None:
    none = patient["mu"].with_data(0 * patient["mu"].data)
    study = having(patient.only("nac"), ac=patient["nac"].with_data(3 * patient["nac"].data), mu=none)
    assert forward_residual(study.with_facts(**patient.facts), mu="mu") < 1e-4


def test_the_check_says_when_there_is_no_map(patient: Study) -> None:
    assert consistency_check(patient, None).verdict == "not known"
    assert consistency_check(patient, "mu").verdict == "usual"


def test_missing_and_misplaced_volumes_are_named(patient: Study) -> None:
    with pytest.raises(MissingInput, match="mu_made"):
        forward_residual(patient, mu="mu_made")
    elsewhere = patient["mu"].on(Grid.regular((40, 64, 64), 6.0))
    with pytest.raises(GridMismatch, match="small"):
        forward_residual(having(patient, small=elsewhere), mu="small")
