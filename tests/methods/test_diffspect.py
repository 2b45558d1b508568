from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photopeak.core import COUNTS, Grid, Projections, Study, Volume, attenuation
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.methods import method_class, shipped_weights
from photopeak.methods.diffspect import DiffSpect
from photopeak.methods.diffspect_settings import Lambdas
from photopeak.methods.measured import Measured, Scan
from photopeak.physics.pinhole import Pinhole
from photopeak.recon.poisson import log_likelihood
from photopeak.recon.tv import total_variation
from photopeak.simulate.dose import poisson, thinned
from photopeak.testing import check_method

FEED = {"shape": (8, 16, 16), "voxel_mm": 12.0, "level_radius_mm": 40.0, "peak": 2.0}
GRID = Grid.regular((8, 16, 16), 12.0)
CAMERA = replace(Pinhole.named("dnm_530c").few(3), shape=(12, 12), pixel_mm=6.56)
ALONE = {"dps": False, "tv": False, "em": False}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small wait longer for a second thread than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ball(number: int = 0) -> Study:
    """A hot ball in water, in a place of its own; "ac" is the truth."""
    points, chance = GRID.points(), np.random.default_rng(number)
    body = np.hypot(points[..., 0], points[..., 1]) < 80
    hot = np.linalg.norm(points - chance.uniform(-14, 14, 3), axis=-1) < 30
    mu = Volume.from_numpy(0.15 * body, GRID, attenuation(140.5))
    image = torch.from_numpy(0.2 * body + 1.0 * hot).float()
    expected = CAMERA.system(GRID, mu)(image)
    scale = 1e6 / float(expected.sum())
    raw = poisson(Projections(scale * expected, CAMERA), stream(0, number))
    return Study(f"ball_{number}", {"mu": mu, "ac": Volume(scale * image, GRID, COUNTS)}, {"raw": raw})


def fewer(study: Study, fraction: float) -> Study:
    less = thinned(study.projections["raw"], fraction, stream(1, 0))
    return replace(study, projections={"raw": less}).with_facts(dose={"fraction": fraction})


def _method(**arguments: Any) -> DiffSpect:
    torch.manual_seed(0)
    return DiffSpect(FEED, **{"iterations": 20, "channels": (16, 24), "fold": 1, **arguments})


def _shaken(**arguments: Any) -> DiffSpect:
    method, chance = _method(**arguments), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in method.players.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=chance)
    return method


def _error(made: torch.Tensor, truth: torch.Tensor) -> float:
    return float((made - truth).norm() / truth.norm())


