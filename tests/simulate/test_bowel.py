import numpy as np
import pytest

from photopeak.core import Grid
from photopeak.core.random import stream
from photopeak.simulate.anatomy import Anatomy, build_anatomy
from photopeak.simulate.bowel import INTENSE, LOOPS, draw_bowel
from photopeak.simulate.draws import Draw
from photopeak.simulate.population import draw_patient

PEOPLE = 40


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    grid = Grid.regular((24, 24, 30), (12.0, 12.0, 12.0), centre_mm=(0.0, 0.0, -190.0))
    return build_anatomy(draw_patient(stream(3, 0), name="p"), grid, oversample=1)


def test_bowel_lies_where_organs_leave_room(anatomy: Anatomy) -> None:
    pieces = draw_bowel(Draw(stream(0, 2)), anatomy)
    assert len(pieces) == 3 + LOOPS
    for piece in pieces:
        assert piece.presence.sum() > 5
        assert (piece.presence <= anatomy.fractions["viscera"] + 1e-6).all()
        assert 0.9 <= piece.density_g_per_cm3 <= 1.04


def test_the_ascending_colon_is_on_the_right(anatomy: Anatomy) -> None:
    ascending, _, descending = draw_bowel(Draw(stream(0, 2)), anatomy)[:3]
    right, left = (np.average(anatomy.grid.points()[..., 0], weights=p.presence) for p in (ascending, descending))
    assert right < -40 < 40 < left


def test_a_few_shine(anatomy: Anatomy) -> None:
    colons = [draw_bowel(Draw(stream(1, number)), anatomy)[:3] for number in range(PEOPLE)]
    shining = sum(min(part.suv for part in colon) >= 3 for colon in colons)
    assert shining / PEOPLE == pytest.approx(INTENSE, abs=0.1)
    assert max(part.suv for colon in colons for part in colon) <= 8
