from collections.abc import Callable
from typing import Any

import pytest
import torch

from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.methods.ddim_spect import DdimSpect
from photopeak.methods.ddspect import DDSpect
from photopeak.methods.measured import Scan

Balls = Callable[..., Study]
FEED = {"shape": (8, 16, 16), "voxel_mm": 12.0, "level_radius_mm": 40.0, "peak": 2.0}


def _method(kind: type[DdimSpect] = DdimSpect, **arguments: Any) -> Any:
    torch.manual_seed(0)
    small: Any = {"iterations": 20, "settings": ["10%", "50%"], "channels": (16, 24), **arguments}
    return kind(FEED, **small)


def _error(made: torch.Tensor, truth: torch.Tensor) -> float:
    return float((made - truth).norm() / truth.norm())


@pytest.mark.parametrize("kind", [DdimSpect, DDSpect])
@pytest.mark.parametrize("predicts", ["noise", "image"])
@pytest.mark.parametrize("steps", [1, 10])
def test_a_perfect_network_ends_in_the_image(
    kind: type[DdimSpect], predicts: str, steps: int, hot_ball: Balls, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, method = hot_ball(), _method(kind, predicts=predicts).using(steps=steps, chunk=8)
    scan = Scan.of(study, method.feed, iterations=20, scatter=None, fraction=1.0)
    x0 = 2 * method.feed.padded(study["ac"].data / scan.level)[:, None] - 1

    def perfect(x_t: torch.Tensor, condition: Any, times: torch.Tensor) -> torch.Tensor:
        noise: torch.Tensor = method.diffusion.noise(x_t, x0, int(times[0]))
        return noise if predicts == "noise" else x0

    monkeypatch.setattr(method, "_answer", perfect)
    assert _error(method(study)["ac"].data, study["ac"].data) < 5e-3


@pytest.mark.parametrize("kind", [DdimSpect, DDSpect])
def test_the_first_loss_is_that_of_answering_nothing(kind: type[DdimSpect], hot_ball: Balls) -> None:
    for predicts in ("noise", "image"):
        method = _method(kind, predicts=predicts)
        batch = method.batches([hot_ball()], seed=0).batch(64, stream(0, 0))
        ((_, loss),) = method.turns(batch, stream(3, 0))
        expected = float(batch["ac"].square().mean()) if predicts == "image" else 1.0
        assert float(loss.detach()) == pytest.approx(expected, rel=0.2)


def test_every_slice_has_its_own_noise() -> None:
    (start,) = _method()._starts(torch.zeros(8, 1, 16, 16), stream(0, 0))
    assert float((start[0] - start[1]).abs().max()) > 1
    assert float(start.std()) == pytest.approx(1.0, rel=0.1)


def test_a_slice_knows_nothing_of_its_neighbours(hot_ball: Balls) -> None:
    method = _method()
    scan = Scan.of(hot_ball(), method.feed, iterations=5, scatter=None, fraction=1.0)
    seen = scan.seen()
    other = {**seen, "given": seen["given"].clone()}
    other["given"][4] += 1
    one, changed = (method.condition(which, range(8))["seen"] for which in (seen, other))
    assert one.shape == (8, 2, 16, 16)
    assert [bool((one[n] != changed[n]).any()) for n in range(8)] == [n == 4 for n in range(8)]


@pytest.mark.parametrize("kind", [DdimSpect, DDSpect])
def test_seeds_decide_and_chunks_do_not(kind: type[DdimSpect], hot_ball: Balls) -> None:
    study, method = hot_ball(fraction=0.2), _method(kind, predicts="image")
    with torch.no_grad():
        for weight in method.players.parameters():
            weight += 0.03
    one, other, pieces = (
        method.using(steps=3, seed=seed, chunk=chunk)(study)["ac"].data for seed, chunk in ((0, 8), (1, 8), (0, 3))
    )
    assert _error(pieces, one) < 1e-4
    assert _error(other, one) > 1e-3


def test_several_samples_give_a_spread(hot_ball: Balls) -> None:
    method = _method()
    assert float(method.using(steps=2, samples=3)(hot_ball())["ac_sd"].data.max()) > 0


@pytest.mark.parametrize("kind", [DdimSpect, DDSpect])
def test_arguments_that_cannot_be(kind: type[DdimSpect]) -> None:
    for arguments in ({"predicts": "score"}, {"neighbours": -1}, {"diffusion_steps": 1}):
        with pytest.raises(BadArgument):
            _method(kind, **arguments)
    for settings in ({"steps": 0}, {"steps": 1001}, {"chunk": 0}):
        with pytest.raises(BadArgument):
            _method(kind).using(**settings)