@pytest.fixture
def knowing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a method whose network knows the image [z, y, x] over level that it shall answer."""

    def make(method: DiffSpect, ratio: torch.Tensor) -> DiffSpect:
        x0 = 2 * method.feed.padded(ratio)[:, None] - 1

        def perfect(x_t: torch.Tensor, condition: Any, times: torch.Tensor) -> torch.Tensor:
            mine, time = x0[condition["number"]], int(times[0])
            noise = method.diffusion.noise(x_t, mine, time)
            return method._target(mine, noise, times)

        monkeypatch.setattr(method, "_answer", perfect)
        return method

    return make


def test_it_is_found_by_its_file() -> None:
    assert method_class("diffspect") is DiffSpect


@pytest.mark.parametrize("arguments", [{}, {"ct": False, "fold": 2}, {"learned_variance": True}])
def test_contract(arguments: dict[str, Any]) -> None:
    check_method(_shaken(**arguments).using(steps=3, samples=2), fewer(ball(), 0.1))


@pytest.mark.parametrize("predicts", ["noise", "image", "velocity"])
@pytest.mark.parametrize(
    "settings", [{"steps": 5}, {"noises": 2, "steps": 5}, {"prior": False, "noises": 1, "steps": 25}, {"steps": 1}]
)
def test_a_perfect_network_ends_in_the_image(predicts: Any, settings: dict[str, Any], knowing: Any) -> None:
    study, method = ball(), _method(predicts=predicts).using(**settings, **ALONE, fraction=1.0)
    truth, scan = study["ac"].data, Scan.of(study, method.feed, iterations=20, scatter=None, fraction=1.0)
    made = knowing(method, truth / scan.level)(study)["ac"].data
    assert _error(made, truth) < 2e-3


def test_the_first_loss_is_that_of_answering_nothing() -> None:
    for predicts in ("noise", "image", "velocity"):
        method = _method(predicts=predicts)
        batch = method.batches([ball()], seed=0).batch(64, stream(0, 0))
        ((player, loss),) = method.turns(batch, stream(3, 0))
        assert player == "net"
        power = float(batch["ac"].square().mean())
        assert float(loss.detach()) == pytest.approx(power if predicts == "image" else 1.0, rel=0.2)


def test_a_learned_variance_costs_more_and_trains_its_own_output() -> None:
    both, plain = _method(learned_variance=True), _method()
    batch = both.batches([ball()], seed=0).batch(8, stream(0, 0))
    ((_, loss),), ((_, less),) = both.turns(batch, stream(3, 0)), plain.turns(batch, stream(3, 0))
    assert float(loss.detach()) > float(less.detach())
    loss.backward()  # type: ignore[no-untyped-call]
    last = list(both.players["net"].parameters())[-1].grad
    assert last is not None
    assert last.shape == (2,)
    assert bool((last != 0).all())


def test_dropped_maps_are_zero_and_without_ct_there_are_none() -> None:
    """A network that saw nothing cannot depend on the map."""
    study = fewer(ball(), 0.2)
    batch = _method().batches([study], seed=0).batch(4, stream(0, 0))
    changed = {**batch, "mu": torch.rand(batch["mu"].shape)}
    for arguments, same in (({}, False), ({"mu_dropout": 1.0}, True), ({"ct": False}, True)):
        method = _shaken(**arguments)
        one, other = (float(next(method.turns(b, stream(0, 1)))[1].detach()) for b in (batch, changed))
        assert (one == other) is same


def test_the_loss_falls() -> None:
    method = _method(predicts="velocity", channels=(16, 24), fold=2)
    batches = method.batches([ball(number) for number in range(3)], seed=0)
    optimiser = torch.optim.Adam(method.players["net"].parameters(), lr=4e-3)
    losses = []
    for step in range(40):
        chance = stream(7, step)
        ((_, loss),) = method.turns(batches.batch(8, chance), chance)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-8:]) < 0.75 * sum(losses[:8])


@pytest.mark.parametrize(("fraction", "views", "share"), [(0.01, 3, 0.8), (0.05, 3, 0.8), (1.0, 1, 0.8)])
def test_a_prior_of_full_doses_improves_on_mlem(
    fraction: float, views: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is the best that 60 training patients can make: the mean of their slices given x_t."""
    method = _method(predicts="image")
    known = torch.stack([ball(number)["ac"].data for number in range(60)])
    levels = torch.tensor([method.feed.level(image) for image in known])
    known = 2 * known / levels[:, None, None, None] - 1

    def best(x_t: torch.Tensor, condition: Any, times: torch.Tensor) -> torch.Tensor:
        abar, mine = float(method.diffusion.abar[times[0]]), known[:, condition["number"]]
        apart = (x_t[None, :, 0] - abar**0.5 * mine).square().sum((2, 3))
        weights = (-apart / (2 * (1 - abar) + 0.02)).softmax(0)
        return (weights[:, :, None, None] * mine).sum(0)[:, None]

    study = fewer(ball(100), fraction)
    study = replace(study, projections={"raw": study.projections["raw"].views(range(views))})
    truth, mlem = study["ac"].data * fraction, Measured.of(study).image(20)
    made = method.using(steps=5, every=2, noises=2, fraction=fraction * views / 3)
    monkeypatch.setattr(made, "_answer", best)
    assert _error(made(study)["ac"].data, truth) < share * _error(mlem, truth)


