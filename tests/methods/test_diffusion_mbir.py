from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.methods import method, method_class
from photopeak.methods.diffspect import DiffSpect
from photopeak.methods.diffspect_settings import Lambdas
from photopeak.methods.diffusion_mbir import STRENGTHS, DiffusionMbir
from photopeak.methods.measured import Measured, Scan
from photopeak.recon.poisson import log_likelihood
from photopeak.recon.tv import total_variation
from photopeak.testing import check_method

Balls = Callable[..., Study]
FEED = {"shape": (8, 16, 16), "voxel_mm": 12.0, "level_radius_mm": 40.0, "peak": 2.0}


def _made(kind: type[DiffSpect], **arguments: Any) -> Any:
    torch.manual_seed(0)
    return kind(FEED, **{"iterations": 20, "channels": (16, 24), "fold": 1, **arguments})


def _method(**arguments: Any) -> DiffusionMbir:
    found: DiffusionMbir = _made(DiffusionMbir, **arguments)
    return found


def _error(made: torch.Tensor, truth: torch.Tensor) -> float:
    return float((made - truth).norm() / truth.norm())


@pytest.mark.parametrize("arguments", [{}, {"ct": True}])
def test_contract(arguments: dict[str, Any], hot_ball: Balls) -> None:
    assert method_class("diffusion_mbir") is DiffusionMbir
    check_method(_method(**arguments).using(steps=3), hot_ball(fraction=0.1))


def test_the_weights_of_diffspect_are_a_prior(tmp_path: Path, hot_ball: Balls) -> None:
    prior = _made(DiffSpect, ct=False, predicts="velocity")
    prior.save(tmp_path / "w.safetensors", card={"cohort": "balls"})
    taken = method("diffusion_mbir", tmp_path / "w.safetensors", steps=3)
    assert isinstance(taken, DiffusionMbir)
    assert taken.weights_sha256() == prior.weights_sha256()
    assert taken.card == {"cohort": "balls"}
    assert taken.lambdas.at(0.1) == taken.lambdas.at(1.0) == {"dps": 0.0, "em": 1.0, "tv": 0.04, "start": 1.0}
    study = hot_ball(fraction=0.1)
    taken.save(tmp_path / "own.safetensors")
    own = DiffusionMbir.restored(tmp_path / "own.safetensors").using(steps=3)
    assert torch.equal(own(study)["ac"].data, taken(study)["ac"].data)


def test_noise_in_every_slice_is_its_own_and_hides_the_image() -> None:
    given = torch.full((8, 1, 16, 16), 3.0)
    start = _method()._start(given, 999, stream(0, 0))
    assert float((start[0] - start[1]).abs().max()) > 1
    assert abs(float(start.mean())) < 0.1


def _wrong(found: DiffusionMbir, ratio: torch.Tensor, patch: pytest.MonkeyPatch) -> None:
    """Its network is sure of an image [z, y, x] over level."""
    x0 = 2 * found.feed.padded(ratio)[:, None] - 1

    def answer(x_t: torch.Tensor, condition: Any, times: torch.Tensor) -> torch.Tensor:
        return x0[condition["number"]]

    patch.setattr(found, "_answer", answer)


def test_data_and_neighbours_correct_a_prior_that_is_wrong(hot_ball: Balls, monkeypatch: pytest.MonkeyPatch) -> None:
    study = hot_ball(fraction=0.5)
    found = _method(predicts="image")
    scan = Scan.of(study, found.feed, iterations=20, scatter=None, fraction=0.5)
    wrong = 0.4 * scan.measured.body * (1.0 + 0.5 * (torch.arange(8) % 2))[:, None, None]
    variations = []
    for tv in (0.0, 0.04, 0.4):
        strengths = Lambdas(**{name: tuple(column) for name, column in {**STRENGTHS, "tv": [tv]}.items()})
        chosen = found.using(steps=4, lambdas=strengths)
        _wrong(chosen, wrong, monkeypatch)
        made = chosen(study)["ac"].data
        variations.append(float(total_variation(made, axis="z") / made.sum()))
        expected = scan.measured.system(made).sum() / scan.measured.counts.sum()
        assert float(expected) == pytest.approx(1.0, rel=0.03)
        if tv < 0.1:
            likelihood = (
                float(log_likelihood(scan.measured.system, image, scan.measured.counts))
                for image in (made, wrong * scan.level)
            )
            assert next(likelihood) > next(likelihood)
    assert variations[2] < variations[1] < variations[0]


def test_a_network_that_knows_stays_right(hot_ball: Balls, monkeypatch: pytest.MonkeyPatch) -> None:
    study = hot_ball()
    found = _method(predicts="image").using(steps=5)
    scan = Scan.of(study, found.feed, iterations=20, scatter=None, fraction=1.0)
    _wrong(found, study["ac"].data / scan.level, monkeypatch)
    made = found(study)["ac"].data
    assert _error(made, study["ac"].data) < 0.5 * _error(Measured.of(study).image(20), study["ac"].data)


@pytest.mark.parametrize("what", ["dps", "prior", "renew", "noises", "balance"])
def test_what_diffspect_adds_is_refused(what: str) -> None:
    with pytest.raises(BadArgument, match=what):
        _method().using(**{what: True})
