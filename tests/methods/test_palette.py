from typing import Any

import pytest
import torch
from torch import Tensor

from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.methods.palette import Palette
from photopeak.testing import check_method

FEED = {"size": 16, "depth": 10, "neighbours": 1, "voxel_mm": 9.6}


def _palette(**arguments: Any) -> Palette:
    torch.manual_seed(0)
    return Palette(FEED, channels=(8, 16, 24), **arguments)


def _batch(count: int = 8) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    nac = 2 * torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear") - 1
    return {"given": nac, "place": torch.rand(count, 4, generator=generator), "target": 0.5 * nac[:, 1:2] + 0.6}


@torch.no_grad()
def _answer(method: Palette, batch: dict[str, torch.Tensor], number: int = 0) -> torch.Tensor:
    return method.answer({name: value for name, value in batch.items() if name != "target"}, stream(0, number))


def test_contract(patient: Study) -> None:
    check_method(_palette().using(steps=2, samples=2), patient)


@pytest.mark.parametrize("predicts", ["noise", "image"])
def test_the_first_loss_is_that_of_answering_nothing(predicts: Any) -> None:
    """A fresh network answers 0: the squared error is the variance of the noise, or the mean square of the image."""
    method, batch = _palette(predicts=predicts), _batch(64)
    ((player, loss),) = method.turns(batch, stream(3, 0))
    assert player == "net"
    expected = 1.0 if predicts == "noise" else float(batch["target"].square().mean())
    assert float(loss.detach()) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("predicts", ["noise", "image"])
@pytest.mark.parametrize("steps", [1, 5, 50])
def test_a_perfect_network_ends_in_the_image(predicts: Any, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = _palette(predicts=predicts).using(steps=steps), _batch()

    def perfect(self: Palette, x_t: Tensor, shown: Tensor, place: Tensor, times: Tensor) -> Tensor:
        x0 = 0.5 * shown[:, 1:2] + 0.6
        return self.diffusion.noise(x_t, x0, int(times[0])) if predicts == "noise" else x0

    monkeypatch.setattr(Palette, "_answered", perfect)
    torch.testing.assert_close(_answer(method, batch), batch["target"][:, 0], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("predicts", "share"), [("noise", 0.7), ("image", 0.5)])
def test_it_learns_a_toy(predicts: Any, share: float) -> None:
    """What predicts noise needs longer to find the mean of an image: its first steps amplify errors most."""
    method, batch = _palette(predicts=predicts), _batch()
    before = float((_answer(method.using(steps=10), batch) - batch["target"][:, 0]).abs().mean())
    optimiser = torch.optim.Adam(method.players.parameters(), lr=3e-3)
    losses = []
    for step in range(100):
        ((_, loss),) = method.turns(batch, stream(1, step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    assert float((_answer(method.using(steps=10), batch) - batch["target"][:, 0]).abs().mean()) < share * before


def test_it_starts_at_noise_and_the_generator_alone_decides() -> None:
    method, batch = _palette().using(steps=3), _batch(15)
    one, same, other = (_answer(method, batch, n) for n in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=0.1)


def test_answers_stay_in_the_clip() -> None:
    low, high = _palette(clip=(-0.5, 0.25)).using(steps=2), _batch()
    answer = _answer(low, high)
    assert (float(answer.min()), float(answer.max())) == (-0.5, 0.25)


@pytest.mark.parametrize("arguments", [{"predicts": "velocity"}, {"schedule": "square"}, {"diffusion_steps": 1}])
def test_arguments_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        _palette(**arguments)


@pytest.mark.parametrize("steps", [0, 1001])
def test_numbers_of_steps_that_cannot_be(steps: int) -> None:
    with pytest.raises(BadArgument, match="sampling steps"):
        _palette().using(steps=steps)
