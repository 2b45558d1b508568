"""Break-even misregistration, where CT-AC is as wrong as it is told to be."""

import math

import numpy as np
import pytest
import torch

from photopeak.core import COUNTS, Grid, Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.evaluate.breakeven import (
    DIRECTIONS,
    ShiftCurve,
    break_even_mm,
    cohort_break_even,
    heart_nrmse,
    heart_segments,
    shift_curve,
)
from photopeak.evaluate.scan_facts import heart_in

GRID = Grid.regular((16, 16, 16), 5.0)
SHIFTS = np.array([0.0, 5.0, 10.0])


def test_the_map_goes_where_it_is_sent() -> None:
    """CT-AC stands for the map; its wrongness is how far its centre of mass went along the direction."""
    blob = torch.zeros(GRID.shape)
    blob[8, 8, 8] = 1.0
    mu = Volume(blob, GRID, COUNTS)
    start = GRID.world([8, 8, 8])
    for direction, axis in DIRECTIONS.items():

        def moved(volume: Volume, axis: tuple[int, int, int] = axis) -> float:
            centre = (GRID.points() * volume.numpy()[..., None]).sum((0, 1, 2)) / volume.numpy().sum()
            return float((centre - start) @ np.array(axis))

        curve = shift_curve(
            Study("p"), mu, lambda _, given: given, moved, shifts_mm=(0, 5, 7.5, 20), directions=(direction,)
        )
        np.testing.assert_allclose(curve.errors, [[0, 5, 7.5, 20]], atol=1e-4)


@pytest.mark.parametrize(
    ("answer", "expected"), [(0.5, 0.0), (1.0, 0.0), (2.0, 2.5), (3.0, 5.0), (5.0, 7.5), (7.1, math.inf)]
)
def test_break_even_lies_on_the_line_between_shifts(answer: float, expected: float) -> None:
    assert break_even_mm(SHIFTS, np.array([1.0, 3.0, 7.0]), answer) == pytest.approx(expected)


def test_a_cohort_of_equals_has_no_spread(generator: torch.Generator) -> None:
    curves = [ShiftCurve(SHIFTS, np.array([[0.0, 2.0, 4.0], [0.0, 4.0, 8.0]]))] * 5
    assert cohort_break_even(curves, [3.0] * 5, generator=generator) == pytest.approx((5.0, 5.0, 5.0))
    never = cohort_break_even(curves, [30.0] * 5, generator=generator)
    assert never == (math.inf, math.inf, math.inf)


def test_wrongness_is_zero_for_the_truth_at_any_scale(patient: Study) -> None:
    truth, heart = patient["ac_clean"], heart_in(patient)
    for wrongness in (heart_nrmse(truth, heart), heart_segments(truth, heart)):
        assert wrongness(truth.with_data(3 * truth.data)) == pytest.approx(0, abs=1e-4)
        assert wrongness(patient["nac"]) > 3


def test_bad_curves(generator: torch.Generator) -> None:
    volume = Volume(torch.zeros(GRID.shape), GRID, COUNTS)
    for wrong in ({"shifts_mm": (1, 2)}, {"shifts_mm": (0, 5, 5)}, {"directions": ("up",)}, {"directions": ()}):
        with pytest.raises(BadArgument):
            shift_curve(Study("p"), volume, lambda _, mu: mu, lambda _: 0.0, **wrong)
    with pytest.raises(BadArgument, match="finite"):
        break_even_mm(SHIFTS, np.array([0.0, math.nan, 1.0]), 0.5)
    with pytest.raises(BadArgument, match="Pair"):
        cohort_break_even([ShiftCurve(SHIFTS, np.zeros((1, 3)))], [1.0], generator=generator)
