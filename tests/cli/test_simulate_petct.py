from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from photopeak.cli import simulate as cli
from photopeak.cli import simulate_petct
from photopeak.core import FACTOR, HU, SUV, Study
from photopeak.core.errors import BadArgument
from photopeak.io import open_cohort
from photopeak.io.pet_pair import require_ct, require_suv
from photopeak.simulate.cohort import split_of

WITH_LESIONS = 6


@pytest.fixture(scope="module")
def coarse() -> Iterator[None]:
    """Half the voxels along each axis, fewer views, and as many counts for each voxel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate_petct, "SHAPE", (60, 48, 56))
        patch.setattr(simulate_petct, "SPACING_MM", (8.0, 8.0, 8.0))
        patch.setattr(simulate_petct, "VIEWS", 96)
        yield


@pytest.fixture(scope="module")
def study(coarse: None) -> Study:
    return simulate_petct.simulate_person("patient_0006", number=WITH_LESIONS, seed=0)


def test_names_and_quantities_are_those_of_an_import(study: Study) -> None:
    quantities = {name: study[name].quantity for name in study}
    assert quantities == {"ct": HU, "pet": SUV, "pet_clean": SUV, "lesion": FACTOR, "organ": FACTOR}
    assert not study.projections
    require_ct(study["ct"])
    require_suv(study["pet"])
    for name in study:
        study["ct"].grid.require_same(study[name].grid, mine="ct", theirs=name)
    assert {"person", "state", "simulated", "modality", "kvp", "sex", "weight_kg", "dose_mbq"} <= set(study.facts)
    assert study.facts["kvp"] in (80.0, 100.0, 120.0, 140.0)
    assert study.facts["state"] is None


def test_suv_of_large_organs_is_right_without_noise(study: Study) -> None:
    """Deep inside an organ nothing spills; attenuation came from a noisy CT of its own voltage."""
    clean, label = study["pet_clean"].numpy(), study["organ"].numpy()
    for name in ("liver", "lung"):
        organ = study.facts["truth"]["organs"][name]
        inner = binary_erosion(label == organ["label"], iterations=2)
        assert inner.sum() > 100
        assert clean[inner].mean() == pytest.approx(organ["suv"], rel=0.06)


def test_noise_is_that_of_a_clinical_pet(study: Study) -> None:
    liver = study["organ"].numpy() == study.facts["truth"]["organs"]["liver"]["label"]
    noise = (study["pet"].numpy() - study["pet_clean"].numpy())[liver].std() / study["pet_clean"].numpy()[liver].mean()
    assert 0.02 < noise < 0.2


def test_lesions_shine_where_the_truth_says(study: Study) -> None:
    label, clean, grid = study["lesion"].numpy(), study["pet_clean"].numpy(), study["pet"].grid
    truth = study.facts["truth"]["lesions"]
    assert {one["label"] for one in truth} == set(np.unique(label)) - {0} == set(range(1, 1 + len(truth)))
    for one in truth:
        place = np.rint(grid.index(one["centre_mm"])).astype(int)
        assert label[tuple(place)] == one["label"]
    liver = study.facts["truth"]["organs"]["liver"]["suv"]
    largest = max(truth, key=lambda one: one["diameter_mm"])
    assert largest["site"] == "liver"
    assert clean[label == largest["label"]].max() == pytest.approx(largest["suv"], rel=0.25)
    assert clean[label == largest["label"]].mean() > 2 * liver


def test_orientation(study: Study) -> None:
    """Liver right, heart left and in front, kidneys behind, spine behind them."""
    points, label = study["organ"].grid.points(), study["organ"].numpy()
    truth = study.facts["truth"]["organs"]
    middle = {name: points[label == organ["label"]].mean(axis=0) for name, organ in truth.items()}
    assert middle["liver"][0] < 0 < middle["myocardium"][0] < 100
    assert middle["myocardium"][1] < 0 < middle["kidney"][1]
    assert middle["kidney"][2] < middle["liver"][2] < middle["myocardium"][2] < middle["lung"][2] + 40


def test_history_says_how(study: Study) -> None:
    steps = {step.made: step for step in study.history}
    assert steps["pet",].reads == ("raw", "scatter", "randoms", "ct")
    assert steps["pet_clean",].reads == ("clean", "scatter", "randoms", "ct")
    assert steps["ct", "lesion", "organ"].settings["kvp"] == study.facts["kvp"]


def test_same_seed_same_bits(coarse: None, study: Study) -> None:
    again = simulate_petct.simulate_person("patient_0006", number=WITH_LESIONS, seed=0)
    assert all(torch.equal(again[name].data, study[name].data) for name in study)
    other = simulate_petct.simulate_person("patient_0006", number=WITH_LESIONS, seed=1)
    assert not torch.equal(other["pet"].data, study["pet"].data)


def test_a_cohort_of_one_study_each(study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = study.only("ct", "pet")
    monkeypatch.setattr(simulate_petct, "simulate_person", lambda name, *, number, seed: replace(small, name=name))
    monkeypatch.setattr("photopeak.simulate.cohort.in_parallel", lambda make, numbers, workers: map(make, numbers))
    cli.command(tmp_path / "c", studies=3, camera="petct")
    cohort = open_cohort(tmp_path / "c")
    assert cohort.names == ("patient_0000", "patient_0001", "patient_0002")
    assert [scan.split for scan in cohort.scans.values()] == [split_of(number) for number in range(3)]
    assert {scan.state for scan in cohort.scans.values()} == {None}
    assert torch.equal(cohort[2]["pet"].data, study["pet"].data)


def test_a_matrix_that_is_not_its_own(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="petct"):
        cli.command(tmp_path / "c", camera="petct", matrix="128")
    assert not (tmp_path / "c").exists()