@pytest.mark.parametrize("views", [3, 1])
def test_totals_are_those_of_the_data_at_every_fraction(views: int) -> None:
    method = _shaken()
    for fraction in (0.01, 0.2, 1.0):
        study = fewer(ball(), fraction)
        study = replace(study, projections={"raw": study.projections["raw"].views(range(views))})
        measured = Measured.of(study)
        for balance in (True, False):
            made = method.using(steps=2, balance=balance)(study)["ac"].data
            off = abs(float(measured.system(made).sum() / measured.counts.sum()) - 1)
            assert (off < 1e-3) is balance


def test_each_kind_of_consistency_pulls_its_own_way(knowing: Any) -> None:
    """The network is sure of an image that is wrong: flat in the body, but every other slice is brighter."""
    study = fewer(ball(), 0.2)
    method = _method(predicts="image")
    scan = Scan.of(study, method.feed, iterations=20, scatter=None, fraction=0.2)
    wrong = 0.4 * Measured.of(study).body * (1.0 + 0.5 * (torch.arange(8) % 2))[:, None, None]
    knowing(method, wrong)

    def made(**settings: Any) -> torch.Tensor:
        chosen = method.using(steps=5, fraction=0.2, **{**ALONE, "balance": False, **settings})
        return chosen(study)["ac"].data / scan.level

    alone = made()
    assert _error(alone, wrong) < 1e-5

    def likelihood(image: torch.Tensor) -> float:
        return float(log_likelihood(scan.measured.system, image * scan.level, scan.measured.counts))

    assert likelihood(made(em=True)) > likelihood(alone)
    z_variation = [float(total_variation(made(tv=tv), axis="z")) for tv in (True, False)]
    assert z_variation[0] < 0.98 * z_variation[1]


def test_guidance_pulls_to_the_noisy_image() -> None:
    study, method = fewer(ball(), 0.2), _shaken()
    given = Measured.of(study).image(20)
    errors = [
        _error(
            method.using(steps=5, **{**ALONE, "dps": dps}, lambdas=_dps(weight), normalised=norm)(study)["ac"].data,
            given,
        )
        for dps, weight, norm in ((False, 0.2, False), (True, 0.1, False), (True, 0.3, False), (True, 1.0, True))
    ]
    assert errors[2] < errors[1] < errors[0]
    assert errors[3] < errors[0]


def test_the_denoising_prior_starts_at_the_noisy_image() -> None:
    """A network that answers no noise at all leaves the walk where it began."""
    study, method = ball(), _method()
    scan = Scan.of(study, method.feed, iterations=20, scatter=None, fraction=1.0)
    near, far = (
        _error(
            method.using(steps=5, prior=prior, noises=1, fraction=1.0, **ALONE, lambdas=_dps(0.0, start))(study)[
                "ac"
            ].data,
            scan.start,
        )
        for prior, start in ((True, 0.005), (False, 0.005))
    )
    assert near < 0.2
    assert far > 1


def _dps(weight: float, start: float = 0.4) -> Lambdas:
    return Lambdas((0.1,), (weight,), (0.1,), (0.02,), (start,))


def test_the_noise_of_all_slices_is_one() -> None:
    method = _method()
    given = torch.zeros(8, 1, 16, 16)
    start = method._start(given, 400, stream(0, 0))
    assert bool((start == start[:1]).all())
    assert float(start.std()) == pytest.approx(float((1 - method.diffusion.abar[400]).sqrt()), rel=0.15)


def test_seeds_decide_where_there_is_noise_and_chunks_never_do() -> None:
    study, method = fewer(ball(), 0.2), _shaken()
    for noises, depends in ((0, False), (2, True)):
        one, other, pieces = (
            method.using(steps=3, noises=noises, seed=seed, chunk=chunk)(study)["ac"].data
            for seed, chunk in ((0, 10), (1, 10), (0, 3))
        )
        assert _error(pieces, one) < 1e-4
        assert (_error(other, one) > 1e-3) is depends


