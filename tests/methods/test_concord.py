"""Concord: it starts from the indirect answer, sees the map, and learns what to add."""

from pathlib import Path

import pytest
import torch

from photopeak.core import Study
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.learn.loop import Budget, fit
from photopeak.methods.concord import Concord, ConcordRaw
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


def test_an_untrained_network_leaves_nac_at_the_population_scale(patient: Study) -> None:
    method = untrained()
    method.players["net"].unet.out[-1].conv.weight.data.zero_()
    method.players["net"].unet.out[-1].conv.bias.data.zero_()
    made = method(patient.only("nac"))
    expected = method.feed.factor * patient["nac"].data
    assert float((made["ac"].data - expected).abs().mean() / expected.mean()) < 0.01


def test_what_the_network_sees_of_the_indirect_answer_moves_it(patient: Study) -> None:
    method, shown = untrained(), untrained()
    torch.manual_seed(1)
    for parameter in method.players["net"].parameters():
        parameter.data.normal_(std=0.1)
    shown.players["net"].load_state_dict(method.players["net"].state_dict())
    prepared = method.prepared(patient.only("nac"))
    brighter = prepared.add(
        {"indirect": prepared["indirect"].with_data(1.5 * prepared["indirect"].data)}, prepared.history[-1]
    )
    assert not torch.allclose(method.answered(prepared)["ac"].data, shown.answered(brighter)["ac"].data, rtol=1e-3)


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
    torch.manual_seed(1)
    for parameter in method.players["net"].parameters():
        parameter.data.normal_(std=0.1)
    from_images = untrained()
    from_images.use_weights(method.players.state_dict())
    assert not torch.equal(method(raw)["ac"].data, from_images(patient.only("nac"))["ac"].data)
