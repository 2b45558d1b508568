from dataclasses import replace

import numpy as np
import pytest
import torch

from photopeak.core import COUNTS, Grid
from photopeak.simulate.anatomy import Anatomy, build_anatomy
from photopeak.simulate.disease import Defect
from photopeak.simulate.population import Patient, draw_patient
from photopeak.simulate.tracer import activity, perfusion, perfusion_truth, tissue_uptake

GRID = Grid.regular((40, 64, 64), 6.4)
AROUND_HEART = Grid.regular((36, 36, 36), 3.2, centre_mm=(42.0, -25.0, 0.0))


def _patient(*defects: Defect, **changes) -> Patient:
    return replace(draw_patient(torch.Generator().manual_seed(6), name="p"), defects=defects, **changes)


def _defect(angle_deg: float, from_apex_deg: float = 80.0, **changes) -> Defect:
    return replace(Defect("LAD", angle_deg, from_apex_deg, 30.0, 8.0, 0.3, 1.0), **changes)


def _anatomy(*defects: Defect) -> Anatomy:
    return build_anatomy(_patient(*defects), AROUND_HEART)


def test_healthy_myocardium_is_one_everywhere():
    anatomy = _anatomy()
    assert perfusion_truth(anatomy) == pytest.approx(dict.fromkeys(range(1, 18), 1.0))
    image = activity(anatomy)
    assert image.quantity == COUNTS
    assert image.numpy()[anatomy.lv_wall > 0.999] == pytest.approx(1.0, abs=0.002)


@pytest.mark.parametrize(
    ("angle", "lowered"),
    [(0.0, {1, 7}), (-90.0, {2, 3, 8, 9}), (180.0, {4, 10}), (120.0, {5, 11}), (60.0, {6, 12})],
)
def test_a_defect_lowers_the_segments_under_it(angle, lowered):
    truth = perfusion_truth(_anatomy(_defect(angle)))
    opposite = perfusion_truth(_anatomy(_defect(angle + 180)))
    for segment in lowered:
        assert truth[segment] < 0.87
        assert opposite[segment] > 0.97


def test_an_apical_defect_lowers_the_apex_evenly():
    truth = perfusion_truth(_anatomy(_defect(0.0, from_apex_deg=0.0)))
    assert truth[17] == pytest.approx(0.4, abs=0.03)
    assert np.ptp([truth[n] for n in (13, 14, 15, 16)]) < 0.05
    assert min(truth[n] for n in range(1, 7)) > 0.99


def test_the_truth_does_not_depend_on_the_grid():
    patient = _patient(_defect(170.0))
    assert perfusion_truth(build_anatomy(patient, GRID)) == perfusion_truth(build_anatomy(patient, AROUND_HEART))


def test_the_image_holds_the_defect_of_the_truth():
    anatomy = _anatomy(_defect(180.0))
    change = (activity(_anatomy()).numpy() - activity(anatomy).numpy()).astype(float)
    assert change.min() >= -1e-6
    assert change.max() == pytest.approx(0.7, abs=0.02)
    lv = anatomy.ventricle
    place = lv.local(AROUND_HEART.points()[change > 0.3])
    assert (place[:, 1] < 0).all()


def test_a_subendocardial_defect_spares_the_epicardium():
    patient = _patient(_defect(90.0, from_apex_deg=90.0, transmural=0.5))
    lv = build_anatomy(patient, Grid.regular((2, 2, 2), 6.4)).ventricle
    inner, outer = (lv.at(lv.radius_mm - part * lv.wall_mm, 0, lv.widest_mm) for part in (0.8, 0.2))
    values = perfusion(patient, np.stack([inner, outer]))
    assert values[0] == pytest.approx(0.3, abs=0.02)
    assert values[1] == pytest.approx(1.0, abs=0.02)


def test_overlapping_defects_take_the_deeper_one():
    mild, severe = _defect(0.0, uptake=0.8), _defect(10.0, uptake=0.4)
    point = build_anatomy(_patient(), AROUND_HEART).ventricle.at(0, 30, 0)[None]
    both = perfusion(_patient(mild, severe), point)
    assert both == min(perfusion(_patient(mild), point), perfusion(_patient(severe), point))


def test_hot_bowel_is_hot_only_where_it_is_said():
    cold = tissue_uptake(_patient(hot_gut="none"))
    uptake = (*(pair for pair in _patient().uptake if pair[0] != "hot_gut"), ("hot_gut", 1.2))
    hot = tissue_uptake(_patient(hot_gut="bowel", uptake=uptake))
    assert hot["bowel"] == 1.2
    assert hot["stomach_wall"] == cold["stomach_wall"]


def test_every_tissue_but_air_has_tracer():
    anatomy = build_anatomy(_patient(), GRID)
    known = {**tissue_uptake(anatomy.patient), "lv_wall": 1.0}
    assert {tissue for tissue in anatomy.fractions if known.get(tissue, 0) <= 0} == {"air"}
