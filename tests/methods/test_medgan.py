import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.methods.medgan import MedGAN, content_loss, gram, perceptual_loss, style_loss
from photopeak.testing import check_method

SMALL: dict[str, Any] = {
    "feed": {"size": 24, "depth": 14, "neighbours": 1},
    "blocks": 2,
    "channels": (8, 16),
    "critic_channels": 4,
}


@pytest.fixture
def method() -> MedGAN:
    torch.manual_seed(0)
    return MedGAN(**SMALL)


@pytest.fixture
def batch(generator: torch.Generator) -> dict[str, torch.Tensor]:
    nac = F.avg_pool2d(torch.randn((4, 3, 26, 26), generator=generator), 3, stride=1)
    return {"given": nac, "target": 0.5 * nac[:, 1:2] + 0.3, "place": torch.randn((4, 4), generator=generator)}


def far(method: MedGAN, batch: dict[str, torch.Tensor]) -> float:
    return (method._translated(batch) - batch["target"]).abs().mean().item()


def test_contract(method: MedGAN, patient: Study) -> None:
    check_method(method, patient)


def test_losses_add_up_over_layers():
    layers = [(torch.full((1, n, 4, 4), 1.0 + n), torch.ones(1, n, 4, 4)) for n in (1, 3)]
    assert perceptual_loss(layers).item() == 1 + 3
    assert content_loss(layers).item() == 1 + 9
    # Gram entries are value squared over channels: (4 - 1) / 1, and (16 - 1) / 3.
    assert math.isclose(style_loss(layers).item(), (3**2 + 5**2) / 4, rel_tol=1e-6)


def test_style_does_not_see_where_things_are(generator):
    features = torch.randn((2, 3, 6, 6), generator=generator)
    assert torch.allclose(gram(features), gram(features.flip(-1)), atol=1e-6)
    assert style_loss([(features, features.flip(-1))]).item() < 1e-10
    assert content_loss([(features, features.flip(-1))]).item() > 0.1


def test_the_critic_goes_first_and_leaves_the_generator_alone(method, batch, generator):
    turns = method.turns(batch, generator)
    player, loss = next(turns)
    loss.backward()
    assert player == "critic"
    assert all(p.grad is None for p in method.players["generator"].parameters())
    assert any(p.grad is not None and bool(p.grad.any()) for p in method.players["critic"].parameters())
    assert [player for player, _ in turns] == ["generator"] * 3


def test_under_a_critic_that_sees_nothing_only_the_pixels_count(method, batch, generator):
    for weight in method.players["critic"].parameters():
        torch.nn.init.zeros_(weight)
    losses = {player: loss.item() for player, loss in method.turns(batch, generator)}
    assert math.isclose(losses["critic"], math.log(2), rel_tol=1e-5)
    assert math.isclose(losses["generator"], math.log(2) + 20 * far(method, batch), rel_tol=1e-5)


def test_every_hidden_layer_of_the_critic_counts(method, batch):
    plain = method._generator_loss(batch).item()
    fake = method._translated(batch)
    *seen, _ = method._features(batch["given"], fake)
    *wanted, _ = method._features(batch["given"], batch["target"])
    assert len(seen) == 2
    hidden = sum((mine - theirs).abs().mean().item() for mine, theirs in zip(seen, wanted, strict=True))
    method.weights = (0.0, *method.weights[1:])
    assert math.isclose(plain - method._generator_loss(batch).item(), 20 * (far(method, batch) + hidden), rel_tol=1e-4)


def test_it_learns(method, batch, generator):
    optimisers = {name: torch.optim.Adam(p.parameters(), lr=2e-3) for name, p in method.players.items()}
    before = far(method, batch)
    for _ in range(20):
        for player, loss in method.turns(batch, generator):
            optimisers[player].zero_grad()
            loss.backward()
            optimisers[player].step()
    assert far(method, batch) < 0.6 * before


def test_an_answer_does_not_depend_on_the_other_slices(method, generator):
    method.players.eval()
    condition = {"given": torch.randn((15, 3, 24, 24), generator=generator), "place": torch.zeros(15, 4)}
    part = {name: value[12:14] for name, value in condition.items()}
    with torch.inference_mode():
        assert torch.equal(method.answer(condition, generator)[12:14], method.answer(part, generator))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": (4, 4, 4, 4)}, "divisible by 16, at least 32, for 4 levels"),
        ({"feed": {"size": 8, "depth": 6}, "channels": (4, 4, 4)}, "at least 16"),
        ({"generator_turns": 0}, "generator_turns=0"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(BadArgument, match=message):
        MedGAN(**{**SMALL, **changes})
