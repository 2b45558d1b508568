import inspect

import pytest

from photopeak.metrics import all_metrics
from photopeak.metrics.metric import Metric, metric
from photopeak.testing import check_metric


@pytest.mark.parametrize("fn", all_metrics().values(), ids=lambda fn: fn.name)
def test_every_metric_keeps_the_contract(fn: Metric):
    check_metric(fn)


def test_a_metric_remains_the_function_it_wraps():
    @metric(unit="mm", better="lower")
    def distance(a: float, b: float, *, factor: float = 1.0) -> float:
        """How far."""
        return factor * abs(a - b)

    assert distance(1.0, 3.0, factor=2.0) == 4.0
    assert (distance.name, distance.unit, distance.better, distance.of) == ("distance", "mm", "lower", "volumes")
    assert distance.__doc__ == "How far."
    assert list(inspect.signature(distance).parameters) == ["a", "b", "factor"]
