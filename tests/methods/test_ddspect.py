from collections.abc import Callable
from typing import Any

import pytest
import torch

from photopeak.core import Study
from photopeak.core.random import stream
from photopeak.methods.ddspect import DDSpect
from photopeak.methods.measured import Scan

Balls = Callable[..., Study]
FEED = {"shape": (8, 16, 16), "voxel_mm": 12.0, "level_radius_mm": 40.0, "peak": 2.0}


def _method(**arguments: Any) -> DDSpect:
    torch.manual_seed(0)
    return DDSpect(FEED, iterations=20, settings=["10%", "50%"], channels=(16, 24), **arguments)


def test_neighbours_come_along_as_channels(hot_ball: Balls) -> None:
    method = _method(neighbours=2)
    seen = Scan.of(hot_ball(), method.feed, iterations=5, scatter=None, fraction=1.0).seen()
    condition = method.condition(seen, range(8))
    assert condition["seen"].shape == (8, 10, 16, 16)
    torch.testing.assert_close(condition["seen"][4, 1], 2 * seen["given"][3] - 1)
    torch.testing.assert_close(condition["seen"][4, 9], seen["mu"][6])
    assert _method(neighbours=2, ct=False).channels_seen == 5


def test_the_dose_decides(hot_ball: Balls) -> None:
    study, method = hot_ball(fraction=0.1), _method(predicts="image")
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in method.players.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=chance)
    one, other = (method.using(steps=2, fraction=fraction)(study)["ac"].data for fraction in (0.1, 0.5))
    assert float((one - other).abs().max() / one.max()) > 1e-3


def test_both_walks_start_at_the_noisy_image_with_one_noise_for_all_slices() -> None:
    method = _method(schedule="linear").using(steps=25)
    flat = torch.zeros(8, 1, 16, 16)
    starts = method._starts(flat, stream(0, 0))
    assert len(starts) == 2
    assert method._first() == 960
    assert all(bool((start == start[:1]).all()) for start in starts)
    assert float((starts[0] - starts[1]).abs().max()) > 1
    kept = [after - before for after, before in zip(method._starts(flat + 1, stream(0, 0)), starts, strict=True)]
    share = float(method.diffusion.abar[960]) ** 0.5
    torch.testing.assert_close(kept[0], torch.full_like(flat, share), rtol=0, atol=1e-6)


def test_the_published_number_of_neighbours_can_be_chosen() -> None:
    assert _method(neighbours=15).channels_seen == 62
    assert _method(neighbours=15).arguments["neighbours"] == 15


@pytest.mark.parametrize("steps", [1, 2, 1000])
def test_there_is_a_first_time_for_every_number_of_steps(steps: int) -> None:
    assert steps - 1 <= _method().using(steps=steps)._first() <= 999
