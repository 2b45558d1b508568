import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.methods.resvit import ResViT
from photopeak.testing import check_method

SMALL: dict[str, Any] = {
    "feed": {"size": 24, "depth": 14, "neighbours": 1},
    "channels": 4,
    "blocks": 2,
    "attending": (1,),
    "width": 16,
    "layers": 1,
    "heads": 2,
    "critic_channels": 4,
    "critic_layers": 2,
}


@pytest.fixture
def method() -> ResViT:
    torch.manual_seed(0)
    return ResViT(**SMALL)


@pytest.fixture
def batch(generator: torch.Generator) -> dict[str, torch.Tensor]:
    nac = F.avg_pool2d(torch.randn((4, 3, 26, 26), generator=generator), 3, stride=1)
    return {"given": nac, "target": 0.5 * nac[:, 1:2] + 0.3, "place": torch.randn((4, 4), generator=generator)}


def test_contract(method: ResViT, patient: Study) -> None:
    check_method(method, patient)


def test_the_critic_goes_first_and_leaves_the_generator_alone(method, batch, generator):
    turns = method.turns(batch, generator)
    player, loss = next(turns)
    loss.backward()
    assert player == "critic"
    assert all(p.grad is None for p in method.players["generator"].parameters())
    assert any(p.grad is not None and bool(p.grad.any()) for p in method.players["critic"].parameters())
    assert [player for player, _ in turns] == ["generator"]


@pytest.mark.parametrize(("verdict", "critic_loss", "fooled"), [(0.0, 0.5, 1.0), (0.5, 0.25, 0.25), (1.0, 0.5, 0.0)])
def test_losses_under_a_critic_that_says_the_same_of_all(method, batch, generator, verdict, critic_loss, fooled):
    last = method.players["critic"].final_conv.conv
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, verdict)
    losses = {player: loss.item() for player, loss in method.turns(batch, generator)}
    method.players.eval()
    far = (method._translated(batch) - batch["target"]).abs().mean().item()
    assert math.isclose(losses["critic"], critic_loss, rel_tol=1e-5)
    assert math.isclose(losses["generator"], fooled + 100 * far, rel_tol=1e-5)


def test_it_learns(method, batch, generator):
    optimisers = {name: torch.optim.Adam(p.parameters(), lr=3e-3) for name, p in method.players.items()}

    def far() -> float:
        return (method._translated(batch) - batch["target"]).abs().mean().item()

    before = far()
    for _ in range(20):
        for player, loss in method.turns(batch, generator):
            optimisers[player].zero_grad()
            loss.backward()
            optimisers[player].step()
    assert far() < 0.6 * before


def test_an_answer_does_not_depend_on_the_other_slices(method, generator):
    method.players.eval()
    condition = {"given": torch.randn((15, 3, 24, 24), generator=generator), "place": torch.zeros(15, 4)}
    part = {name: value[12:14] for name, value in condition.items()}
    with torch.inference_mode():
        assert torch.equal(method.answer(condition, generator)[12:14], method.answer(part, generator))


def test_slices_that_do_not_fit_are_refused():
    with pytest.raises(BadArgument, match="size=28"):
        ResViT({"size": 28, "depth": 14}, channels=4, width=16, layers=1, heads=2)
