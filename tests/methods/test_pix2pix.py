from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.core import Study
from photopeak.methods import pix2pix
from photopeak.methods.pix2pix import Pix2Pix
from photopeak.methods.slice_method import with_place
from photopeak.testing import check_method

TINY: dict[str, Any] = {
    "feed": {"size": 24, "depth": 14, "neighbours": 1},
    "width": 8,
    "depth": 2,
    "critic_width": 4,
    "critic_layers": 1,
}


@pytest.fixture
def method() -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix(**TINY)


def toy(items: int = 4) -> dict[str, Tensor]:
    """Slices whose AC is the middle NAC slice, dimmed and raised."""
    generator = torch.Generator().manual_seed(1)
    nac = torch.randn(items, 3, 16, 16, generator=generator)
    return {"given": nac, "target": 0.5 * nac[:, 1:2] + 0.3, "place": torch.rand(items, 4, generator=generator)}


def test_contract(method: Pix2Pix, patient: Study) -> None:
    check_method(method, patient)


def test_the_critic_plays_first_and_each_loss_moves_its_own_player(method: Pix2Pix) -> None:
    turns = method.turns(toy(), torch.Generator().manual_seed(2))
    for name, other in (("critic", "generator"), ("generator", "critic")):
        player, loss = next(turns)
        assert player == name
        method.players.zero_grad(set_to_none=True)
        loss.backward()
        assert any(p.grad is not None and float(p.grad.abs().max()) > 0 for p in method.players[name].parameters())
        assert all(p.grad is None for p in method.players[other].parameters())
    assert next(turns, None) is None


def test_the_generators_loss_is_the_critics_opinion_plus_weighted_l1() -> None:
    batch = toy()
    torch.manual_seed(0)
    without = Pix2Pix(**TINY, l1=0.0)
    torch.manual_seed(0)
    usual = Pix2Pix(**TINY)
    losses = [dict(m.turns(batch, torch.Generator().manual_seed(2))) for m in (without, usual)]
    masks = usual.generator.masks(batch["given"], torch.Generator().manual_seed(2))
    error = F.l1_loss(usual.generator(with_place(batch["given"], batch["place"]), masks), batch["target"])
    torch.testing.assert_close(losses[1]["generator"] - losses[0]["generator"], 100 * error)
    torch.testing.assert_close(losses[1]["critic"], losses[0]["critic"])


def test_the_critic_is_conditional(method: Pix2Pix) -> None:
    batch = toy()
    seen = torch.cat([batch["given"], batch["target"]], dim=1)
    elsewhere = torch.cat([batch["given"].flip(0), batch["target"]], dim=1)
    assert not torch.allclose(method.critic(seen), method.critic(elsewhere), atol=1e-4)


def test_twenty_steps_lower_the_error(method: Pix2Pix) -> None:
    batch, generator = toy(), torch.Generator().manual_seed(3)
    optimisers = {n: torch.optim.Adam(p.parameters(), lr=2e-3, betas=method.betas) for n, p in method.players.items()}

    def error() -> float:
        with torch.no_grad():
            return float((method.answer(batch, generator) - batch["target"][:, 0]).abs().mean())

    before = error()
    for _ in range(20):
        for player, loss in method.turns(batch, generator):
            optimisers[player].zero_grad()
            loss.backward()
            optimisers[player].step()
    assert error() < 0.8 * before


@pytest.mark.parametrize("samples", [1, 2])
def test_the_answer_does_not_depend_on_chunking(method: Pix2Pix, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, ready = toy(9), method.using(samples=samples)
    answers = []
    for items in (9, 4):
        chunks = pix2pix.in_chunks
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setattr(pix2pix, "in_chunks", lambda f, b, c=chunks, n=items: c(f, b, n))
            answers.append(ready.answer(batch, torch.Generator().manual_seed(4)))
    torch.testing.assert_close(*answers)


def test_noise_only_where_samples_are_asked_for(method: Pix2Pix) -> None:
    batch = toy()
    several = method.using(samples=3)
    with torch.no_grad():
        one, same = (method.answer(batch, torch.Generator().manual_seed(s)) for s in (1, 2))
        first, again, other = (several.answer(batch, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


def test_weights_come_back_with_their_arguments(method: Pix2Pix, tmp_path: Path) -> None:
    method.save(tmp_path / "w.safetensors")
    again = Pix2Pix.restored(tmp_path / "w.safetensors")
    assert again.arguments == method.arguments
    assert again.weights_sha256() == method.weights_sha256()
