import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photopeak.core import HU, SUV, Grid, Study, Volume
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.core.random import stream
from photopeak.methods import shipped_weights
from photopeak.methods.attention import Attention
from photopeak.methods.cpdm import CPDM, CPDMPet, attenuation_map
from photopeak.methods.heart_slices import heart_of
from photopeak.methods.pet_slices import PetBatches
from photopeak.methods.vqgan import VQGANPet
from photopeak.testing import check_method

FEED = {"size": 16, "depth": 10, "neighbours": 1, "voxel_mm": 9.6}


def _cpdm(maps: Sequence[str] = ("attention", "attenuation"), threshold: float = 0.4) -> CPDM:
    torch.manual_seed(0)
    method = CPDM(FEED, channels=(8, 16, 24), bridge_steps=20, maps=maps, threshold=threshold)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in method.players.parameters():
            weight += 0.03 * torch.randn(weight.shape, generator=generator)
    return method


@pytest.mark.parametrize("maps", [("attention",), ("attenuation",), ("attention", "attenuation")])
def test_contract(maps: Sequence[str], patient: Study) -> None:
    check_method(_cpdm(maps).using(steps=1), patient)


def test_what_it_reads_follows_its_maps(patient: Study) -> None:
    assert _cpdm(("attention",)).reads == ("nac",)
    assert _cpdm(("attenuation", "attention")).reads == ("nac", "mu")
    assert _cpdm(("attenuation", "attention")).arguments["maps"] == ["attention", "attenuation"]
    with pytest.raises(MissingInput, match="mu"):
        _cpdm()(patient.only("nac"))
    _cpdm(("attention",)).using(steps=1)(patient.only("nac"))


def test_the_attenuation_map_changes_the_answer(patient: Study) -> None:
    mu = patient["mu"]
    halved = replace(patient, volumes={**patient.volumes, "mu": mu.with_data(mu.data * 0.5)})
    method = _cpdm().using(steps=1)
    assert not torch.equal(method(patient)["ac"].data, method(halved)["ac"].data)


def test_the_attention_map_is_the_hearts_wall_and_nothing_far_from_it(patient: Study) -> None:
    method = _cpdm()
    grid = heart_of(patient).grid(method.feed.shape, method.feed.voxel_mm)
    nac = method.cubes(patient, grid)["nac"]
    nac = nac / method.feed.level(nac)
    batch = method.condition({"nac": nac, "attenuation": torch.zeros_like(nac)}, "sa")
    assert batch["attention"].shape == batch["given"].shape == (10, 3, 16, 16)
    attention, wall = method._attention(nac) > 0, patient["lv"].on(grid).data > 0.5
    assert set(batch["attention"].unique().tolist()) == {0.0, 1.0}
    assert float(attention[wall].float().mean()) > 0.7
    axis = (torch.arange(16) - 7.5) * 9.6
    far = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 > 45.0**2
    assert not bool(attention[far].any())
    assert bool((nac[attention] > 0.4).all())


def test_a_higher_threshold_attends_to_less() -> None:
    ratio = torch.rand(16, 16, 16, generator=torch.Generator().manual_seed(1))
    low, high = (float(_cpdm(threshold=t)._attention(ratio).sum()) for t in (0.3, 0.6))
    assert 0 < high < low


def test_the_attenuation_map_is_the_exponential() -> None:
    mu = torch.tensor([0.0, 0.15, 0.05])
    air, water, lung = attenuation_map(mu).tolist()
    assert (air, water) == pytest.approx((1.0, 0.0), abs=1e-6)
    assert lung == pytest.approx((math.exp(-0.05) - math.exp(-0.15)) / (1 - math.exp(-0.15)), rel=1e-4)


