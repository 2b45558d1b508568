import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.methods import unit
from photopeak.methods.unit import UNIT
from photopeak.testing import check_method

SMALL: dict[str, Any] = {
    "feed": {"size": 24, "depth": 14, "neighbours": 1},
    "channels": 4,
    "blocks": 2,
    "critic_channels": 4,
}
NOTHING = dict.fromkeys(
    ("gan_weight", "reconstruction_weight", "cycle_weight", "kl_weight", "cycle_kl_weight"),
    0.0,
)


def made(**changes: Any) -> UNIT:
    torch.manual_seed(0)
    return UNIT(**{**SMALL, **changes})


@pytest.fixture
def batch(generator: torch.Generator) -> dict[str, torch.Tensor]:
    nac = F.avg_pool2d(torch.randn((4, 3, 26, 26), generator=generator), 3, stride=1)
    return {"given": nac, "target": 0.5 * nac[:, 1:2] + 0.3, "place": torch.zeros(4, 4)}


def losses_of(method: UNIT, batch: dict[str, torch.Tensor]) -> dict[str, float]:
    return {player: loss.item() for player, loss in method.turns(batch, torch.Generator().manual_seed(0))}


def test_contract(patient: Study) -> None:
    check_method(made(), patient)


def test_the_critic_goes_first_and_leaves_the_generator_alone(batch, generator):
    method = made()
    turns = method.turns(batch, generator)
    player, loss = next(turns)
    loss.backward()
    assert player == "critic"
    assert all(p.grad is None for p in method.players["generator"].parameters())
    for critics in method.players["critic"].values():
        assert any(p.grad is not None and bool(p.grad.any()) for p in critics.parameters())
    assert [player for player, _ in turns] == ["generator"]


def test_no_loss_knows_which_slices_belong_together(batch, monkeypatch):
    monkeypatch.setattr(unit, "_noisy", lambda mean, generator: mean)
    paired, mixed = (losses_of(made(), {**batch, "target": batch["target"].roll(n, 0)}) for n in (0, 1))
    assert paired == pytest.approx(mixed, rel=1e-5)
    other = losses_of(made(), {**batch, "target": batch["target"].flip(-1) + 0.5})
    assert other["generator"] != pytest.approx(paired["generator"], rel=1e-3)


@pytest.mark.parametrize(("verdict", "critic_loss", "fooled"), [(0.0, 4.0, 4.0), (0.5, 2.0, 1.0), (1.0, 4.0, 0.0)])
def test_losses_under_critics_that_say_the_same_of_all(batch, verdict, critic_loss, fooled):
    # Two domains at two scales.
    method = made(**{**NOTHING, "gan_weight": 1.0})
    for critics in method.players["critic"].values():
        for critic in critics.critics:
            torch.nn.init.zeros_(critic.final_conv.conv.weight)
            torch.nn.init.constant_(critic.final_conv.conv.bias, verdict)
    assert losses_of(method, batch) == pytest.approx({"critic": critic_loss, "generator": fooled}, abs=1e-5)


def test_the_divergence_is_the_mean_square_of_the_latent_means(batch):
    method = made(**{**NOTHING, "kl_weight": 1.0})
    vae = method.players["generator"]
    expected = sum(
        vae.encode(batch[name], domain).square().mean().item() for name, domain in (("given", "nac"), ("target", "ac"))
    )
    assert math.isclose(losses_of(method, batch)["generator"], expected, rel_tol=1e-5)


@pytest.mark.parametrize("name", ["reconstruction_weight", "cycle_weight", "cycle_kl_weight"])
def test_every_loss_counts_in_proportion_to_its_weight(batch, name):
    one, three = (losses_of(made(**{**NOTHING, name: w}), batch)["generator"] for w in (1.0, 3.0))
    assert one > 0.01
    assert math.isclose(three, 3 * one, rel_tol=1e-5)


def test_noise_comes_from_the_generator(batch):
    method = made()
    again, other = (
        [loss.item() for _, loss in method.turns(batch, torch.Generator().manual_seed(seed))] for seed in (0, 1)
    )
    assert list(losses_of(method, batch).values()) == again
    assert other != again


def test_it_learns_to_code_both_domains(batch, generator):
    method = made()
    optimisers = {name: torch.optim.Adam(p.parameters(), lr=2e-3) for name, p in method.players.items()}
    vae = method.players["generator"]

    def lost() -> list[float]:
        domains = (("given", "nac"), ("target", "ac"))
        return [(vae.decode(vae.encode(batch[n], d), d) - batch[n]).abs().mean().item() for n, d in domains]

    before = lost()
    for _ in range(20):
        for player, loss in method.turns(batch, generator):
            optimisers[player].zero_grad()
            loss.backward()
            optimisers[player].step()
    assert all(after < 0.8 * first for after, first in zip(lost(), before, strict=True))


def test_an_answer_does_not_depend_on_the_other_slices(generator):
    method = made()
    method.players.eval()
    condition = {"given": torch.randn((15, 3, 24, 24), generator=generator), "place": torch.zeros(15, 4)}
    part = {name: value[12:14] for name, value in condition.items()}
    with torch.inference_mode():
        assert torch.equal(method.answer(condition, generator)[12:14], method.answer(part, generator))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feed": {"size": 26, "depth": 14}}, "multiple of 4"),
        ({"feed": {"size": 20, "depth": 14}}, "at least 24"),
        ({"critic_scales": 3}, "at least 48"),
        ({"shared": 3}, "0 to 2"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(BadArgument, match=message):
        made(**changes)
