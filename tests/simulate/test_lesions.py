import math

import numpy as np
import pytest

from photopeak.core import Grid
from photopeak.core.random import stream
from photopeak.simulate.anatomy import Anatomy, build_anatomy
from photopeak.simulate.draws import Draw
from photopeak.simulate.lesions import MOST, SITES, SMALLEST_MM, WITHOUT, Lesion, _placed, draw_lesions
from photopeak.simulate.population import draw_patient

PEOPLE = 30


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    grid = Grid.regular((48, 40, 48), (8.0, 7.0, 7.0), centre_mm=(0.0, 0.0, -40.0))
    return build_anatomy(draw_patient(stream(3, 0), name="p"), grid, oversample=1)


@pytest.fixture(scope="module")
def people(anatomy: Anatomy) -> list[tuple[Lesion, ...]]:
    return [draw_lesions(Draw(stream(5, number)), anatomy) for number in range(PEOPLE)]


def test_some_have_none_and_none_too_many(people: list[tuple[Lesion, ...]]) -> None:
    assert sum(not lesions for lesions in people) / PEOPLE == pytest.approx(WITHOUT, abs=0.15)
    assert 2 <= max(map(len, people)) <= MOST


def test_each_lies_in_its_tissue(anatomy: Anatomy, people: list[tuple[Lesion, ...]]) -> None:
    lesions = [lesion for person in people for lesion in person]
    assert {lesion.site for lesion in lesions} == set(SITES)
    for lesion in lesions:
        k, j, i = np.rint(anatomy.grid.index(lesion.centre_mm)).astype(int)
        about = SITES[lesion.site]
        assert anatomy.fractions[about.tissue][k, j, i] > 0.5
        assert SMALLEST_MM <= lesion.diameter_mm <= about.largest_mm
        assert 1 <= lesion.suv <= 18
        assert about.density[0] <= lesion.density_g_per_cm3 <= about.density[1]
        assert 3 <= k < anatomy.grid.shape[0] - 3


def test_they_keep_apart(people: list[tuple[Lesion, ...]]) -> None:
    several = [person for person in people if len(person) > 1]
    assert several
    for person in several:
        for n, one in enumerate(person):
            for other in person[:n]:
                gap = math.dist(one.centre_mm, other.centre_mm) - other.diameter_mm / 2
                assert gap >= SITES[one.site].depth * one.diameter_mm


def test_same_stream_same_lesions(anatomy: Anatomy, people: list[tuple[Lesion, ...]]) -> None:
    number = next(n for n, person in enumerate(people) if person)
    assert draw_lesions(Draw(stream(5, number)), anatomy) == people[number]


def test_the_room_may_end_exactly_where_the_largest_lesion_does() -> None:
    """15 / 0.45 x 0.45 is a little more than 15 in floating point."""
    grid = Grid.regular((3, 3, 3), 5.0)
    depth = np.full(grid.shape, 15.0)
    placed = [_placed(Draw(stream(1, number)), "lung", depth, grid) for number in range(60)]
    assert max(lesion.diameter_mm for lesion in placed if lesion is not None) == 15.0 / SITES["lung"].depth


def test_without_room_there_are_none() -> None:
    head = Grid.regular((20, 20, 20), 4.0, centre_mm=(0.0, 0.0, 280.0))
    nothing = build_anatomy(draw_patient(stream(3, 0), name="p"), head, oversample=1)
    assert not any(draw_lesions(Draw(stream(5, number)), nothing) for number in range(5))


def test_a_record_is_plain() -> None:
    lesion = Lesion("lung", (1.0, 2.0, 3.0), 12.0, 5.0, 1.0)
    assert lesion.to_dict()["centre_mm"] == [1.0, 2.0, 3.0]
    assert lesion.shape.low == (-5.0, -4.0, -3.0)
