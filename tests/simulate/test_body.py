import numpy as np
import pytest
import torch

from photopeak.core.errors import BadArgument
from photopeak.simulate.body import BMI_RANGES, draw_body
from photopeak.simulate.draws import Draw


@pytest.mark.parametrize("body", BMI_RANGES)
def test_a_body_type_is_a_range_of_body_mass_index(body) -> None:
    draw = Draw(torch.Generator().manual_seed(3))
    bodies = [draw_body(draw, body) for _ in range(100)]
    index = [b["weight_kg"] / b["height_m"] ** 2 for b in bodies]
    low, high = BMI_RANGES[body]
    assert low <= min(index) < max(index) <= high


def test_body_types_differ_in_what_attenuates() -> None:
    def mean(body, value):
        draw = Draw(torch.Generator().manual_seed(4))
        return np.mean([draw_body(draw, body)[value] for _ in range(200)])

    for value in ("chest_width_mm", "chest_depth_mm", "fat_mm", "belly"):
        assert mean("slim", value) < mean("average", value) < mean("obese", value)


def test_another_body_is_refused() -> None:
    with pytest.raises(BadArgument, match="'tall'"):
        draw_body(Draw(torch.Generator()), "tall")
