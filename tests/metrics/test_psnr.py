import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core import COUNTS, Grid, Volume
from photopeak.core.errors import BadValues
from photopeak.metrics.psnr import psnr

GRID = Grid.regular((3, 4, 5), 4.0)


@given(seed=st.integers(0, 2**31), scale=st.floats(0.01, 1000), masked=st.booleans())
def test_psnr_is_peak_over_rmse(seed: int, scale: float, masked: bool):
    generator = torch.Generator().manual_seed(seed)
    t, e = (scale * torch.rand(GRID.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = t < 0.5 * scale if masked else torch.ones(GRID.shape, dtype=torch.bool)
    rmse = math.sqrt(float(((e - t)[mask] ** 2).mean()))
    expected = 20 * math.log10(float(t[mask].max()) / rmse)
    found = psnr(Volume(e, GRID, COUNTS), Volume(t, GRID, COUNTS), mask if masked else None)
    assert found == pytest.approx(expected, abs=1e-9)


def test_by_hand():
    truth = Volume(torch.full(GRID.shape, 10.0), GRID, COUNTS)
    assert psnr(truth.with_data(truth.data - 1), truth) == pytest.approx(20)
    assert psnr(truth.with_data(truth.data - 1), truth, data_range=100) == pytest.approx(40)
    assert psnr(truth, truth) == math.inf


@pytest.mark.parametrize(("value", "data_range"), [(0.0, None), (-1.0, None), (1.0, 0.0)])
def test_no_peak_no_psnr(value, data_range):
    truth = Volume(torch.full(GRID.shape, value), GRID, COUNTS)
    with pytest.raises(BadValues, match="a range of"):
        psnr(truth, truth, data_range=data_range)
