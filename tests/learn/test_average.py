import pytest
import torch
from torch import nn

from photopeak.learn.average import MovingAverage


@pytest.fixture
def module() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double()
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def _set(module: nn.Module, value: float) -> None:
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)


def test_it_starts_at_the_weights_and_keeps_its_own_copy(module):
    average = MovingAverage(module)
    _set(module, 5.0)
    assert float(average.weights["0.weight"].abs().max()) == 0


def test_it_follows_the_formula(module):
    average, expected = MovingAverage(module, decay=0.5), 0.0
    for n in range(1, 12):
        _set(module, float(n))
        average.update(module)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
        assert average.weights["0.weight"].flatten().tolist() == pytest.approx([expected] * 6)
    assert average.updates == 11


def test_whole_numbers_are_copied(module):
    average = MovingAverage(module)
    module(torch.ones(4, 2, dtype=torch.float64))
    average.update(module)
    assert int(average.weights["1.num_batches_tracked"]) == 1


def test_weights_that_rest_are_their_average(module):
    average = MovingAverage(module)
    _set(module, 2.0)
    for _ in range(100):
        average.update(module)
    assert average.weights["0.bias"].tolist() == pytest.approx([2.0] * 3, abs=1e-6)
