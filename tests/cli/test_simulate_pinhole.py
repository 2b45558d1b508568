from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from photopeak.cli import simulate as cli
from photopeak.cli import simulate_pinhole
from photopeak.core import Grid, Study
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.io import open_cohort
from photopeak.methods.mlem import Mlem
from photopeak.physics.pinhole import Pinhole
from photopeak.simulate.anatomy import build_anatomy
from photopeak.simulate.population import Patient, draw_scans

PASSES = 4


@pytest.fixture(scope="module")
def person() -> tuple[Patient, Patient]:
    return draw_scans(stream(0, 0), name="patient_0000")


@pytest.fixture(scope="module")
def stress(person: tuple[Patient, Patient]) -> Study:
    """One scan, with few passes."""
    with pytest.MonkeyPatch.context() as patch, cli.one_thread():
        patch.setattr(simulate_pinhole, "ITERATIONS", PASSES)
        return simulate_pinhole._scan(person[0], stream(0, 1), stream(0, 2))


def test_everything_lies_on_the_clinics_grid_about_the_field(stress: Study) -> None:
    camera = stress.projections["raw"].camera
    assert isinstance(camera, Pinhole)
    grid = Grid.regular((50, 70, 70), 4.0, centre_mm=camera.fov_centre_mm)
    assert set(stress) == {"nac", "ac", "ac_clean", "mu", "mu_true", "activity", "lv"}
    assert all(stress[name].grid.same_as(grid) for name in stress)
    missed = np.array(camera.fov_centre_mm) - stress.facts["truth"]["heart_centre_mm"]
    assert 0 < np.abs(missed).max() <= simulate_pinhole.POSITION_CUT_MM
    assert stress["lv"].data[0].sum() == stress["lv"].data[-1].sum() == 0
    assert stress.facts["camera_model"] != "SIMULATED"


def test_counts_are_those_of_this_camera(stress: Study, person: tuple[Patient, Patient]) -> None:
    raw, clean, scatter = (stress.projections[name].counts for name in ("raw", "clean", "scatter"))
    assert raw.shape == clean.shape == (19, 32, 32)
    assert torch.equal(raw, raw.round())
    assert not scatter.any()
    seen = clean > 5
    assert float(((raw - clean)[seen] ** 2 / clean[seen]).mean()) == pytest.approx(1, abs=0.05)
    counted = stress.facts["patient"]["myocardial_counts"]
    assert counted == pytest.approx(person[0].myocardial_counts * (5.6 / 0.6) * 300 / 900)
    assert float(clean.sum()) > 2 * counted


def test_the_ct_is_in_register_and_the_arms_are_up(stress: Study) -> None:
    assert stress.facts["misregistration_mm"] == [0.0, 0.0, 0.0]
    assert stress.facts["patient"]["arms_up"] is True
    assert float((stress["mu"].data - stress["mu_true"].data).abs().mean()) < 0.002


def test_history_says_how_to_make_it_again(stress: Study) -> None:
    steps = {step.made: step for step in stress.history}
    assert steps["ac_clean",].reads == ("mu", "clean")
    step = steps["ac",]
    assert (step.by, step.reads) == ("mlem", ("mu", "raw"))
    again = Mlem("ac", iterations=step.settings["iterations"])(stress)["ac"]
    assert torch.allclose(again.data, stress["ac"].data, rtol=1e-3, atol=1e-4 * float(again.data.max()))


def test_nac_needs_no_ct(stress: Study) -> None:
    assert next(step for step in stress.history if step.made == ("nac",)).reads == ("raw",)
    camera = stress.projections["raw"].camera
    points = stress["nac"].grid.points() - np.array(camera.fov_centre_mm)
    pinholes = [module.h_mm * module.axes[0] for module in camera.modules]
    near = np.min([np.linalg.norm(points - pinhole, axis=-1) for pinhole in pinholes], axis=0) < 90
    nac = stress["nac"].numpy()
    assert not nac[near].any()
    wall = stress["lv"].numpy() > 0.5
    assert nac[wall].mean() > 3 * nac[~near].mean()


@pytest.mark.parametrize("number", [1, 5])
def test_the_camera_keeps_clear_of_the_obese(number: int) -> None:
    patient = replace(draw_scans(stream(0, number), name="p", body="obese")[0], arms_up=True)
    grid = Grid.regular((44, 50, 58), 10.0)
    mu = build_anatomy(patient, grid).mu()
    on_the_heart = Pinhole.named("dnm_530c").views([18])
    with pytest.raises(BadArgument, match="inside the body"):
        replace(on_the_heart, fov_centre_mm=(patient.heart_x_mm, patient.heart_y_mm, 0.0)).system(grid, mu)
    camera = simulate_pinhole.placed(patient, stream(0, 3))
    assert camera.views([18]).system(grid, mu).range_shape == (1, 32, 32)


def test_a_body_that_no_ring_holds(person: tuple[Patient, Patient]) -> None:
    giant = replace(person[0], chest_width_mm=540.0, chest_depth_mm=460.0)
    with pytest.raises(BadArgument, match="fits between the modules"):
        simulate_pinhole.placed(giant, stream(0, 3))


def test_the_place_follows_from_the_stream(person: tuple[Patient, Patient]) -> None:
    one, same, other = (simulate_pinhole.placed(person[0], stream(0, number)) for number in (7, 7, 8))
    assert one == same
    assert one.fov_centre_mm != other.fov_centre_mm


def test_two_scans_of_one_person_with_noise_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    noises = []

    def scan(patient: Patient, chance: torch.Generator, noise: torch.Generator) -> Study:
        noises.append(noise.initial_seed())
        return Study(patient.name, facts={"state": patient.state})

    monkeypatch.setattr(simulate_pinhole, "_scan", scan)
    monkeypatch.setattr(simulate_pinhole, "with_heart", lambda study: study.with_facts(heart=study.name))
    scans = [s for n in (0, 1) for s in simulate_pinhole.simulate_person(f"patient_{n}", number=n, seed=4)]
    assert [s.name for s in scans] == [f"patient_{n}_{state}" for n in (0, 1) for state in ("stress", "rest")]
    assert [s.facts["heart"] for s in scans] == [f"patient_{n}_stress" for n in (0, 0, 1, 1)]
    assert [s.facts["person"] for s in scans] == ["patient_0", "patient_0", "patient_1", "patient_1"]
    assert len(set(noises)) == 4


def test_a_cohort_of_this_camera(stress: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def both(name: str, *, number: int, seed: int) -> tuple[Study, Study]:
        small = stress.only("nac", "lv")
        return replace(small, name=f"{name}_stress"), replace(small, name=f"{name}_rest")

    monkeypatch.setattr(simulate_pinhole, "simulate_person", both)
    monkeypatch.setattr("photopeak.simulate.cohort.in_parallel", lambda make, numbers, workers: map(make, numbers))
    cli.command(tmp_path / "c", studies=2, camera="nm570c")
    cohort = open_cohort(tmp_path / "c")
    assert {study.name for study in cohort} == {f"patient_000{n}_{s}" for n in (0, 1) for s in ("stress", "rest")}
    assert torch.equal(cohort[0]["nac"].data, stress["nac"].data)


@pytest.mark.parametrize(
    "given", [{"camera": "spect"}, {"camera": "nm570c", "matrix": "128"}, {"camera": "nm570c", "nosc": True}]
)
def test_what_no_camera_makes(given: dict[str, str | bool], tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="camera"):
        cli.command(tmp_path / "c", **given)
    assert not (tmp_path / "c").exists()
