from dataclasses import replace

import numpy as np
import pytest
import torch

from photopeak.core import Grid, attenuation
from photopeak.core.errors import BadArgument
from photopeak.simulate.anatomy import Anatomy, build_anatomy
from photopeak.simulate.population import Patient, draw_patient

GRID = Grid.regular((40, 64, 64), 6.4)
TALL = Grid.regular((96, 72, 80), 6.4)
SEEDS = (1, 2, 3, 4, 5)


def _patient(seed: int) -> Patient:
    return draw_patient(torch.Generator().manual_seed(seed), name=f"p{seed}")


@pytest.fixture(scope="module", params=SEEDS)
def anatomy(request) -> Anatomy:
    return build_anatomy(_patient(request.param), TALL)


def _litres(anatomy: Anatomy, tissue: str) -> float:
    return float(anatomy.fractions[tissue].sum() * np.prod(anatomy.grid.spacing_mm) / 1e6)


def _middle(anatomy: Anatomy, tissue: str) -> np.ndarray:
    weight = anatomy.fractions[tissue]
    return (anatomy.grid.points() * weight[..., None]).sum(axis=(0, 1, 2)) / weight.sum()


def test_fractions_are_parts_of_a_whole(anatomy):
    for tissue, fraction in anatomy.fractions.items():
        assert fraction.dtype == np.float32
        assert fraction.min() >= 0, tissue
        assert fraction.max() > 0.5, tissue
    total = sum(anatomy.fractions.values())
    assert total.max() <= 1 + 1e-5


@pytest.mark.parametrize(
    ("tissue", "low", "high"),
    [
        ("lv_wall", 0.09, 0.22),
        ("lv_cavity", 0.05, 0.16),
        ("rv_wall", 0.015, 0.09),
        ("lung", 1.5, 5.5),
        ("liver", 0.75, 1.7),
        ("spleen", 0.06, 0.35),
    ],
)
def test_organs_have_plausible_volumes(anatomy, tissue, low, high):
    assert low < _litres(anatomy, tissue) < high


def test_left_is_left(anatomy):
    assert _middle(anatomy, "liver")[0] < -20
    assert _middle(anatomy, "spleen")[0] > 20
    assert _middle(anatomy, "stomach")[0] > 10
    x, y, z = anatomy.heart_centre_mm
    assert x > 0 > y
    assert z == 0
    assert _middle(anatomy, "rv_wall")[0] < x
    assert _middle(anatomy, "bone")[1] > y


def test_the_heart_lies_on_the_diaphragm_and_against_the_lung(anatomy):
    lv = anatomy.ventricle
    lung = np.array([_tissue_at(anatomy, "lung", lv.at(lv.radius_mm + 10, a, 0)) for a in (-5.0, 0.0, 5.0, 15.0)])
    assert lung.mean() > 0.6
    x, y, _ = lv.centre_mm
    below = [_tissue_at(anatomy, "lung", (x, y, lv.lowest_mm - gap)) for gap in (35, 45, 55)]
    assert max(below) < 0.05


def _tissue_at(anatomy: Anatomy, tissue: str, point) -> float:
    k, j, i = np.round(anatomy.grid.index(point)).astype(int)
    return float(anatomy.fractions[tissue][k, j, i])


def test_the_frame_is_that_of_the_wall(anatomy):
    middle = (_middle(anatomy, "lv_wall") - anatomy.heart_centre_mm) @ anatomy.ventricle.axes.T
    np.testing.assert_allclose(middle[:2], 0, atol=0.5)
    assert abs(middle[2]) < 8
    assert np.linalg.norm(anatomy.long_axis) == pytest.approx(1)


