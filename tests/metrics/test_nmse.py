import pytest
import torch

from photopeak.core import COUNTS, Grid, Volume
from photopeak.metrics.nmse import nmse
from photopeak.metrics.nrmse import nrmse

GRID = Grid.regular((1, 1, 3), 4.0)


def test_by_hand_and_as_the_square_of_nrmse():
    truth = Volume(torch.tensor([[[3.0, 4.0, 0.0]]]), GRID, COUNTS)
    estimate = truth.with_data(torch.tensor([[[3.0, 4.0, 1.0]]]))
    assert nmse(estimate, truth) == pytest.approx(4)
    assert nmse(estimate, truth, scaled=True) == pytest.approx(nrmse(estimate, truth, scaled=True) ** 2 / 100)
