from collections.abc import Callable
from typing import Any

import torch

from photopeak.core import Study
from photopeak.core.random import stream
from photopeak.methods.measured import Measured, Scan
from photopeak.methods.unet3 import FewViewUNet

Balls = Callable[..., Study]
FEED = {"shape": (8, 16, 16), "voxel_mm": 12.0, "level_radius_mm": 40.0, "peak": 2.0, "brightest": 20.0}


def _method(**arguments: Any) -> FewViewUNet:
    torch.manual_seed(0)
    return FewViewUNet(FEED, iterations=20, settings=["5%"], channels=(16, 24), **arguments)


def _error(made: torch.Tensor, truth: torch.Tensor) -> float:
    return float((made - truth).norm() / truth.norm())


def test_before_training_the_answer_is_mlem(hot_ball: Balls) -> None:
    study = hot_ball(fraction=0.1)
    assert _error(_method()(study)["ac"].data, Measured.of(study).image(20)) < 1e-4


def test_training_volumes_are_those_of_use(hot_ball: Balls) -> None:
    study, method = hot_ball(), _method()
    batch = method.batches([study], seed=0).batch(20, stream(3, 0))
    assert batch["seen"].shape == (3, 2, 8, 16, 16)
    assert batch["ac"].shape == (3, 1, 8, 16, 16)
    scan = Scan.of(study, method.feed, iterations=20, scatter=None, fraction=1.0)
    torch.testing.assert_close(batch["seen"][0, 1], method.whole(scan.seen())[0, 1])
    truth = study["ac"].data / method.feed.level(study["ac"].data)
    torch.testing.assert_close(batch["ac"][0, 0], 2 * truth - 1)


def test_it_learns_to_denoise_another_patient(hot_ball: Balls) -> None:
    method, new = _method(), hot_ball(50, 0.05)
    batches = method.batches([hot_ball(number) for number in range(8)], seed=0)
    optimiser = torch.optim.Adam(method.players["net"].parameters(), lr=4e-3)
    for step in range(60):
        ((_, loss),) = method.turns(batches.batch(16, stream(7, step)), stream(7, step))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    truth = 0.05 * new["ac"].data
    assert _error(method(new)["ac"].data, truth) < 0.8 * _error(Measured.of(new).image(20), truth)
