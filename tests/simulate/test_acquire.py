from functools import partial

import pytest
import torch

from photopeak.cli.simulate import simulate
from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.physics.esse import Esse
from photopeak.physics.scatter import broad_scatter
from photopeak.simulate.anatomy import STILL, build_anatomy
from photopeak.simulate.motion import displaced, over_breaths
from photopeak.simulate.population import Patient
from photopeak.simulate.tracer import activity


def test_counts_are_those_of_a_clinical_acquisition(patient: Study) -> None:
    raw = patient.projections["raw"].counts
    assert 1.5e6 < float(raw.sum()) < 2.5e7
    assert torch.equal(raw, raw.round())


def test_noise_is_poisson(patient: Study) -> None:
    raw, clean = (patient.projections[name].counts.double() for name in ("raw", "clean"))
    busy = clean > 5
    assert float(((raw - clean)[busy] ** 2 / clean[busy]).mean()) == pytest.approx(1.0, abs=0.05)


def test_scatter_is_a_third_of_primary(patient: Study) -> None:
    scatter, clean = (patient.projections[name].counts.sum() for name in ("scatter", "clean"))
    assert 0.25 < float(scatter / (clean - scatter)) < 0.50


def test_scatter_is_that_of_the_activity_in_the_true_attenuation(patient: Study) -> None:
    scatter = patient.projections["scatter"]
    model = Esse(scatter.camera, patient["activity"].grid, patient["mu_true"])
    torch.testing.assert_close(model(patient["activity"].data), scatter.counts, rtol=1e-4, atol=1e-4)


def test_myocardium_gives_the_counts_the_patient_was_drawn_with(patient: Study) -> None:
    """Counted apart from `acquire`: what is left of the primary counts when the wall of the heart is cold."""
    drawn = Patient.from_dict(patient.facts["patient"])
    anatomy = build_anatomy(drawn, patient["mu"].grid)
    breath = partial(over_breaths, room=anatomy.room, breathing_mm=drawn.breathing_mm)
    still = activity(anatomy, STILL)
    whole, cold = (breath(still, activity(anatomy, anatomy.riding - left)) for left in (set(), {"lv_wall"}))
    counts = patient["activity"].data.sum() / whole.data.sum()
    system = patient.projections["raw"].camera.system(patient["mu"].grid, patient["mu_true"])
    assert float(system(counts * (whole.data - cold.data)).sum()) == pytest.approx(drawn.myocardial_counts, rel=1e-3)


def test_the_map_for_correction_is_out_of_register(patient: Study) -> None:
    drawn = Patient.from_dict(patient.facts["patient"])
    sharp = build_anatomy(drawn, patient["mu"].grid).mu()
    back = tuple(-shift for shift in drawn.misregistration_mm)
    moved = displaced(sharp, drawn.misregistration_mm)
    assert torch.equal(patient["mu"].data, moved.data)
    inside = (slice(8, -8),) * 3
    off = {name: float((patient[name].data - sharp.data)[inside].abs().mean()) for name in ("mu", "mu_true")}
    returned = float((displaced(patient["mu"], back).data - sharp.data)[inside].abs().mean())
    assert returned < off["mu"]


def test_facts_say_how_it_was_acquired(patient: Study) -> None:
    facts = patient.facts
    assert (facts["person"], facts["state"], facts["protocol"]) == ("fixture", "stress", "two-day")
    assert 150 < facts["dose_mbq"] < 1800
    assert len(facts["misregistration_mm"]) == 3
    assert len(facts["truth"]["segments"]) == 17


def test_same_seed_same_bits_whatever_the_threads_other_seed_other_patient(patient: Study) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        again = simulate("fixture", seed=22)
    finally:
        torch.set_num_threads(threads)
    other = simulate("fixture", seed=23)
    assert all(torch.equal(again[name].data, patient[name].data) for name in patient)
    assert all(torch.equal(again.projections[n].counts, p.counts) for n, p in patient.projections.items())
    assert not torch.equal(other["nac"].data, patient["nac"].data)


def test_scatter_is_broad() -> None:
    point = torch.zeros(1, 21, 21)
    point[0, 10, 10] = 1
    spread = partial(broad_scatter, pixel_mm=6.4)(point)
    assert float(spread.max()) < 0.02
    assert float(spread.sum()) == pytest.approx(0.33, rel=0.1)


def test_unknown_matrix_is_refused() -> None:
    with pytest.raises(BadArgument, match="64 or 128"):
        simulate(matrix="256")
