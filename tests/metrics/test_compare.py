import pytest
import torch

from photopeak.core import COUNTS, Grid, Volume
from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.metrics.compare import least_squares_factor, values_within

GRID = Grid.regular((2, 3, 4), 4.0)


def volume(data: torch.Tensor) -> Volume:
    return Volume(data, GRID, COUNTS)


@pytest.fixture
def truth(generator: torch.Generator) -> Volume:
    return volume(1 + torch.rand(GRID.shape, generator=generator))


def test_only_the_mask_counts(truth):
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    mask[0, 1, 2] = mask[1, 0, 3] = True
    e, t = values_within(truth.with_data(2 * truth.data), truth, mask)
    torch.testing.assert_close(e, 2 * t)
    torch.testing.assert_close(t, truth.data[mask].double())


def test_least_squares_factor_of_a_multiple(truth):
    assert least_squares_factor(truth.with_data(truth.data / 4), truth) == pytest.approx(4)


def test_least_squares_factor_leaves_an_orthogonal_residual(truth, generator):
    estimate = volume(torch.rand(GRID.shape, generator=generator))
    residual = least_squares_factor(estimate, truth) * estimate.data.double() - truth.data.double()
    assert float((residual * estimate.data).sum()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        (torch.ones(2, 3, 3, dtype=torch.bool), ShapeMismatch),
        (torch.ones(2, 3, 4), BadArgument),
        (torch.zeros(2, 3, 4, dtype=torch.bool), BadArgument),
    ],
)
def test_masks_that_cannot_be_used(truth, mask, error):
    with pytest.raises(error, match="mask"):
        values_within(truth, truth, mask)


def test_numbers_that_cannot_be_compared(truth):
    holed = truth.data.clone()
    holed[0, 0, 0] = float("nan")
    with pytest.raises(BadValues, match='"estimate" has 1 NaN'):
        values_within(volume(holed), truth, None)
    with pytest.raises(BadValues, match='"truth" has 1 NaN'):
        values_within(truth, volume(holed), None)
    with pytest.raises(BadValues, match="zero everywhere"):
        least_squares_factor(volume(torch.zeros(GRID.shape)), truth)
