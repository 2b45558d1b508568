import pytest
import torch

from photopeak.core.errors import BadValues, ShapeMismatch
from photopeak.metrics.segment_error import segment_error

FLAT = torch.full((17,), 80.0)


def test_one_cold_segment_by_hand():
    cold = FLAT.clone()
    cold[3] = 0.0
    # <e, t> / <e, e> = 1 here: sixteen segments agree, the last is zero in the estimate.
    assert segment_error(cold, FLAT) == pytest.approx(100 / 17)


def test_truth_maximum_is_the_hundred():
    truth = FLAT.clone()
    truth[0] = 100.0
    factor = (16 * 80 + 100) / 17 / 80
    expected = (16 * abs(80 * factor - 80) + abs(80 * factor - 100)) / 17
    assert segment_error(FLAT, truth) == pytest.approx(expected)


def test_the_scale_of_either_does_not_matter(generator):
    estimate, truth = 1 + torch.rand((2, 17), generator=generator)
    assert segment_error(37 * estimate, 0.1 * truth) == pytest.approx(segment_error(estimate, truth), rel=1e-5)


@pytest.mark.parametrize(
    ("estimate", "error"),
    [(FLAT[:16], ShapeMismatch), (FLAT[None], ShapeMismatch), (FLAT * float("nan"), BadValues), (0 * FLAT, BadValues)],
)
def test_refused(estimate, error):
    with pytest.raises(error, match="estimate"):
        segment_error(estimate, FLAT)


def test_a_truth_without_perfusion_is_refused():
    with pytest.raises(BadValues, match="positive maximum"):
        segment_error(FLAT, 0 * FLAT)
