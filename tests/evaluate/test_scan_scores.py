import pytest
import torch

from photopeak.cardiac.find import FoundHeart
from photopeak.core import Step, Study
from photopeak.evaluate.scan_scores import ALL_UNITS, heart_slices, scan_scores


@pytest.fixture(scope="module")
def heart(patient: Study) -> FoundHeart:
    return FoundHeart.from_dict(patient.facts["heart"])


def test_half_of_the_truth_has_the_factor_two_and_no_error(patient: Study, heart: FoundHeart) -> None:
    truth = patient["ac_clean"]
    study = patient.add({"answer": truth.with_data(0.5 * truth.data)}, Step(("answer",), "test"))
    found = scan_scores(study, of="answer", truths=("ac_clean", "ac"), heart=heart)
    scores = found["scores"]["ac_clean"]
    assert scores["heart factor"] == pytest.approx(2)
    assert max(scores[name] for name in ("heart NRMSE", "17-segment MAE", "padm RMSE")) < 1e-3
    assert 1 < found["scores"]["ac"]["heart NRMSE"] < 40
    assert {len(values) for values in found["segments"].values()} == {17}
    assert torch.tensor(found["segments"]["answer"]) == pytest.approx(0.5 * torch.tensor(found["segments"]["ac_clean"]))


def test_nac_is_worse_than_noisy_ac_in_every_figure(patient: Study, heart: FoundHeart) -> None:
    nac, ac = (scan_scores(patient, of=of, truths=("ac_clean",), heart=heart) for of in ("nac", "ac"))
    mine, better = nac["scores"]["ac_clean"], ac["scores"]["ac_clean"]
    assert mine.keys() <= ALL_UNITS.keys()
    assert mine["heart NRMSE"] > better["heart NRMSE"]
    assert mine["padm RMSE"] > better["padm RMSE"]
    assert mine["mst106 PSNR"] < better["mst106 PSNR"]


def test_slices_hold_the_heart_in_three_orientations(patient: Study, heart: FoundHeart) -> None:
    slices = heart_slices(patient["ac_clean"], heart)
    assert slices.shape == (27, 50, 50)
    assert all(float(side.max()) > 0.5 * float(slices.max()) for side in slices.split(9))
