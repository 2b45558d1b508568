from collections import Counter

import numpy as np
import pytest
import torch

from photopeak.simulate.draws import Draw


@pytest.fixture
def draw() -> Draw:
    return Draw(torch.Generator().manual_seed(1))


def test_a_lognormal_has_the_mean_and_spread_it_is_asked_for(draw: Draw) -> None:
    values = np.array([draw.lognormal(3.0, 0.4) for _ in range(20000)])
    assert values.mean() == pytest.approx(3.0, rel=0.02)
    assert values.std() / values.mean() == pytest.approx(0.4, rel=0.04)
    assert np.log(values).std() == pytest.approx(np.sqrt(np.log1p(0.16)), rel=0.03)


def test_a_normal_stops_at_its_limits(draw: Draw) -> None:
    values = [draw.normal(0.0, 1.0, -1.0, 2.0) for _ in range(500)]
    assert (min(values), max(values)) == (-1.0, 2.0)


def test_choices_have_their_weights(draw: Draw) -> None:
    chosen = Counter(draw.choice({"a": 1.0, "b": 3.0, "never": 0.0}) for _ in range(8000))
    assert set(chosen) == {"a", "b"}
    assert chosen["b"] / 8000 == pytest.approx(0.75, abs=0.02)
