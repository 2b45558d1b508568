import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core import COUNTS, Grid, Volume
from photopeak.simulate.anatomy import Anatomy, build_anatomy
from photopeak.simulate.motion import breath, displaced, over_breaths
from photopeak.simulate.population import draw_patient

GRID = Grid.regular((40, 64, 64), 6.4)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return build_anatomy(draw_patient(torch.Generator().manual_seed(2), name="p"), GRID)


@given(st.floats(0, 12))
def test_a_breath_is_a_share_of_time_around_the_mean_place(voxels: float) -> None:
    share = breath(voxels)
    place = np.arange(len(share)) - len(share) // 2
    assert share.min() >= 0
    assert share.sum() == pytest.approx(1)
    assert (share * place).sum() == pytest.approx(0, abs=1e-9)


@given(st.floats(2, 12))
def test_its_spread_is_that_of_the_fourth_power_of_a_cosine(voxels: float) -> None:
    """Variance of cos^4 over a period: 35/128 - 9/64; interpolation adds at most a quarter voxel squared."""
    share = breath(voxels)
    place = np.arange(len(share)) - len(share) // 2
    true = voxels**2 * (35 / 128 - 9 / 64)
    assert true - 1e-9 <= (share * place**2).sum() <= true + 0.25


def test_organs_are_down_briefly_and_up_for_long() -> None:
    share = breath(10.0)
    middle = len(share) // 2
    assert np.nonzero(share)[0].min() - middle <= -6
    assert np.nonzero(share)[0].max() - middle == 4
    assert share.argmax() > middle


def _volume(values: np.ndarray) -> Volume:
    return Volume.from_numpy(values, GRID, COUNTS)


def test_the_walls_stay_and_stay_full(anatomy: Anatomy) -> None:
    everything = dict.fromkeys(anatomy.fractions, 1.0)
    still = set(anatomy.fractions) - anatomy.riding
    whole = over_breaths(_volume(anatomy.weighted(everything, still)), _volume(anatomy.room), anatomy.room, 20.0)
    np.testing.assert_allclose(whole.numpy(), sum(anatomy.fractions.values()), atol=1e-5)


def test_the_heart_is_blurred_about_its_place_and_keeps_its_counts(anatomy: Anatomy) -> None:
    nothing, wall = _volume(np.zeros(GRID.shape)), _volume(anatomy.lv_wall)
    blurred = over_breaths(nothing, wall, anatomy.room, 25.0).numpy().astype(float)
    sharp = anatomy.lv_wall.astype(float)
    z = GRID.points()[..., 2]
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=0.01)
    middle = [(z * part).sum() / part.sum() for part in (sharp, blurred)]
    assert middle[1] == pytest.approx(middle[0], abs=0.6)
    spread = [((z - m) ** 2 * part).sum() / part.sum() for m, part in zip(middle, (sharp, blurred), strict=True)]
    assert spread[1] - spread[0] == pytest.approx(25.0**2 * (35 / 128 - 9 / 64), rel=0.25)


def test_a_map_out_of_register_lies_where_it_is_said(anatomy: Anatomy) -> None:
    mu = anatomy.mu()
    moved = displaced(mu, (6.4, -12.8, 19.2))
    np.testing.assert_allclose(moved.numpy()[3:, :-2, 1:], mu.numpy()[:-3, 2:, :-1], atol=1e-6)
    assert torch.equal(displaced(mu, (0.0, 0.0, 0.0)).data, mu.data)