def test_attenuation_has_the_values_of_tissue():
    anatomy = build_anatomy(_patient(1), GRID)
    mu = anatomy.mu()
    assert mu.quantity == attenuation(140.5)
    values = mu.numpy()
    assert values[anatomy.lv_wall > 0.95].mean() == pytest.approx(0.1599, abs=0.001)
    assert values[anatomy.fractions["lung"] > 0.999].mean() == pytest.approx(anatomy.patient.lung_mu_per_cm, abs=2e-4)
    assert values.min() >= 0
    assert values.max() <= 0.25
    soft = anatomy.lv_wall > 0.95
    assert (anatomy.mu(511.0).numpy()[soft] / values[soft]).mean() == pytest.approx(0.0998 / 0.1599, rel=1e-3)


def test_attenuation_to_the_camera_is_that_of_people():
    """Mean survival from the myocardium over RAO45 to LPO45; own ray march, published cohort mean 0.315."""
    means = []
    for seed in range(12):
        anatomy = build_anatomy(_patient(100 + seed), GRID)
        mu = anatomy.mu()
        points = GRID.points()[anatomy.lv_wall > 0.5][::4]
        angles = np.deg2rad(np.arange(-45, 135, 15.0))
        toward = np.stack([np.sin(angles), -np.cos(angles), 0 * angles], axis=-1)
        path = points[:, None, None] + np.arange(3.0, 320.0, 6.0)[:, None] * toward[:, None]
        index = np.round(GRID.index(path)).astype(int)
        valid = ((index >= 0) & (index < GRID.shape)).all(axis=-1)
        k, j, i = np.moveaxis(np.where(valid[..., None], index, 0), -1, 0)
        means.append(np.exp(-(mu.numpy()[k, j, i] * valid).sum(axis=-1) * 0.6).mean())
    assert 0.29 < np.mean(means) < 0.345
    assert min(means) > 0.22
    assert max(means) < 0.42


def test_more_samples_change_little():
    patient = _patient(2)
    coarse, fine = (build_anatomy(patient, GRID, oversample=n) for n in (2, 4))
    for tissue in ("lv_wall", "lung", "liver"):
        a, b = coarse.fractions[tissue], fine.fractions[tissue]
        assert a.sum() == pytest.approx(b.sum(), rel=0.01)
        assert np.abs(a - b).max() < 0.2
        assert np.abs(a - b).mean() < 0.002


def test_a_grid_sees_the_patient_wherever_it_lies():
    """A crop, which is also cut into other slabs, has the voxels of the whole."""
    patient = _patient(3)
    whole = build_anatomy(patient, GRID)
    part = build_anatomy(patient, GRID.crop((10, 20, 15), (17, 30, 40)))
    for tissue, fraction in part.fractions.items():
        np.testing.assert_allclose(fraction, whole.fractions[tissue][10:27, 20:50, 15:55], atol=2e-3)


def test_arms_and_breasts_are_where_they_should_be():
    patient = replace(_patient(4), sex="F", breast_mm=40.0, arms_up=False)
    down = build_anatomy(patient, TALL).fractions
    up = build_anatomy(replace(patient, arms_up=True), TALL).fractions
    heart = TALL.shape[0] // 2
    arms = down["muscle"][heart - 5 : heart + 5].sum() - up["muscle"][heart - 5 : heart + 5].sum()
    assert arms > 100
    flat = build_anatomy(replace(patient, breast_mm=6.0), TALL).fractions
    assert down["breast"].sum() > 2.5 * flat["breast"].sum()


def test_building_twice_gives_the_same_bits():
    one, other = (build_anatomy(_patient(5), GRID) for _ in range(2))
    assert all(np.array_equal(one.fractions[name], other.fractions[name]) for name in one.fractions)


def test_bad_arguments_are_refused():
    tilted = Grid((4, 4, 4), ((0, 0, -2.0, 0), (0, 2.0, 0, 0), (2.0, 0, 0, 0), (0, 0, 0, 1)))
    with pytest.raises(BadArgument, match="tilted or flipped"):
        build_anatomy(_patient(1), tilted)
    with pytest.raises(BadArgument, match="oversample 0"):
        build_anatomy(_patient(1), GRID, oversample=0)
    with pytest.raises(BadArgument, match="energy_kev 100"):
        build_anatomy(_patient(1), Grid.regular((2, 2, 2), 6.4)).mu(100.0)
