from functools import partial

import pytest
import torch

from photopeak.cli.simulate import simulate
from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.physics.scatter import broad_scatter
from photopeak.simulate.anatomy import build_anatomy
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
    assert 0.25 < float(scatter / (clean - scatter)) < 0.40


def test_myocardium_gives_the_counts_the_patient_was_drawn_with(patient: Study) -> None:
    """Counted apart from `acquire`: the wall of the same anatomy, alone, at the activity that was acquired."""
    drawn = Patient.from_dict(patient.facts["patient"])
    anatomy = build_anatomy(drawn, patient["mu"].grid)
    whole = patient["lv"].data > 0.999
    per_uptake = float((patient["activity"].data[whole] / activity(anatomy).data[whole]).median())
    wall = torch.from_numpy(anatomy.lv_wall) * per_uptake
    system = patient.projections["raw"].camera.system(patient["mu"].grid, patient["mu"])
    assert not drawn.defects
    assert float(system(wall).sum()) == pytest.approx(drawn.myocardial_counts, rel=1e-3)


def test_same_seed_same_bits_other_seed_other_patient(patient: Study) -> None:
    again, other = simulate("fixture", seed=22), simulate("fixture", seed=23)
    assert all(torch.equal(again[name].data, patient[name].data) for name in patient)
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
