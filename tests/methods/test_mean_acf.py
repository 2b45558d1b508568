from pathlib import Path

import torch

from photopeak.core import Study
from photopeak.learn.loop import Budget, fit
from photopeak.methods.mean_acf import MeanFactor
from photopeak.testing import check_method


def test_contract(patient: Study) -> None:
    check_method(MeanFactor(), patient)


def test_factor_of_one_patient_brings_that_patient_back(patient: Study, tmp_path: Path) -> None:
    method = fit(MeanFactor(), [patient], tmp_path, budget=Budget())
    wall, ac = patient["lv"].data > 0.5, patient["ac"].data
    error = (method(patient)["ac"].data - ac)[wall].abs().mean() / ac[wall].mean()
    assert float(error) < 0.05


def test_there_is_nothing_to_step(patient: Study, tmp_path: Path) -> None:
    assert not list(MeanFactor().turns({}, torch.Generator()))
    assert fit(MeanFactor(), [patient], tmp_path, budget=Budget()).card["training"]["steps"] == 0
