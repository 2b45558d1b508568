from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from photopeak.core import HU, SUV, Grid, Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.diffusion.samplers import Estimate
from photopeak.methods.ddib import DDIB
from photopeak.testing import check_method

FEED = {"voxel_mm": [5.0, 4.0, 4.0], "neighbours": 1, "multiple": 8}


def _ddib(**arguments: Any) -> DDIB:
    torch.manual_seed(0)
    method = DDIB(FEED, **{"channels": (8, 24), "fold": 1, "diffusion_steps": 100, **arguments})
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in method.players.parameters():
            weight += 0.03 * torch.randn(weight.shape, generator=generator)
    return method


def _body() -> Study:
    grid = Grid.regular((3, 7, 9), (5.0, 4.0, 4.0))
    hu = 300 * torch.randn(grid.shape, generator=stream(4, 0)) - 400
    return Study("body", {"ct": Volume(hu, grid, HU), "pet": Volume(hu.clamp(min=0) / 100, grid, SUV)})


def _batch(count: int = 8) -> dict[str, Tensor]:
    """CT slices of one shade each, and PET slices of another: uncoupled, so that only the kinds can be learnt."""
    shades = torch.rand(2, count, 1, 1, 1, generator=stream(5, 0))
    given = (0.4 * shades[0] + 0.2).expand(-1, 3, 8, 8)
    return {"given": given, "target": (0.4 * shades[1] - 0.8).expand(-1, 1, 8, 8), "place": torch.zeros(count, 1)}


def test_contract() -> None:
    check_method(_ddib().using(steps=3, samples=2), _body())


def test_all_samples_are_alike() -> None:
    assert not bool(_ddib().using(steps=3, samples=3)(_body())["pet_sd"].data.any())


class _Normal(torch.nn.Module):
    """The best denoiser of slices whose pixels are normal, in the place of a trained one."""

    def __init__(self, method: DDIB, mean: float, sd: float) -> None:
        super().__init__()
        self.abar, self.mean, self.sd = method.diffusion.abar, mean, sd

    def estimates(self, place: Tensor) -> Estimate:
        def estimate(x_t: Tensor, time: int) -> Tensor:
            abar = float(self.abar[time])
            gain = abar**0.5 * self.sd**2 / (abar * self.sd**2 + 1 - abar)
            return self.mean + gain * (x_t - abar**0.5 * self.mean)

        return estimate


def _known(ct: tuple[float, float], pet: tuple[float, float], **settings: int) -> tuple[Tensor, Tensor]:
    """CT slices that are normal with this mean and sd, and what DDIB with perfect priors makes of them."""
    method = _ddib(diffusion_steps=1000)
    method.players.update({"ct": _Normal(method, *ct), "pet": _Normal(method, *pet)})
    given = ct[0] + ct[1] * torch.randn(3, 3, 8, 8, generator=stream(6, 0))
    condition = {"given": given, "place": torch.zeros(3, 1)}
    return given[:, 1], method.using(**settings).answer(condition, stream(0, 0))


def test_there_and_back_with_one_prior_is_the_slice_itself() -> None:
    given, back = _known((0.5, 0.3), (0.5, 0.3), steps=200)
    torch.testing.assert_close(back, given, atol=0.05, rtol=0)
    given, back = _known((0.5, 0.3), (0.5, 0.3), steps=40, rounds=6)
    torch.testing.assert_close(back, given, atol=0.005, rtol=0)


def test_between_perfect_priors_it_is_the_transport_of_one_to_the_other() -> None:
    given, made = _known((0.5, 0.3), (-0.2, 0.6), steps=200)
    torch.testing.assert_close(made, -0.2 + 2 * (given - 0.5), atol=0.1, rtol=0)


def test_it_learns_to_go_from_one_kind_to_the_other() -> None:
    method, batch = _ddib(predicts="image"), _batch(8)
    optimisers = {name: torch.optim.Adam(player.parameters(), lr=5e-3) for name, player in method.players.items()}
    losses: dict[str, list[float]] = {"ct": [], "pet": []}
    for step in range(45):
        for player, loss in method.turns(batch, stream(1, step)):
            optimisers[player].zero_grad()
            loss.backward()
            optimisers[player].step()
            losses[player].append(float(loss.detach()))
    assert all(sum(each[-10:]) < 0.4 * sum(each[:10]) for each in losses.values())
    with torch.no_grad():
        answer = method.using(steps=20).answer(batch, stream(0, 0))
    assert float(answer.mean()) == pytest.approx(float(batch["target"].mean()), abs=0.15)


def test_a_weights_file_gives_it_back(tmp_path: Path) -> None:
    method = _ddib()
    method.save(tmp_path / "weights.safetensors")
    restored = DDIB.restored(tmp_path / "weights.safetensors")
    assert restored.arguments == method.arguments
    answers = [each.using(steps=2)(_body())["pet"].data for each in (method, restored)]
    assert torch.equal(*answers)


def test_history_tells_how_it_was_used() -> None:
    settings = _ddib().using(steps=2, rounds=2, tv=0.1)(_body()).history[-1].settings
    assert {name: settings[name] for name in ("steps", "rounds", "tv")} == {"steps": 2, "rounds": 2, "tv": 0.1}


@pytest.mark.parametrize("settings", [{"steps": 101}, {"steps": 0}, {"rounds": 0}])
def test_settings_that_cannot_be(settings: dict[str, int]) -> None:
    with pytest.raises(BadArgument):
        _ddib().using(**settings)
