import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from photopeak.core import FACTOR, HU, SUV, Grid, Step, Study, Volume
from photopeak.core.errors import BadValues, WrongQuantity
from photopeak.evaluate.pet_scores import (
    PUBLISHED_UNITS,
    SLICES,
    STORED_MAX,
    SUV_WITHOUT_LIVER,
    body_of,
    detection_scores,
    hot_level,
    organs_of,
    pet_scores,
    published_scores,
)
from photopeak.metrics.lpips import Backbone, Convolution, Lpips

GRID = Grid.regular((12, 30, 32), (5.0, 4.0, 4.0))
ORGANS = {"liver": {"label": 1, "suv": 2.0}, "lung": {"label": 2, "suv": 0.5}, "eye": {"label": 9, "suv": 1.0}}
LIVER, LUNG, LESION, SECOND = (
    np.s_[2:6, 8:14, 8:14],
    np.s_[6:10, 8:14, 8:14],
    np.s_[3:6, 18:21, 20:23],
    np.s_[8, 20, 12],
)


def painted(*regions: tuple[tuple[slice, ...], float], ground: float = 0.0) -> np.ndarray:
    array = np.full(GRID.shape, ground, dtype=np.float32)
    for where, value in regions:
        array[where] = value
    return array


@pytest.fixture
def study() -> Study:
    """A box of water with liver, lung and two lesions, on a couch."""
    arrays = {
        "ct": painted((np.s_[:, 4:24, 4:28], 0.0), (LUNG, -800.0), (np.s_[:, 26:28, :], -100.0), ground=-1000.0),
        "pet": painted((np.s_[:, 4:24, 4:28], 1.0), (LIVER, 2.0), (LUNG, 0.5), (LESION, 8.0), (SECOND, 6.0)),
        "organ": painted((LIVER, 1.0), (LUNG, 2.0)),
        "lesion": painted((LESION, 1.0), (SECOND, 2.0)),
    }
    quantities = {"ct": HU, "pet": SUV, "organ": FACTOR, "lesion": FACTOR}
    volumes = {name: Volume.from_numpy(array, GRID, quantities[name]) for name, array in arrays.items()}
    return Study("p", volumes, facts={"truth": {"organs": ORGANS}})


def answering(study: Study, change: dict[str, float], factor: float = 1.0) -> Study:
    """With "answer": the PET times a factor, some places then set to a number."""
    answer = factor * study["pet"].numpy()
    places = {"lesion": LESION, "second": SECOND, "muscle": np.s_[2:5, 18:21, 6:9], "lung": LUNG}
    for place, value in change.items():
        answer[places[place]] = value
    volume = Volume.from_numpy(answer, GRID, SUV)
    return study.add({"answer": volume}, Step(("answer",), "test"))


def scores(study: Study) -> dict[str, float]:
    return pet_scores(study, of="answer", truths=["pet"], lpips=None)["scores"]["pet"]


def test_a_perfect_answer(study: Study) -> None:
    found = scores(answering(study, {}))
    assert found["body MAE"] == found["organ SUVmean error"] == found["lesion SUVmax error"] == 0
    assert found["MAE"] == 0
    assert found["SSIM"] == pytest.approx(1)
    assert (found["lesion sensitivity"], found["false positives"], found["lesions"]) == (100, 0, 2)
    assert "LPIPS" not in found
    assert "eye SUVmean bias" not in found


def test_errors_in_suv_by_hand(study: Study) -> None:
    found = scores(answering(study, {}, factor=1.1))
    body = body_of(study["ct"])
    assert found["body bias"] == pytest.approx(0.1 * float(study["pet"].numpy()[body].mean()), rel=1e-4)
    assert found["body MAE"] == pytest.approx(found["body bias"], rel=1e-4)
    for figure in ("liver SUVmean bias", "lung SUVmean bias", "organ SUVmean error", "lesion SUVmean error"):
        assert found[figure] == pytest.approx(10, rel=1e-4)
    halved = scores(answering(study, {"lesion": 4.0, "lung": 0.4}))
    assert halved["lesion SUVmax bias"] == pytest.approx(-25)
    assert halved["lesion SUVmax error"] == pytest.approx(25)
    assert halved["lung SUVmean bias"] == pytest.approx(-20)
    assert halved["organ SUVmean error"] == pytest.approx(10)


def test_lesions_found_and_hot_places_that_are_none(study: Study) -> None:
    # The second lesion is one voxel of 0.08 ml, too small a group for the truth to show it.
    assert scores(answering(study, {}))["lesions shown"] == 1
    cold = scores(answering(study, {"lesion": 1.0, "muscle": 5.0}))
    assert (cold["lesion sensitivity"], cold["false positives"]) == (0, 1)
    dim = scores(answering(study, {"lesion": 2.9}))
    assert (dim["lesion sensitivity"], dim["false positives"]) == (0, 0)


