import math

import pytest

from photopeak.core.errors import BadArgument
from photopeak.methods.diffspect_settings import Lambdas, Sampling, printed_dps, printed_em


@pytest.mark.parametrize(
    ("fraction", "dps", "em"),
    [
        (0.01, 0.0240, 0.1568),
        (0.05, 0.1363, 0.1320),
        (0.10, 0.1847, 0.1077),
        (0.20, 0.2331, 0.0759),
        (0.5, 0.2970, 0.0631),
    ],
)
def test_the_printed_fits(fraction: float, dps: float, em: float) -> None:
    assert printed_dps(fraction) == pytest.approx(dps, abs=1e-4)
    assert printed_em(fraction) == pytest.approx(em, abs=1e-4)
    at = Lambdas.printed().at(fraction)
    assert at["dps"] == pytest.approx(dps, abs=2e-4)
    assert at["em"] == pytest.approx(em, abs=2e-4)


def test_the_fits_are_held_where_they_go_wrong() -> None:
    assert printed_dps(0.001) == 0
    assert printed_em(1.0) == printed_em(0.5)
    assert Lambdas.printed().at(1e-5)["dps"] == 0


def test_a_refitted_table_is_linear_in_the_logarithm_and_held_at_its_ends() -> None:
    table = Lambdas((0.01, 1.0), (0.0, 0.2), (0.3, 0.1), (0.04, 0.02), (0.8, 0.2))
    middle = table.at(0.1)
    assert middle == pytest.approx({"dps": 0.1, "em": 0.2, "tv": 0.03, "start": 0.5})
    assert table.at(0.001) == table.at(0.01)


def _constant(start: float, views: Lambdas | None = None) -> Lambdas:
    return Lambdas((0.1, 1.0), (0.0,) * 2, (1.0,) * 2, (start / 10,) * 2, (start,) * 2, views)


def test_missing_views_have_a_table_that_holds_where_it_begins_later() -> None:
    """Few counts in few views follow whichever of the two is the worse."""
    eager, shy = _constant(0.3, _constant(0.6)), _constant(0.3, _constant(0.1))
    assert [eager.at(0.2, views)["start"] for views in (1.0, 0.5)] == [0.3, 0.6]
    assert eager.at(0.2, 0.5)["tv"] == pytest.approx(0.06)
    assert [shy.at(0.2, views)["start"] for views in (1.0, 0.5)] == [0.3, 0.3]
    assert Lambdas.of(eager.to_dict()) == eager
    assert Lambdas.of(Lambdas.printed().to_dict()) == Lambdas.printed()


@pytest.mark.parametrize(
    "columns",
    [
        ((), (), (), (), ()),
        ((0.1, 0.1), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.4, 0.4)),
        ((0.1,), (-0.1,), (0.0,), (0.0,), (0.4,)),
        ((0.1,), (0.1,), (1.1,), (0.0,), (0.4,)),
        ((0.1,), (0.1,), (0.1,), (0.0,), (0.0,)),
        ((0.1,), (0.1,), (0.1,), (math.nan,), (0.4,)),
        ((0.1,), (0.1, 0.2), (0.1,), (0.0,), (0.4,)),
    ],
)
def test_tables_that_cannot_be(columns: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(BadArgument):
        Lambdas(*columns)


@pytest.mark.parametrize(("every", "due"), [(10, [20, 10, 0]), (20, [20, 0]), (30, [0]), (1, list(range(24, -1, -1)))])
def test_em_is_due_every_so_many_steps_and_at_the_end(every: int, due: list[int]) -> None:
    assert [left for left in range(24, -1, -1) if Sampling(every=every).em_due(left)] == due
    assert not any(Sampling(every=every, em=False).em_due(left) for left in range(25))


@pytest.mark.parametrize(
    "settings", [{"steps": 0}, {"noises": -1}, {"noises": 0, "prior": False}, {"chunk": 0}, {"every": 0}]
)
def test_sampling_that_cannot_be(settings: dict[str, int]) -> None:
    with pytest.raises(BadArgument):
        Sampling(**settings)  # type: ignore[arg-type]
