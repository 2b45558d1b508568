import pytest
import torch

from photopeak.core import SUV, Grid, Volume
from photopeak.metrics.mae import mae

GRID = Grid.regular((1, 1, 4), 4.0)


def test_by_hand_and_within_a_mask():
    truth = Volume(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), GRID, SUV)
    estimate = truth.with_data(torch.tensor([[[1.5, 1.0, 3.0, 9.0]]]))
    assert mae(estimate, truth) == pytest.approx(6.5 / 4)
    assert mae(estimate, truth, torch.tensor([[[True, True, False, False]]])) == pytest.approx(0.75)
