from typing import Any

import pytest
import torch

from photopeak.core import HU, Grid, Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.methods.ddib import DDIB
from photopeak.methods.sdedit import SDEdit
from photopeak.testing import check_method

FEED = {"voxel_mm": [5.0, 4.0, 4.0], "neighbours": 1, "multiple": 8}
SMALL: dict[str, Any] = {"channels": (8, 24), "fold": 1, "diffusion_steps": 100, "predicts": "image"}


def _sdedit() -> SDEdit:
    torch.manual_seed(0)
    method = SDEdit(FEED, **SMALL)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in method.players.parameters():
            weight += 0.03 * torch.randn(weight.shape, generator=generator)
    return method


def _body() -> Study:
    grid = Grid.regular((3, 7, 9), (5.0, 4.0, 4.0))
    return Study("body", {"ct": Volume(300 * torch.randn(grid.shape, generator=stream(4, 0)) - 400, grid, HU)})


def test_contract() -> None:
    check_method(_sdedit().using(steps=2, samples=2), _body())


def test_samples_differ_in_their_noise() -> None:
    made = _sdedit().using(steps=2, samples=3, strength=0.8, repeats=1)(_body())
    assert bool(made["pet_sd"].data.any())
    assert torch.equal(
        made["pet"].data, _sdedit().using(steps=2, samples=3, strength=0.8, repeats=1)(_body())["pet"].data
    )


def _batch() -> dict[str, torch.Tensor]:
    given = 0.6 * torch.rand(4, 3, 8, 8, generator=stream(6, 0))
    return {"given": given, "place": torch.zeros(4, 1)}


@torch.no_grad()
def _answer(method: SDEdit, strength: float) -> torch.Tensor:
    return method.using(steps=1, strength=strength, repeats=1).answer(_batch(), stream(0, 0))


def test_with_little_noise_and_a_network_that_finds_none_the_ct_stays() -> None:
    method = SDEdit(FEED, **{**SMALL, "predicts": "noise"})
    ct = _batch()["given"][:, 1]
    little, much = (float((_answer(method, strength) - ct).abs().mean()) for strength in (0.01, 0.5))
    assert little < 0.05
    assert much > 10 * little


def test_a_trained_prior_answers_with_its_kind() -> None:
    method, batch = _sdedit(), _batch()
    optimiser = torch.optim.Adam(method.players.parameters(), lr=5e-3)
    for step in range(40):
        ((player, loss),) = method.turns({**batch, "target": torch.full((4, 1, 8, 8), -0.5)}, stream(1, step))
        assert player == "pet"
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float((_answer(method, 1.0) + 0.5).abs().mean()) < 0.1


def test_it_takes_over_the_prior_of_a_ddib() -> None:
    torch.manual_seed(5)
    ddib, method = DDIB(FEED, **SMALL), _sdedit()
    method.uses_prior(ddib)
    theirs = ddib.prior("pet").state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in method.prior("pet").state_dict().items())
    with pytest.raises(BadArgument, match="a ddib with"):
        method.uses_prior(DDIB(FEED, **{**SMALL, "channels": (16, 24)}))


def test_settings_of_one_use_are_not_those_of_the_next() -> None:
    method = _sdedit()
    used = method.using(steps=90, strength=1.0, repeats=1)
    assert (used.steps, used.strength, used.repeats) == (90, 1.0, 1)
    assert (method.steps, method.strength, method.repeats) == (25, 0.5, 3)
    assert used.using().strength == 0.5
    assert used.settings()["repeats"] == 1


@pytest.mark.parametrize(
    "settings", [{"strength": 0.0}, {"strength": 1.1}, {"repeats": 0}, {"steps": 51}, {"steps": 0}]
)
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        _sdedit().using(**settings)
