from dataclasses import replace

import numpy as np
import pytest

from photopeak.core import SUV, Grid
from photopeak.core.random import stream
from photopeak.simulate.anatomy import STILL, Anatomy, build_anatomy
from photopeak.simulate.draws import Draw
from photopeak.simulate.fdg import MYOCARDIUM, Uptake, draw_uptake, fdg
from photopeak.simulate.population import draw_patient

PATIENT = draw_patient(stream(3, 0), name="p")


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return build_anatomy(PATIENT, Grid.regular((40, 40, 48), 8.0, centre_mm=(0.0, 0.0, -60.0)), oversample=1)


@pytest.fixture(scope="module")
def people() -> list[Uptake]:
    draw, average = Draw(stream(3, 1)), replace(PATIENT, weight_kg=24.0 * PATIENT.height_m**2)
    return [draw_uptake(draw, average) for _ in range(600)]


@pytest.mark.parametrize(("organ", "mean", "sd"), [("liver", 2.17, 0.40), ("blood", 1.55, 0.37)])
def test_reference_organs_are_as_published(people: list[Uptake], organ: str, mean: float, sd: float) -> None:
    suv = np.array([uptake.suv[organ] for uptake in people])
    assert suv.mean() == pytest.approx(mean, rel=0.03)
    assert suv.std() == pytest.approx(sd, rel=0.12)


def test_myocardium_takes_up_as_often_as_published(people: list[Uptake]) -> None:
    for grade, share in MYOCARDIUM.items():
        of_grade = [uptake.suv["lv_wall"] for uptake in people if uptake.myocardium == grade]
        assert len(of_grade) / len(people) == pytest.approx(share, abs=0.05)
    assert min(of_grade) >= 6.0
    assert all(uptake.suv["rv_wall"] >= uptake.suv["muscle"] for uptake in people)


def test_suv_by_weight_is_higher_in_the_heavy() -> None:
    slim, heavy = (replace(PATIENT, weight_kg=bmi * PATIENT.height_m**2) for bmi in (20.0, 34.0))
    low, high = (draw_uptake(Draw(stream(0, 1)), patient).suv["liver"] for patient in (slim, heavy))
    assert high / low == pytest.approx((34 / 20) ** 0.6)


def test_every_tissue_with_blood_has_uptake(anatomy: Anatomy, people: list[Uptake]) -> None:
    assert set(anatomy.fractions) - set(people[0].suv) == {"air"}


def test_voxels_hold_their_tissue(anatomy: Anatomy, people: list[Uptake]) -> None:
    image = fdg(anatomy, people[0])
    assert image.quantity == SUV
    for tissue in ("liver", "lung", "kidney"):
        full = anatomy.fractions[tissue] > 0.999
        assert full.any()
        assert image.numpy()[full] == pytest.approx(people[0].suv[tissue], rel=2e-3)


def test_parts_add_up(anatomy: Anatomy, people: list[Uptake]) -> None:
    still, riding = (fdg(anatomy, people[0], tissues).data for tissues in (STILL, anatomy.riding))
    assert np.allclose((still + riding).numpy(), fdg(anatomy, people[0]).numpy(), atol=1e-5)


def test_lateral_wall_takes_up_more_than_the_septum(anatomy: Anatomy, people: list[Uptake]) -> None:
    uneven, even = (fdg(anatomy, replace(people[0], uneven=part)).numpy() for part in (0.3, 0.0))
    wall = np.nonzero(anatomy.lv_wall > 0.3)
    points = anatomy.grid.world(np.stack(wall, axis=-1))
    lateral = anatomy.ventricle.directions(points)[:, 0]
    more = (uneven - even)[wall]
    assert more[lateral > 0.5].min() > 0 > more[lateral < -0.5].max()
