from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from photopeak.core import HU, SUV, Grid, Study, Volume
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.core.random import stream
from photopeak.learn.loop import Budget, fit
from photopeak.methods.attention import Attention
from photopeak.methods.upgan import PHASES, UPGAN
from photopeak.testing import check_method

FEED = {"voxel_mm": [5.0, 4.0, 4.0], "neighbours": 1, "multiple": 16}
SMALL: dict[str, Any] = {"channels": (8, 24), "fold": 2, "critic_width": 8, "critic_layers": 1}


def _body(number: int = 0, shape: tuple[int, int, int] = (4, 14, 15)) -> Study:
    """CT of random smooth tissue, and a PET that is a function of it."""
    grid = Grid.regular(shape, (5.0, 4.0, 4.0))
    coarse = torch.rand(1, 1, 2, 4, 4, generator=stream(7, number))
    tissue = torch.nn.functional.interpolate(coarse, shape, mode="trilinear")[0, 0].numpy()
    inside = np.hypot(grid.points()[..., 0], grid.points()[..., 1]) < 25
    hu, suv = np.where(inside, 400 * tissue - 200, -1000), np.where(inside, 1 + 4 * tissue, 0)
    volumes = {"ct": Volume.from_numpy(hu, grid, HU), "pet": Volume.from_numpy(suv, grid, SUV)}
    return Study(f"body_{number}", volumes).with_facts(kvp=120.0)


def _upgan(**arguments: Any) -> UPGAN:
    torch.manual_seed(0)
    return UPGAN(FEED, **{**SMALL, **arguments})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[UPGAN, Path]:
    """Two generators that saw four bodies, and their weights file."""
    folder = tmp_path_factory.mktemp("upgan")
    budget = Budget(max_steps=50, batch_size=4, warmup_steps=5, learning_rate=6e-3, average=0.9)
    method = fit(_upgan(phases=PHASES[:2]), [_body(n) for n in range(4)], folder, budget=budget)
    assert isinstance(method, UPGAN)
    return method, folder / "weights.safetensors"


def _error(method: UPGAN, study: Study) -> float:
    return float((method(study)["pet"].data - study["pet"].data).abs().mean())


def test_training_brings_pet_nearer(trained: tuple[UPGAN, Path]) -> None:
    study = _body(9)
    assert _error(trained[0], study) < 0.4 * _error(_upgan(phases=PHASES[:2]), study)
    assert _error(trained[0], study) < 0.6


def test_contract(trained: tuple[UPGAN, Path]) -> None:
    check_method(trained[0], _body(5, (3, 17, 12)))


def test_a_weights_file_gives_it_back(trained: tuple[UPGAN, Path]) -> None:
    restored, study = UPGAN.restored(trained[1])(_body(5)), trained[0](_body(5))
    assert all(torch.equal(restored[name].data, study[name].data) for name in ("pet", "pet_sd"))


def test_its_spread_is_the_last_generators_own(trained: tuple[UPGAN, Path]) -> None:
    method, study = trained[0], _body(5)
    made = method(study)
    with torch.no_grad():
        spread = method._last(method.condition(method.volumes(study)))
    suv = (spread.mean[:, 0, :14, :15] + 1) / 2 * 5
    torch.testing.assert_close(made["pet"].data, suv.clamp(0, 20), atol=1e-5, rtol=0)
    torch.testing.assert_close(made["pet_sd"].data, spread.sd[:, 0, :14, :15] * 2.5, atol=1e-5, rtol=0)
    assert float(made["pet_sd"].data.min()) > 0


def test_every_generator_plays_against_its_own_critic() -> None:
    method = _upgan()
    batch = method.batches([_body()], seed=0).batch(3, stream(0, 0))
    players = []
    for player, loss in method.turns(batch, stream(0, 1)):
        method.players.zero_grad(set_to_none=True)
        loss.backward()
        moved = {name for name, net in method.players.items() if any(p.grad is not None for p in net.parameters())}
        assert moved == {player}
        players.append(player)
    assert players == [f"{kind}{number}" for number in range(3) for kind in ("critic", "generator")]


def test_a_later_generator_sees_how_sure_the_one_before_it_was() -> None:
    method = _upgan(phases=PHASES[:2])
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in method.players.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
        batch = method.condition(method.volumes(_body()))
        first = method._improved(0, batch, None)
        doubted = type(first)(first.mean, 2 * first.alpha, first.beta)
        answers: list[Tensor] = [method._improved(1, batch, before).mean for before in (first, doubted)]
    assert not torch.equal(*answers)


def test_both_maps_are_further_channels() -> None:
    torch.manual_seed(1)
    segmenter = Attention(FEED, channels=(8, 24), fold=2)
    method = _upgan(maps=["attenuation", "attention"], attention=segmenter.arguments, phases=PHASES[:1])
    with pytest.raises(BadArgument, match="without a segmenter"):
        method(_body())
    method.sees_with(segmenter)
    assert method(_body())["pet"].data.shape == (4, 14, 15)
    with pytest.raises(MissingInput, match="tube voltage"):
        method(_body().with_facts(kvp=None))


def test_a_step_trains_no_segmenter() -> None:
    segmenter = Attention(FEED, channels=(8, 24), fold=2)
    method = _upgan(maps=["attention"], attention=segmenter.arguments, phases=PHASES[:1])
    method.sees_with(segmenter)
    players = [
        player for player, _ in method.turns(method.batches([_body()], seed=0).batch(2, stream(0, 0)), stream(0, 1))
    ]
    assert players == ["critic0", "generator0"]


@pytest.mark.parametrize("phases", [(), ((1.0,),), ((1.0, -1.0),)])
def test_phases_that_cannot_be(phases: Any) -> None:
    with pytest.raises(BadArgument, match="phases"):
        _upgan(phases=phases)
