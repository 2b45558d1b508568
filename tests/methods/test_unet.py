from pathlib import Path

import torch

from photopeak.core import Study
from photopeak.learn.loop import Budget, fit
from photopeak.methods.unet import UNet
from photopeak.testing import check_method

FEED = {"size": 24, "depth": 14, "neighbours": 1}


def test_contract(patient: Study) -> None:
    torch.manual_seed(0)
    check_method(UNet(FEED, channels=(8, 16, 24)), patient)


def test_training_lowers_the_error_in_the_wall(patient: Study, tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = UNet(FEED, channels=(8, 16, 24))
    wall, ac = patient["lv"].data > 0.5, patient["ac"].data

    def error() -> float:
        return float((method(patient)["ac"].data - ac)[wall].abs().mean())

    before = error()
    fit(method, [patient], tmp_path, budget=Budget(max_steps=30, batch_size=6, warmup_steps=5, learning_rate=3e-3))
    assert error() < before
