"""Concord: it starts from the indirect answer, sees the map, and learns what to add."""

from pathlib import Path

import numpy as np
import pytest
import torch

from photopeak.core import Study
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.learn.loop import Budget, fit
from photopeak.methods.concord import Concord, ConcordRaw
from photopeak.methods.heart_slices import heart_of
from photopeak.methods.indirect import Indirect
from photopeak.testing import check_method

FEED = {"size": 24, "depth": 14, "neighbours": 1}
MAP = {"channels": [8, 16, 24], "feed": {"neighbours": 1}}
SMALL = {"feed": FEED, "channels": [8, 16, 24], "fold": 2, "indirect": MAP}


def untrained(kind: type[Concord] = Concord) -> Concord:
    torch.manual_seed(0)
    return kind(**SMALL)


def test_it_keeps_the_contract_of_a_method(patient: Study) -> None:
    check_method(untrained(), patient.only("nac"))


def test_an_untrained_network_leaves_the_indirect_answer(patient: Study) -> None:
    method = untrained()
    method.players["net"].unet.out[-1].conv.weight.data.zero_()
    method.players["net"].unet.out[-1].conv.bias.data.zero_()
    made = method(patient.only("nac"))
    seen = method.prepared(patient.only("nac"))
    inside = torch.from_numpy(_near_the_heart(patient))
    expected = seen["indirect"].data[inside]
    assert float((made["ac"].data[inside] - expected).abs().mean() / expected.mean()) < 0.05


def _near_the_heart(study: Study) -> np.ndarray:
    return np.linalg.norm(study["nac"].grid.points() - np.array(heart_of(study).centre_mm), axis=-1) < 24.0


def test_the_map_is_taken_over_and_stays_as_it_is(patient: Study, tmp_path: Path) -> None:
    torch.manual_seed(5)
    trained, method = Indirect(**MAP), untrained()
    method.sees_with(trained)
    before = trained.weights_sha256()
    net = {k: v.clone() for k, v in method.players["net"].state_dict().items()}
    fit(method, [patient], tmp_path, budget=Budget(max_steps=2, batch_size=2, log_every=1))
    assert Concord.restored(tmp_path / "weights.safetensors")._indirect.weights_sha256() == before
    assert any(not torch.equal(v, net[k]) for k, v in method.players["net"].state_dict().items())


def test_a_map_of_other_arguments_is_refused() -> None:
    with pytest.raises(BadArgument, match="indirect"):
        untrained().sees_with(Indirect(**{**MAP, "border": 0.0}))


def test_hearts_of_another_map_are_cut_anew() -> None:
    one, other = untrained(), untrained()
    torch.manual_seed(6)
    other.sees_with(Indirect(**MAP))
    assert one.prepares_by() != other.prepares_by()
    assert one.prepares_by() == untrained().prepares_by()


def test_the_form_with_projections_reads_them(patient: Study) -> None:
    method = untrained(ConcordRaw)
    with pytest.raises(MissingInput, match="raw"):
        method(patient.only("nac"))
    raw = Study(patient.name, {"nac": patient["nac"]}, {"raw": patient.projections["raw"]}, patient.facts)
    assert not torch.equal(method(raw)["ac"].data, untrained()(patient.only("nac"))["ac"].data)
