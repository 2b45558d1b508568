from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core.errors import BadArgument
from photopeak.physics.response import FWHM_PER_SIGMA, GE_LEHR, Collimator, gaussian_toeplitz


def test_ge_lehr_has_the_resolution_of_its_data_sheet():
    distance = torch.tensor([50.0, 100.0, 150.0, 200.0, 250.0], dtype=torch.float64)
    assert GE_LEHR.fwhm_mm(distance).tolist() == pytest.approx([5.3, 7.0, 8.9, 10.9, 13.0], abs=0.15)


def test_resolution_at_the_face_is_hole_and_crystal():
    face = float(GE_LEHR.fwhm_mm(torch.tensor(0.0, dtype=torch.float64)))
    assert face == pytest.approx((1.5**2 + 3.8**2) ** 0.5)
    assert float(GE_LEHR.fwhm_mm(torch.tensor(-20.0, dtype=torch.float64))) == face


@given(st.floats(0, 500), st.floats(0.1, 100))
def test_resolution_falls_off_with_distance(distance, further):
    near, far = GE_LEHR.fwhm_mm(torch.tensor([distance, distance + further], dtype=torch.float64))
    assert near < far


def test_record_rebuilds_the_collimator():
    assert Collimator(**GE_LEHR.to_dict()) == GE_LEHR


@given(st.floats(0.1, 3.0))
def test_a_blur_keeps_counts_away_from_the_edges(sigma):
    matrix = gaussian_toeplitz(61, torch.tensor([sigma], dtype=torch.float64))[0]
    assert torch.equal(matrix, matrix.T)
    assert torch.allclose(matrix.sum(1)[25:36], torch.ones(11, dtype=torch.float64), atol=1e-12)
    assert float(matrix.sum(1).max()) <= 1 + 1e-12
    assert float(matrix.min()) >= 0


@given(st.floats(0.9, 3.0))
def test_a_blur_has_the_width_of_a_gaussian_and_a_pixel(sigma):
    row = gaussian_toeplitz(61, torch.tensor([sigma], dtype=torch.float64))[0, 30]
    offset = torch.arange(61, dtype=torch.float64) - 30
    assert float((row * offset**2).sum()) == pytest.approx(sigma**2 + 1 / 12, abs=1e-5)


def test_each_plane_has_its_own_sigma():
    sigmas = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    together = gaussian_toeplitz(7, sigmas)
    assert torch.equal(together, torch.stack([gaussian_toeplitz(7, s[None])[0] for s in sigmas]))
    assert float(together[0, 3, 3]) > float(together[1, 3, 3]) > float(together[2, 3, 3])


def test_fwhm_is_where_the_blur_is_half():
    fwhm = 40.0
    row = gaussian_toeplitz(201, torch.tensor([fwhm / FWHM_PER_SIGMA], dtype=torch.float64))[0, 100]
    assert float(row[100 + 20] / row[100]) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        {"hole_mm": -1.5},
        {"hole_mm": float("nan")},
        {"length_mm": 0.5},
        {"intrinsic_fwhm_mm": -1.0},
        {"septa_mm": float("inf")},
        {"septa_per_cm": 0.0},
    ],
)
def test_a_collimator_that_cannot_be(change):
    with pytest.raises(BadArgument, match=next(iter(change))):
        replace(GE_LEHR, **change)
