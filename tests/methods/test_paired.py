"""What all methods that learn from pairs have in common."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from photopeak.core import Study
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.core.random import stream
from photopeak.methods import method_class
from photopeak.methods.ddim_spect import DdimSpect
from photopeak.methods.ddspect import DDSpect
from photopeak.methods.measured import Measured, Scan
from photopeak.methods.paired import PUBLISHED, Paired
from photopeak.methods.unet3 import FewViewUNet
from photopeak.testing import check_method

Balls = Callable[..., Study]
EVERY: list[type[Paired]] = [DdimSpect, DDSpect, FewViewUNet]
FEED = {"shape": (8, 16, 16), "voxel_mm": 12.0, "level_radius_mm": 40.0, "peak": 2.0}
LESS = ["10%", "50%", "3 views"]


def untrained(kind: type[Paired], **arguments: Any) -> Any:
    torch.manual_seed(0)
    small: Any = {"iterations": 20, "settings": LESS, "channels": (16, 24), **arguments}
    return kind(FEED, **small)


def shaken(kind: type[Paired], **arguments: Any) -> Any:
    method, chance = untrained(kind, **arguments), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in method.players.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=chance)
    return method


def few_steps(method: Any) -> Any:
    return method.using(steps=3) if isinstance(method, DdimSpect) else method


def test_they_are_found_by_their_files() -> None:
    assert [method_class(name) for name in ("ddim_spect", "ddspect", "unet3")] == EVERY


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("ct", [True, False])
def test_contract(kind: type[Paired], ct: bool, hot_ball: Balls) -> None:
    check_method(few_steps(shaken(kind, ct=ct)), hot_ball(fraction=0.1))


@pytest.mark.parametrize("kind", EVERY)
def test_the_loss_falls(kind: type[Paired], hot_ball: Balls) -> None:
    method = untrained(kind)
    batches = method.batches([hot_ball(number) for number in range(3)], seed=0)
    optimiser = torch.optim.Adam(method.players["net"].parameters(), lr=4e-3)
    losses = []
    for step in range(25):
        chance = stream(7, step)
        ((player, loss),) = method.turns(batches.batch(8, chance), chance)
        assert player == "net"
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])


@pytest.mark.parametrize("kind", EVERY)
def test_all_published_settings_are_trained_on_unless_some_are_held_out(kind: type[Paired], hot_ball: Balls) -> None:
    assert tuple(map(str, kind().settings_seen())) == PUBLISHED
    assert len(PUBLISHED) == 10
    method = untrained(kind)
    assert [str(setting) for setting in method.settings_seen()] == LESS
    batches = method.batches([hot_ball(number) for number in range(3)], seed=0)
    dealt = torch.cat([volume["fraction"] for volume in batches._volumes]).flatten().tolist()
    assert sorted(set(dealt)) == pytest.approx([0.1, 0.5, 1.0])
    assert method.usual() == {"counts": 0.0, "views": 0.0}
    method.solve(batches)
    assert method.usual() == {"counts": pytest.approx(1e6, rel=0.01), "views": 3.0}


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("ct", [True, False])
def test_without_ct_no_map_is_seen(kind: type[Paired], ct: bool, hot_ball: Balls) -> None:
    method, study = few_steps(shaken(kind, ct=ct)), hot_ball(fraction=0.1)
    scan = Scan.of(study, method.feed, iterations=5, scatter=None, fraction=0.1)
    blank = Scan(**{**vars(scan), "mu": torch.zeros_like(scan.mu)})
    with torch.no_grad():
        one, other = (method.answered(which, stream(0, 0)) for which in (scan, blank))
    assert torch.equal(one, other) is not ct


@pytest.mark.parametrize("kind", EVERY)
def test_weights_bring_their_arguments(kind: type[Paired], tmp_path: Path, hot_ball: Balls) -> None:
    method, study = shaken(kind, ct=False), hot_ball(fraction=0.1)
    method.save(tmp_path / "w.safetensors")
    restored = kind.restored(tmp_path / "w.safetensors")
    assert restored.settings_seen() == method.settings_seen()
    made, again = (few_steps(m)(study) for m in (method, restored))
    assert torch.equal(made["ac"].data, again["ac"].data)
    assert made.history[-1].settings["fraction"] == pytest.approx(0.1)


@pytest.mark.parametrize("kind", EVERY)
def test_totals_may_be_balanced(kind: type[Paired], hot_ball: Balls) -> None:
    study = hot_ball(fraction=0.05)
    measured, method = Measured.of(study), few_steps(shaken(kind))
    chosen = {"steps": 3} if isinstance(method, DdimSpect) else {}
    off = [
        abs(float(measured.system(made["ac"].data).sum() / measured.counts.sum()) - 1)
        for made in (method.using(balance=balance, **chosen)(study) for balance in (True, False))
    ]
    assert off[0] < 1e-3 < off[1]


@pytest.mark.parametrize("kind", EVERY)
def test_the_answer_is_in_the_counts_of_the_data(kind: type[Paired], hot_ball: Balls) -> None:
    """A network cannot know the dose from the scale of its image, so its answer follows the counts."""
    few, many = (few_steps(shaken(kind))(hot_ball(fraction=f))["ac"].data.sum() for f in (0.2, 1.0))
    assert float(few / many) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("kind", EVERY)
def test_what_cannot_be_is_refused(kind: type[Paired], hot_ball: Balls) -> None:
    with pytest.raises(BadArgument, match="0 settings"):
        untrained(kind, settings=[])
    with pytest.raises(BadArgument, match="7 photons"):
        untrained(kind, settings=["7 photons"])
    with pytest.raises(BadArgument, match="samples"):
        untrained(kind).using(samples=0)
    with pytest.raises(MissingInput, match="fraction"):
        untrained(kind)(replace(hot_ball(), facts={}))