def test_hot_everywhere_finds_nothing() -> None:
    truth, lesion = painted((LESION, 8.0), ground=1.0), painted((LESION, 1.0)) > 0
    found = detection_scores(painted(ground=9.0), truth, [lesion], None, voxel_ml=0.08)
    assert found == {"false positives": 1, "lesions": 1, "lesions shown": 1, "lesion sensitivity": 0}


def test_uptake_that_the_truth_shows_is_no_false_positive() -> None:
    heart = painted((np.s_[4:8, 10:16, 10:16], 6.0), ground=1.0)
    found = detection_scores(heart, heart, [], None, voxel_ml=0.08)
    assert found == {"false positives": 0, "lesions": 0, "lesions shown": 0}


def test_the_level_is_that_of_the_liver() -> None:
    liver = painted((LIVER, 1.0)) > 0
    image = painted((LIVER, 2.0))
    image[2:4, 8:14, 8:14] = 3.0
    assert hot_level(image, liver) == pytest.approx(1.5 * 2.5 + 2 * 0.5)
    assert hot_level(image, None) == SUV_WITHOUT_LIVER


def test_the_body_is_without_couch_and_with_lung(study: Study) -> None:
    body = body_of(study["ct"])
    assert body[LUNG].all()
    assert not body[:, 26:28].any()
    assert body.sum() == pytest.approx(12 * 20 * 24, rel=0.02)
    with pytest.raises(BadValues, match="a body"):
        body_of(study["ct"].with_data(torch.full(GRID.shape, -1000.0)))


def test_coverage_needs_a_spread(study: Study) -> None:
    told = answering(study, {}, factor=1.1)
    assert "body in 95 % interval" not in scores(told)
    sd = told["answer"].with_data(torch.full(GRID.shape, 0.1))
    found = scores(told.add({"answer_sd": sd}, Step(("answer_sd",), "test")))
    errors = 0.1 * study["pet"].numpy()[body_of(study["ct"])]
    assert found["body in 95 % interval"] == pytest.approx(100 * (errors <= 0.196).mean())


def test_a_real_study_has_no_organs(study: Study) -> None:
    told = answering(study, {})
    real = replace(told, volumes={n: told[n] for n in told if n not in ("organ", "lesion")}, facts={})
    assert organs_of(real) == {}
    found = scores(real)
    assert "organ SUVmean error" not in found
    assert "lesion SUVmax error" not in found
    assert found["false positives"] == 0


def test_published_figures_by_hand() -> None:
    truth = torch.zeros(40, 12, 10)
    truth[1:] = torch.linspace(1, 4, 39)[:, None, None]
    truth[:, :, 5:] = 0
    estimate = truth.clone()
    estimate[:, :, :5] *= 0.9
    found = published_scores(estimate, truth, None)
    # Each slice over its own maximum: half of the pixels are 1 and off by 0.1, whatever the slice's SUV.
    assert found["MAE"] == pytest.approx(0.05 * STORED_MAX, rel=1e-5)
    assert found["PSNR"] == pytest.approx(-10 * np.log10(0.005), rel=1e-5)
    assert 0 < found["SSIM"] < 1
    assert set(found) == set(PUBLISHED_UNITS) - {"LPIPS"}
    # An answer that has lost its scale is taken as a part of each slice's maximum.
    lost = torch.where(truth > 0, torch.tensor(4.5), torch.tensor(0.0))
    assert published_scores(lost, truth, None, 5.0) == pytest.approx(found, rel=1e-5)
    with pytest.raises(BadValues, match="without uptake"):
        published_scores(estimate, torch.zeros_like(truth), None)


def test_lpips_is_of_the_same_slices() -> None:
    kernel = np.ones((1, 1, 3, 1), dtype="<f4")
    net = {"Conv_0": {"kernel": kernel, "bias": np.array([1.0], dtype="<f4")}}
    content = pickle.dumps({"Toy_0": net, "NetLinLayer_0": {"Conv_0": {"kernel": kernel[:, :, :1]}}}, protocol=3)
    backbone = Backbone("toy", hashlib.sha256(content).hexdigest(), "Toy_0", 2, (Convolution(padding=0, kept=True),))
    truth = torch.ones(SLICES, 8, 8)
    truth[:, 4:] = 0
    found = published_scores(1 - truth, truth, Lpips.read(content, backbone))
    # One channel has one direction where it is lit and none where it is not: every pixel differs by 1.
    assert found["LPIPS"] == pytest.approx(1)


def test_refusals(study: Study) -> None:
    told = answering(study, {})
    with pytest.raises(WrongQuantity, match="answer"):
        scores(told.add({"answer": study["ct"]}, Step(("answer",), "test")))
    with pytest.raises(BadValues, match="without uptake"):
        scores(replace(told, volumes={**told.volumes, "pet": told["pet"].with_data(torch.zeros(GRID.shape))}))
