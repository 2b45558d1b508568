import numpy as np
import pytest
import torch

from photopeak.cardiac.find import FoundHeart
from photopeak.core import Step, Study
from photopeak.evaluate.patients import UNITS, heart_mask, heart_scores


@pytest.fixture
def heart(patient: Study) -> FoundHeart:
    return FoundHeart.from_dict(patient.facts["heart"])


def test_mask_is_a_ball_around_the_heart(patient: Study, heart: FoundHeart) -> None:
    grid = patient["nac"].grid
    mask = heart_mask(grid, heart.frame, 40.0)
    points = grid.points()[mask.numpy()]
    assert np.allclose(points.mean(0), heart.frame.centre_mm, atol=1.5)
    assert len(points) * np.prod(grid.spacing_mm) == pytest.approx(4 / 3 * np.pi * 40**3, rel=0.05)


def test_truth_against_itself_is_perfect_whatever_its_scale(patient: Study, heart: FoundHeart) -> None:
    answer = patient["ac"].with_data(7 * patient["ac"].data)
    study = patient.add({"answer": answer}, Step(("answer",), "test"))
    scores = heart_scores(study, of="answer", truth="ac", heart=heart)
    assert scores["heart NRMSE"] == pytest.approx(0, abs=1e-3)
    assert scores["LV-wall NRMSE"] == pytest.approx(0, abs=1e-3)
    assert scores["17-segment MAE"] == pytest.approx(0, abs=1e-3)
    assert scores["heart SSIM"] == pytest.approx(1, abs=1e-5)


def test_nac_is_worse_than_noise_free_ac(patient: Study, heart: FoundHeart) -> None:
    nac, clean = (heart_scores(patient, of=of, truth="ac", heart=heart) for of in ("nac", "ac_clean"))
    for name in ("heart NRMSE", "LV-wall NRMSE", "17-segment MAE"):
        assert nac[name] > clean[name] > 0
    assert nac["heart PSNR"] < clean["heart PSNR"]
    assert set(nac) <= set(UNITS)


def test_interval_counts_voxels_within_it(patient: Study, heart: FoundHeart) -> None:
    truth = patient["ac"]
    z, y, x = torch.meshgrid(*(torch.arange(n) for n in truth.grid.shape), indexing="ij")
    wrong = truth.with_data(truth.data + 1.0 - 2.0 * ((z + y + x) % 2))
    for sd, expected in ((0.7, 100.0), (0.3, 0.0)):
        volumes = {"answer": wrong, "answer_sd": truth.with_data(torch.full_like(truth.data, sd))}
        scores = heart_scores(patient.add(volumes, Step(("answer",), "t")), of="answer", truth="ac", heart=heart)
        assert scores["wall in 95 % interval"] == pytest.approx(expected, abs=0.1)


def test_without_truth_of_the_wall_its_figures_are_absent(patient: Study, heart: FoundHeart) -> None:
    scores = heart_scores(patient.only("nac", "ac"), of="nac", truth="ac", heart=heart)
    assert "LV-wall NRMSE" not in scores
