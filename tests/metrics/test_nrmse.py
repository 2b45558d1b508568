import math

import pytest
import torch

from photopeak.core import COUNTS, Grid, Volume
from photopeak.core.errors import BadValues
from photopeak.metrics.nrmse import nrmse

GRID = Grid.regular((1, 1, 4), 4.0)
TRUTH = Volume(torch.tensor([[[3.0, 4.0, 0.0, 0.0]]]), GRID, COUNTS)
ESTIMATE = Volume(torch.tensor([[[3.0, 4.0, 1.0, 2.0]]]), GRID, COUNTS)


def test_by_hand():
    assert nrmse(ESTIMATE, TRUTH) == pytest.approx(100 * math.sqrt(5) / 5)
    assert nrmse(ESTIMATE, TRUTH, torch.tensor([[[True, True, True, False]]])) == pytest.approx(20)


def test_scale_is_judged_unless_forgiven():
    tripled = TRUTH.with_data(3 * TRUTH.data)
    assert nrmse(tripled, TRUTH) == pytest.approx(200)
    assert nrmse(tripled, TRUTH, scaled=True) == pytest.approx(0, abs=1e-6)


def test_forgiving_scale_keeps_the_sine_of_the_angle():
    cosine_squared = 25**2 / (25 * 30)
    assert nrmse(ESTIMATE, TRUTH, scaled=True) == pytest.approx(100 * math.sqrt(1 - cosine_squared))


def test_a_truth_of_zero_has_no_error_relative_to_it():
    with pytest.raises(BadValues, match="zero within the mask"):
        nrmse(ESTIMATE, TRUTH, torch.tensor([[[False, False, True, True]]]))
