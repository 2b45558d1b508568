"""Shifts of the attenuation map that are put in must come out."""

import numpy as np
import pytest

from photopeak.cardiac.registration import Registration, registration, registration_offset_mm
from photopeak.core import Grid, Study, Volume


def moved(volume: Volume, shift_mm: tuple[float, float, float]) -> Volume:
    matrix = volume.grid.matrix
    matrix[:3, 3] += shift_mm
    return Volume(volume.data, Grid(volume.grid.shape, tuple(map(tuple, matrix))), volume.quantity)


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (13.0, 0.0, 0.0), (0.0, -15.0, 0.0), (-9.0, 10.0, 0.0)])
def test_outline_gives_the_shift_across_the_table(patient: Study, shift: tuple[float, float, float]) -> None:
    found = registration_offset_mm(moved(patient["mu_true"], shift), patient["nac"])
    np.testing.assert_allclose(found, np.negative(shift), atol=4.0)


def test_a_map_in_place_gives_no_warning_and_a_moved_one_does(patient: Study) -> None:
    good = registration(patient["mu_true"], patient["nac"])
    assert good.warnings == []
    assert good.wall_in_tissue is not None
    assert good.wall_in_tissue > 0.95
    bad = registration(moved(patient["mu_true"], (-25.0, 0.0, 0.0)), patient["nac"])
    assert any("outline" in w for w in bad.warnings)


def test_a_map_without_tissue_where_the_heart_is(patient: Study) -> None:
    empty = patient["mu_true"].with_data(patient["mu_true"].data * 0)
    found = registration(empty, patient["nac"])
    assert found.wall_in_tissue == 0
    assert found.heart_offset_mm is None
    assert any("wall of the heart" in w for w in found.warnings)


def test_an_image_without_heart_says_so(patient: Study) -> None:
    mu = patient["mu_true"]
    found = registration(mu, mu)
    assert found.wall_in_tissue is None
    assert found.warnings == ["no heart was found in NAC: the place of mu could not be checked on it"]


def test_record_goes_round(patient: Study) -> None:
    found = registration(patient["mu_true"], patient["nac"])
    assert Registration.from_dict(found.to_dict()) == found