def test_no_noise_is_what_the_mean_of_ever_more_tends_to() -> None:
    study, method = fewer(ball(), 0.2), _shaken()
    without, few, many = (method.using(steps=2, noises=noises)(study)["ac"].data for noises in (0, 1, 64))
    assert _error(many, without) < 0.25 * _error(few, without)


def test_the_map_may_be_kept_from_the_network() -> None:
    study = fewer(ball(), 0.2)
    seen, blind = (_shaken().using(steps=2, sees_map=sees)(study)["ac"].data for sees in (True, False))
    assert _error(blind, seen) > 1e-3


def test_several_samples_give_a_spread() -> None:
    study, method = fewer(ball(), 0.2), _shaken()
    made, plain = (method.using(steps=2, samples=samples)(study) for samples in (3, 1))
    assert float(made["ac_sd"].data.max()) > 0
    assert float(plain["ac_sd"].data.max()) == 0
    assert torch.equal(made["ac"].data, plain["ac"].data)
    noisy = [method.using(steps=2, noises=1, seed=0, samples=samples)(study)["ac"].data for samples in (3, 1)]
    assert _error(noisy[0], noisy[1]) > 1e-3


@pytest.mark.parametrize("settings", [{}, {"samples": 3}, {"noises": 2}, {"noises": 2, "samples": 3}])
def test_it_tells_how_often_the_network_will_be_asked(settings: dict[str, Any]) -> None:
    method, asked = _shaken().using(steps=3, **settings), []
    method.players["net"].register_forward_hook(lambda *_: asked.append(1))
    method(fewer(ball(), 0.2))
    assert len(asked) == method.evaluations


def test_missing_views_may_have_strengths_of_their_own() -> None:
    row = {"fractions": [1.0], "dps": [0.0], "em": [1.0], "tv": [0.0], "start": [0.1]}
    method = _method(lambdas={**row, "views": {**row, "start": [0.5]}}).using(steps=2)
    study = ball()
    full_views = len(study.projections["raw"].counts)
    few = replace(study, projections={"raw": study.projections["raw"].views([0])})
    few = few.with_facts(dose={"fraction": 1.0, "full_views": full_views})
    starts = [
        method(one).history[-1].settings["lambdas"]["start"] for one in (study.with_facts(dose={"fraction": 1.0}), few)
    ]
    assert starts == [0.1, 0.5]


def test_refitted_lambdas_travel_with_the_weights(tmp_path: Path) -> None:
    columns = {"fractions": [0.1, 1.0], "dps": [0.1, 0.2], "em": [0.2, 0.1], "tv": [0.0, 0.0], "start": [0.5, 0.3]}
    _method(lambdas=columns).save(tmp_path / "w.safetensors")
    restored = DiffSpect.restored(tmp_path / "w.safetensors")
    assert restored.lambdas.at(1.0) == {"dps": 0.2, "em": 0.1, "tv": 0.0, "start": 0.3}
    made = restored.using(steps=2, fraction=0.1)(ball())
    assert made.history[-1].settings["lambdas"]["start"] == 0.5


@pytest.mark.parametrize(
    "arguments", [{"predicts": "score"}, {"mu_dropout": 1.5}, {"mu_dropout": 0.1, "ct": False}, {"diffusion_steps": 1}]
)
def test_arguments_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        _method(**arguments)


def test_more_steps_than_times_are_refused() -> None:
    with pytest.raises(BadArgument, match="sampling steps"):
        _method().using(steps=1001, fraction=1.0)(ball())


def test_shipped_weights_know_the_camera_and_their_strengths() -> None:
    path = shipped_weights("diffspect")
    method = DiffSpect.restored(path)
    assert path.stat().st_size <= 15e6
    assert method.usual()["views"] == 19
    few_counts, few_views = method.lambdas.at(0.2), method.lambdas.at(0.2, views=0.2)
    assert few_views["start"] > few_counts["start"]
