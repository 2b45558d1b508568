from pathlib import Path
from typing import Any

import pytest
import torch

from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.learn.loop import Budget, fit
from photopeak.methods.bbdm import BBDM, BBDMLatent
from photopeak.methods.vqgan import VQGAN
from photopeak.testing import check_method

FEED = {"size": 16, "depth": 10, "neighbours": 1, "voxel_mm": 9.6}
CODE: dict[str, Any] = {"channels": [8], "residual": 1, "codes": 32, "code_channels": 3}


def _batch(count: int = 8) -> dict[str, torch.Tensor]:
    """Smooth slices of which AC is a known function of NAC."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    nac = 2 * torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear") - 1
    return {"given": nac, "place": torch.rand(count, 4, generator=generator), "target": 0.5 * nac[:, 1:2] + 0.6}


def _train(method: Any, batch: dict[str, torch.Tensor], steps: int, rate: float = 3e-3) -> list[float]:
    player = method.players["net"]
    optimiser = torch.optim.Adam(player.parameters(), lr=rate)
    losses = []
    for step in range(steps):
        ((name, loss),) = method.turns(batch, stream(1, step))
        assert name == "net"
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@torch.no_grad()
def _error(method: Any, batch: dict[str, torch.Tensor]) -> float:
    condition = {name: value for name, value in batch.items() if name != "target"}
    return float((method.answer(condition, stream(0, 0)) - batch["target"][:, 0]).abs().mean())


@pytest.fixture
def bbdm() -> BBDM:
    torch.manual_seed(0)
    return BBDM(FEED, channels=(8, 16, 24), bridge_steps=20)


@pytest.fixture
def vqgan() -> VQGAN:
    torch.manual_seed(0)
    return VQGAN(FEED, code=CODE, critic_channels=8)


@pytest.fixture
def latent(vqgan: VQGAN) -> BBDMLatent:
    torch.manual_seed(1)
    batch = _batch()
    vqgan.code.start_at(torch.cat([batch["given"][:, 1:2], batch["target"]]), stream(0, 0))
    method = BBDMLatent(FEED, code=CODE, channels=(8, 24), bridge_steps=20)
    method.uses_code(vqgan)
    return method


def test_contract(bbdm: BBDM, patient: Study) -> None:
    check_method(bbdm.using(steps=2, samples=2), patient)


def test_contract_in_latents(latent: BBDMLatent, patient: Study) -> None:
    check_method(latent.using(steps=2), patient)


def test_the_papers_settings_are_the_defaults() -> None:
    method = BBDM(FEED, channels=(8, 24))
    assert (method.bridge.steps, method.bridge.variance, method.steps, method.using().steps) == (1000, 1.0, 200, 200)


def test_the_first_loss_is_that_of_the_objective(bbdm: BBDM) -> None:
    """A fresh network answers 0, so the loss is the mean of | m (y - x0) + sqrt(delta) eps |."""
    batch = _batch()
    ((_, loss),) = bbdm.turns(batch, stream(3, 0))
    generator = stream(3, 0)
    x0, y = batch["target"], batch["given"][:, 1:2]
    times = torch.randint(20, (8,), generator=generator)
    noise = torch.randn(x0.shape, generator=generator)
    m, sd = (v.float()[times].reshape(-1, 1, 1, 1) for v in (bbdm.bridge.m, bbdm.bridge.delta.sqrt()))
    assert float(loss.detach()) == pytest.approx(float((m * (y - x0) + sd * noise).abs().mean()), rel=1e-5)


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_a_perfect_network_ends_in_the_image(bbdm: BBDM, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = _batch()
    monkeypatch.setattr(BBDM, "_step", lambda self, x_t, seen, place, times: x_t - (0.5 * seen[:, 1:2] + 0.6))
    assert _error(bbdm.using(steps=steps), batch) < 1e-6


def test_it_learns_a_toy(bbdm: BBDM) -> None:
    batch = _batch()
    before = _error(bbdm.using(steps=5), batch)
    losses = _train(bbdm, batch, 60)
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert _error(bbdm.using(steps=5), batch) < 0.5 * before


def test_latents_learn_a_toy(latent: BBDMLatent) -> None:
    losses = _train(latent, _batch(), 60)
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_the_answer_does_not_depend_on_chunking(latent: BBDMLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = {name: value for name, value in _batch(15).items() if name != "target"}
    method = latent.using(steps=3)
    with torch.no_grad():
        whole = method.answer(batch, stream(0, 0))
        first = method.answer({name: value[:4] for name, value in batch.items()}, stream(0, 0))
    y = method.encoded(batch["given"][:, 1:2])
    assert whole.shape == (15, 16, 16)
    assert first.shape == (4, 16, 16)
    assert torch.allclose(y[:4], method.encoded(batch["given"][:4, 1:2]), atol=1e-5)


def test_same_seed_same_bits(bbdm: BBDM) -> None:
    _train(bbdm, _batch(), 2)
    batch = _batch(15)
    with torch.no_grad():
        one, same, other = (bbdm.using(steps=3).answer(batch, stream(0, n)) for n in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_code_stays_as_it_is_and_travels_in_the_weights(
    latent: BBDMLatent, vqgan: VQGAN, patient: Study, tmp_path: Path
) -> None:
    fit(latent, [patient], tmp_path, budget=Budget(max_steps=3, batch_size=4))
    kept = latent.players["code"].state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in vqgan.code.state_dict().items())
    restored = BBDMLatent.restored(tmp_path / "weights.safetensors")
    assert restored.weights_sha256() == latent.weights_sha256()
    one, other = (method.using(steps=2)(patient)["ac"].data for method in (latent, restored))
    assert torch.equal(one, other)


def test_latents_without_a_code(patient: Study) -> None:
    with pytest.raises(BadArgument, match="bbdm_latent without a code"):
        BBDMLatent(FEED, code=CODE, channels=(8, 24)).using(steps=1)(patient)


def test_a_code_of_other_arguments(vqgan: VQGAN) -> None:
    with pytest.raises(BadArgument, match="a vqgan with"):
        BBDMLatent(FEED, code={**CODE, "codes": 64}, channels=(8, 24)).uses_code(vqgan)


def test_weights_without_a_code_are_refused(bbdm: Any) -> None:
    with pytest.raises(BadArgument, match="a vqgan with"):
        BBDMLatent(FEED, code=CODE, channels=(8, 24)).uses_code(bbdm)


def test_slices_that_cannot_be_halved_so_often() -> None:
    with pytest.raises(BadArgument, match="divisible by 8"):
        BBDMLatent({**FEED, "size": 20}, code=CODE, channels=(8, 16, 24))


@pytest.mark.parametrize("steps", [0, 21])
def test_numbers_of_steps_that_cannot_be(bbdm: BBDM, steps: int) -> None:
    with pytest.raises(BadArgument, match="sampling steps"):
        bbdm.using(steps=steps)
