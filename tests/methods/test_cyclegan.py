from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from photopeak.core import Study
from photopeak.methods.cyclegan import CycleGAN
from photopeak.testing import check_method

TINY: dict[str, Any] = {
    "feed": {"size": 24, "depth": 14, "neighbours": 1},
    "width": 4,
    "blocks": 1,
    "critic_width": 4,
    "critic_layers": 1,
}


@pytest.fixture
def method() -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN(**TINY)


def toy(items: int = 4) -> dict[str, Tensor]:
    """Slices whose AC is the middle NAC slice, dimmed and raised; all from the same place."""
    generator = torch.Generator().manual_seed(1)
    nac = torch.randn(items, 3, 16, 16, generator=generator)
    return {"given": nac, "target": 0.5 * nac[:, 1:2] + 0.3, "place": torch.zeros(items, 4)}


def losses(method: CycleGAN, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(method.turns(batch, torch.Generator().manual_seed(2)))


def test_contract(method: CycleGAN, patient: Study) -> None:
    check_method(method, patient)


def test_the_critics_play_first_and_each_loss_moves_its_own_player(method: CycleGAN) -> None:
    turns = method.turns(toy(), torch.Generator().manual_seed(2))
    for name, other in (("critic", "generator"), ("generator", "critic")):
        player, loss = next(turns)
        assert player == name
        method.players.zero_grad(set_to_none=True)
        loss.backward()
        assert all(p.grad is not None for p in method.players[name].parameters())
        assert all(p.grad is None for p in method.players[other].parameters())
    assert next(turns, None) is None


def test_pairing_makes_no_difference_to_the_losses(method: CycleGAN) -> None:
    batch = toy()
    paired = losses(method, batch)
    shuffled = losses(method, {**batch, "target": batch["target"][[2, 0, 3, 1]]})
    for name in ("critic", "generator"):
        torch.testing.assert_close(shuffled[name], paired[name])
    other = losses(method, {**batch, "target": batch["target"] + 0.5})
    assert not torch.allclose(other["generator"], paired["generator"], rtol=1e-3)


class _Scaled(nn.Module):
    """Turns an image, the first channel, into a multiple of it."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, image: Tensor) -> Tensor:
        return self.factor * image[:, :1]


def test_the_cycle_of_inverse_generators_costs_nothing(method: CycleGAN) -> None:
    batch = toy()
    method.identity = 0.0
    method.to_ac, method.to_nac = _Scaled(2.0), _Scaled(0.5)  # type: ignore[assignment]
    nac, ac = batch["given"][:, 1:2], batch["target"]
    opinions = method.critic_ac.fooled(2 * nac) + method.critic_nac.fooled(0.5 * ac)
    torch.testing.assert_close(losses(method, batch)["generator"], opinions)
    method.to_nac = _Scaled(1.0)  # type: ignore[assignment]
    opinions = method.critic_ac.fooled(2 * nac) + method.critic_nac.fooled(ac)
    expected = opinions + 10 * (nac.abs().mean() + ac.abs().mean())
    torch.testing.assert_close(losses(method, batch)["generator"], expected)


def test_identity_costs_what_a_generator_changes_in_its_own_kind(method: CycleGAN) -> None:
    batch = toy()
    method.to_ac, method.to_nac = _Scaled(2.0), _Scaled(0.5)  # type: ignore[assignment]
    with_identity = losses(method, batch)["generator"]
    method.identity = 0.0
    change = batch["target"].abs().mean() + 0.5 * batch["given"][:, 1:2].abs().mean()
    torch.testing.assert_close(with_identity - losses(method, batch)["generator"], 5 * change)


def test_twenty_steps_bring_images_closer_to_themselves(method: CycleGAN) -> None:
    batch = toy()
    optimisers = {n: torch.optim.Adam(p.parameters(), lr=2e-3, betas=method.betas) for n, p in method.players.items()}
    first = float(losses(method, batch)["generator"].detach())
    for _ in range(20):
        for player, loss in method.turns(batch, torch.Generator().manual_seed(2)):
            optimisers[player].zero_grad()
            loss.backward()
            optimisers[player].step()
    assert float(losses(method, batch)["generator"].detach()) < 0.8 * first


def test_only_the_middle_slice_is_read(method: CycleGAN) -> None:
    batch, generator = toy(), torch.Generator()
    beside = batch["given"].clone()
    beside[:, [0, 2]] = 7.0
    with torch.no_grad():
        answer = method.answer(batch, generator)
        assert torch.equal(method.answer({**batch, "given": beside}, generator), answer)
        assert not torch.allclose(
            method.answer({**batch, "given": batch["given"].flip(-1)}, generator), answer, atol=1e-3
        )


def test_weights_come_back_with_their_arguments(method: CycleGAN, tmp_path: Path) -> None:
    method.save(tmp_path / "w.safetensors")
    again = CycleGAN.restored(tmp_path / "w.safetensors")
    assert again.arguments == method.arguments
    assert again.weights_sha256() == method.weights_sha256()
