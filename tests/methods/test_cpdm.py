import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from photopeak.core import Study
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.core.random import stream
from photopeak.methods.cpdm import CPDM, attenuation_map
from photopeak.methods.heart_slices import heart_of
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
    assert batch["attention"].shape == batch["nac"].shape == (10, 3, 16, 16)
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
    batch = {"nac": nac, "attenuation": mu, "place": torch.zeros(8, 4), "ac": nac[:, 1:2] + mu[:, 1:2]}
    optimiser = torch.optim.Adam(method.players.parameters(), lr=3e-3)

    def error() -> float:
        with torch.no_grad():
            return float((method.using(steps=2).answer(batch, stream(0, 0)) - batch["ac"][:, 0]).abs().mean())

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
