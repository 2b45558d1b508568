import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.physics.attenuation import correction_factor, factor_of_paths, survival

WATER_PER_CM = 0.154


def _disc(size: int, radius_voxels: float, *, slices: int = 1) -> torch.Tensor:
    """[z, y, x] share of each voxel inside a disc about the middle."""
    fine = (torch.arange(size * 5, dtype=torch.float64) + 0.5) / 5 - size / 2
    inside = (torch.hypot(fine[:, None], fine[None, :]) <= radius_voxels).double()
    return inside.reshape(size, 5, size, 5).mean((1, 3)).expand(slices, -1, -1).clone()


def test_survival_counts_half_of_the_own_voxel():
    mu = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64).reshape(3, 1, 1)
    expected = [math.exp(-2 * path) for path in (0.05, 0.2, 0.5)]
    assert survival(mu, 20.0).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("radius_cm", "factor"), [(15, 10.07), (10, 4.69)])
def test_chang_factor_in_the_middle_of_a_disc(radius_cm, factor):
    made = correction_factor(WATER_PER_CM * _disc(33, radius_cm), 10.0, views=24)
    assert float(made[0, 16, 16]) == pytest.approx(factor, rel=0.02)
    assert float(made.min()) >= 1 - 1e-12
    assert float(made[0, 16, 16]) == float(made.max())


def test_chang_factor_is_symmetric_in_a_disc():
    made = correction_factor(WATER_PER_CM * _disc(15, 5.97), 16.0, views=8)[0]
    assert torch.allclose(made, made.T, rtol=1e-9)
    assert torch.allclose(made, made.flip(0), rtol=1e-9)


def test_half_an_arc_corrects_the_near_side_less():
    half = correction_factor(WATER_PER_CM * _disc(15, 6.5), 16.0, views=12, start_deg=-45.0, arc_deg=180.0)[0]
    left_front, right_back = float(half[4, 10]), float(half[10, 4])
    assert left_front < 0.6 * right_back


def test_without_attenuation_there_is_nothing_to_correct():
    assert torch.equal(correction_factor(torch.zeros(2, 6, 6), 10.0, views=5), torch.ones(2, 6, 6))


def test_slices_are_corrected_one_by_one(generator):
    mu = 0.2 * torch.rand((3, 6, 6), generator=generator, dtype=torch.float64)
    alone = torch.cat([correction_factor(one[None], 10.0, views=7) for one in mu])
    assert torch.allclose(correction_factor(mu, 10.0, views=7), alone, rtol=1e-12)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=9))
def test_factor_of_paths_is_one_over_the_mean_survival(exponents):
    direct = len(exponents) / math.fsum(math.exp(-e) for e in exponents)
    found = float(factor_of_paths(torch.tensor(exponents, dtype=torch.float64), dim=0))
    assert found == pytest.approx(direct, rel=1e-9)
    assert found >= 1 - 1e-12


def test_factor_of_paths_is_stable_where_the_direct_formula_is_not():
    # In float32 exp(-e) underflows at e = 104 and the direct formula is 1 / 0.
    large = torch.tensor([[80.0, 86.0], [2000.0, 2.0]])
    found = factor_of_paths(large, dim=1)
    assert math.log(found[0]) == pytest.approx(80 + math.log(2) - math.log1p(math.exp(-6)), rel=1e-5)
    assert float(found[1]) == pytest.approx(2 * math.exp(2), rel=1e-5)


def test_factor_of_paths_has_the_right_gradient(generator):
    exponents = (3 * torch.rand((4, 3), generator=generator, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: factor_of_paths(e, dim=1), exponents)
