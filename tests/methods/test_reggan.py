from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core import Study
from photopeak.methods.reggan import RegGAN
from photopeak.methods.slice_method import with_place
from photopeak.testing import check_method

TINY: dict[str, Any] = {
    "feed": {"size": 24, "depth": 14, "neighbours": 1},
    "width": 4,
    "blocks": 1,
    "critic_width": 4,
    "critic_layers": 1,
    "registration": (4, 8),
}


@pytest.fixture
def method() -> RegGAN:
    torch.manual_seed(0)
    return RegGAN(**TINY)


def toy(items: int = 4) -> dict[str, Tensor]:
    """Slices whose AC is the middle NAC slice, dimmed and raised."""
    generator = torch.Generator().manual_seed(1)
    nac = torch.randn(items, 3, 16, 16, generator=generator)
    return {"given": nac, "target": 0.5 * nac[:, 1:2] + 0.3, "place": torch.rand(items, 4, generator=generator)}


def losses(method: RegGAN, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(method.turns(batch, torch.Generator().manual_seed(2)))


def test_contract(method: RegGAN, patient: Study) -> None:
    check_method(method, patient)


def test_the_critic_plays_first_and_each_loss_moves_its_own_player(method: RegGAN) -> None:
    turns = method.turns(toy(), torch.Generator().manual_seed(2))
    for name, other in (("critic", "generator"), ("generator", "critic")):
        player, loss = next(turns)
        assert player == name
        method.players.zero_grad(set_to_none=True)
        loss.backward()
        assert all(p.grad is not None for p in method.players[name].parameters())
        assert all(p.grad is None for p in method.players[other].parameters())
    assert next(turns, None) is None


def test_at_the_start_the_registration_changes_nothing(method: RegGAN) -> None:
    batch = toy()
    fake = method.translate(with_place(batch["given"], batch["place"]))
    expected = method.critic.fooled(fake) + 20 * F.l1_loss(fake, batch["target"])
    torch.testing.assert_close(losses(method, batch)["generator"], expected)


class _Flow(nn.Module):
    def __init__(self, flow: Tensor) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        return self.flow


class _Middle(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image[:, 1:2]


def test_a_shifted_target_costs_nothing_once_the_registration_knows(method: RegGAN) -> None:
    batch = toy()
    nac = F.pad(batch["given"][..., 3:-3, 3:-3], (3, 3, 3, 3))
    batch |= {"given": nac, "target": nac[:, 1:2].roll(2, dims=-1)}
    method.translate = _Middle()  # type: ignore[assignment]
    unaware = losses(method, batch)["generator"]
    flow = torch.zeros(4, 2, 16, 16)
    flow[:, 1] = -2.0
    method.register = _Flow(flow)  # type: ignore[assignment]
    aware = losses(method, batch)["generator"]
    torch.testing.assert_close(aware, method.critic.fooled(nac[:, 1:2]), atol=1e-4, rtol=1e-4)
    assert float((unaware - aware).detach()) > 1


def test_a_rough_flow_costs_ten_times_its_roughness(method: RegGAN) -> None:
    batch = toy()
    batch = {**batch, "given": torch.ones(4, 3, 16, 16), "target": torch.ones(4, 1, 16, 16)}
    method.translate = _Middle()  # type: ignore[assignment]
    flow = torch.zeros(4, 2, 16, 16)
    flow[:, 0] = 0.1 * torch.arange(16)
    method.register = _Flow(flow)  # type: ignore[assignment]
    expected = method.critic.fooled(batch["target"]) + 10 * 0.01 / 2
    torch.testing.assert_close(losses(method, batch)["generator"], expected)


def test_twenty_steps_lower_the_error(method: RegGAN) -> None:
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


def test_a_slice_is_answered_alone_as_among_others(method: RegGAN) -> None:
    batch = toy(20)
    few = {name: value[:3] for name, value in batch.items()}
    with torch.no_grad():
        assert torch.equal(method.answer(batch, torch.Generator())[:3], method.answer(few, torch.Generator()))


def test_weights_come_back_with_their_arguments(method: RegGAN, tmp_path: Path) -> None:
    method.save(tmp_path / "w.safetensors")
    again = RegGAN.restored(tmp_path / "w.safetensors")
    assert again.arguments == method.arguments
    assert again.weights_sha256() == method.weights_sha256()