def test_it_learns_a_toy_that_only_the_map_explains() -> None:
    torch.manual_seed(0)
    method = CPDM(FEED, channels=(8, 16, 24), bridge_steps=20, maps=("attenuation",))
    generator = torch.Generator().manual_seed(5)
    nac, mu = torch.rand(2, 8, 3, 16, 16, generator=generator).round(decimals=1).unbind(0)
    batch = {"given": nac, "attenuation": mu, "place": torch.zeros(8, 4), "target": nac[:, 1:2] + mu[:, 1:2]}
    optimiser = torch.optim.Adam(method.players.parameters(), lr=3e-3)

    def error() -> float:
        with torch.no_grad():
            return float((method.using(steps=2).answer(batch, stream(0, 0)) - batch["target"][:, 0]).abs().mean())

    before = error()
    for step in range(80):
        ((_, loss),) = method.turns(batch, stream(1, step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert error() < 0.4 * before


@pytest.mark.parametrize(("maps", "threshold"), [((), 0.4), (("ct",), 0.4), (("attention",), 0.0)])
def test_arguments_that_cannot_be(maps: Sequence[str], threshold: float) -> None:
    with pytest.raises(BadArgument, match="maps"):
        _cpdm(maps, threshold)


CODE: dict[str, Any] = {"channels": [8, 16], "residual": 1, "codes": 32}
PET_FEED: dict[str, Any] = {"voxel_mm": [10.0, 8.0, 8.0], "neighbours": 1}


def _pet(compat: str = "", maps: Sequence[str] = ("attenuation",), **more: Any) -> CPDMPet:
    torch.manual_seed(0)
    method = CPDMPet(PET_FEED, compat=compat, maps=maps, code=CODE, channels=(16, 24), bridge_steps=20, **more)
    method.uses_code(VQGANPet(method.arguments["feed"], code=CODE, critic_channels=4))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in method.players["net"].parameters():
            weight += 0.03 * torch.randn(weight.shape, generator=generator)
    return method


def _body(kvp: float = 120.0) -> Study:
    grid = Grid.regular((4, 16, 16), (10.0, 8.0, 8.0))
    round_ = torch.from_numpy(np.hypot(*np.moveaxis(grid.points()[..., :2], -1, 0)) < 50)
    ct = Volume(torch.where(round_, 300.0, -1000.0), grid, HU)
    pet = Volume(round_ * torch.tensor([1.0, 2.0, 4.0, 8.0])[:, None, None], grid, SUV)
    return Study("body", {"ct": ct, "pet": pet}, facts={"kvp": kvp})


def test_each_map_becomes_latents_by_weights_that_learn() -> None:
    method, batch = _pet(), {"given": torch.zeros(2, 3, 16, 16), "place": torch.zeros(2, 1)}
    batch |= {"attenuation": torch.rand(2, 1, 16, 16), "target": torch.rand(2, 1, 16, 16)}
    seen = method.seen(batch)
    assert seen.shape == (2, method.channels_seen, 4, 4) == (2, 3 * (3 + 1), 4, 4)
    weight = dict(method.players["net"].named_parameters())["rescale.attenuation.weight"]
    block = batch["attenuation"][1, 0, 4:8, 8:12].mean()
    torch.testing.assert_close(seen[1, -3:, 1, 2], weight[:, 0, 0, 0] * block)
    ((_, loss),) = method.turns(batch, stream(0, 0))
    loss.backward()
    assert weight.grad is not None
    assert float(weight.grad.abs().max()) > 0


def test_with_both_maps_or_each_alone() -> None:
    segmenter = Attention(PET_FEED, channels=(8, 16, 24))
    for maps in (("attention",), ("attenuation", "attention")):
        method = _pet(maps=maps, attention=segmenter.arguments)
        with pytest.raises(BadArgument, match="segmenter"):
            method.using(steps=2)(_body())
        method.sees_with(segmenter)
        assert bool(torch.isfinite(method.using(steps=2)(_body())["pet"].data).all())
        assert method.channels_seen == 3 * (3 + len(maps))


def test_the_published_form_sees_nothing_of_the_ct_but_its_maps() -> None:
    method, ours = _pet("cpdm"), _pet()
    batch = {"given": torch.rand(1, 3, 16, 16), "attenuation": 2 * torch.rand(1, 1, 16, 16) - 1}
    changed = {**batch, "given": batch["given"].flip(-1)}
    assert method.seen(batch).shape == (1, 3, 4, 4)
    assert torch.equal(method.seen(batch), method.seen(changed))
    assert not torch.equal(ours.seen(batch), ours.seen(changed))
    mu = 0.186 * (batch["attenuation"] + 1) / 2
    torch.testing.assert_close(method._map("attenuation", batch["attenuation"]), torch.exp(-mu))
    assert method._map("attention", torch.tensor([-1.0, -0.2, 0.1, 1.0])).tolist() == [0.0, 0.0, 1.0, 1.0]


def test_the_published_form_takes_140_kvp_for_any_ct() -> None:
    published, ours = _pet("cpdm"), _pet()
    for method, same in ((published, True), (ours, False)):
        maps = [method.volumes(_body(kvp))["attenuation"] for kvp in (80.0, 140.0)]
        assert torch.equal(*maps) is same
    nameless = Study("x", _body().volumes)
    assert bool(torch.isfinite(published.using(steps=2)(nameless)["pet"].data).all())
    with pytest.raises(MissingInput, match="kvp"):
        ours(nameless)


def test_the_published_form_knows_no_suv_and_says_so_in_its_record(tmp_path: Path) -> None:
    method = _pet("cpdm")
    assert method.arguments["feed"]["per_slice"] is True
    target = PetBatches(method, [_body()]).bodies()[0]["target"]
    assert target.amax((-2, -1)).tolist() == [1.0] * 4
    with pytest.raises(BadArgument, match="a vqgan with"):
        method.uses_code(VQGANPet(PET_FEED, code=CODE, critic_channels=4))
    method.save(tmp_path / "w.safetensors")
    again = CPDMPet.restored(tmp_path / "w.safetensors")
    assert (again.arguments, again.compat) == (method.arguments, "cpdm")
    one, same = (m.using(steps=2)(_body())["pet"].data for m in (method, again))
    assert torch.equal(one, same)


@pytest.mark.parametrize(("maps", "compat"), [((), ""), (("attenuation",), "padm"), (("ct",), "")])
def test_forms_that_cannot_be(maps: Sequence[str], compat: str) -> None:
    with pytest.raises(BadArgument, match="maps"):
        _pet(compat, maps)


def test_latents_of_ct_need_a_code() -> None:
    method = CPDMPet(PET_FEED, maps=["attenuation"], code=CODE, channels=(16, 24))
    for use in (lambda: method.using(steps=2)(_body()), lambda: method.batches([_body()], seed=0)):
        with pytest.raises(BadArgument, match="cpdm_pet without a code"):
            use()


def test_shipped_weights_answer_in_suv_and_know_for_what_their_sd_is_calibrated() -> None:
    path = shipped_weights("cpdm_pet")
    method = CPDMPet.restored(path)
    assert path.stat().st_size <= 15e6
    assert (method.compat, method.maps, method.feed.per_slice) == ("", ("attention", "attenuation"), False)
    assert method.card["calibration"]["using"] == {"samples": 4, "steps": 2, "tv": 0.0}
    assert method.card["cohort"]["simulated"]
