from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from photopeak.core import HU, SUV, Grid, Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.methods import method_class
from photopeak.methods.ldm import LDM
from photopeak.methods.vqgan import VQGANPet
from photopeak.testing import check_method

FEED = {"voxel_mm": [5.0, 4.0, 4.0], "neighbours": 1, "multiple": 8}
CODE: dict[str, Any] = {"channels": [8], "residual": 1, "codes": 32, "code_channels": 3}


def _body(shape: tuple[int, int, int] = (3, 14, 15)) -> Study:
    grid = Grid.regular(shape, (5.0, 4.0, 4.0))
    coarse = torch.rand(1, 1, 2, 4, 4, generator=stream(7, 0))
    tissue = torch.nn.functional.interpolate(coarse, shape, mode="trilinear")[0, 0]
    volumes = {"ct": Volume(1500 * tissue - 1000, grid, HU), "pet": Volume(4 * tissue, grid, SUV)}
    return Study("body", volumes).with_facts(kvp=100.0)


def _batch(count: int = 8) -> dict[str, Tensor]:
    """Smooth slices of which PET is a known function of CT."""
    coarse = torch.rand(count, 3, 4, 4, generator=stream(5, 0))
    given = 2 * torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear") - 1
    return {"given": given, "place": torch.zeros(count, 1), "target": 0.5 * given[:, 1:2] - 0.3}


@pytest.fixture
def vqgan() -> VQGANPet:
    torch.manual_seed(0)
    vqgan = VQGANPet(FEED, code=CODE, critic_channels=8)
    vqgan.code.start_at(torch.cat([_batch()["given"][:, 1:2], _batch()["target"]]), stream(0, 0))
    return vqgan


def _ldm(vqgan: VQGANPet, **arguments: Any) -> LDM:
    torch.manual_seed(1)
    method = LDM(FEED, code=CODE, **{"channels": (8, 24), "diffusion_steps": 50, **arguments})
    method.uses_code(vqgan)
    return method


def test_contract(vqgan: VQGANPet) -> None:
    check_method(_ldm(vqgan).using(steps=2, samples=2), _body())


def test_the_attenuation_map_is_seen(vqgan: VQGANPet) -> None:
    method = _ldm(vqgan, maps=["attenuation"], predicts="image")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in method.players["net"].parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
        batch = _batch()
        air, bone = (
            method.using(steps=1).answer({**batch, "attenuation": shade * torch.ones(8, 1, 16, 16)}, stream(0, 0))
            for shade in (-1.0, 0.6)
        )
    assert not torch.equal(air, bone)
    assert method.seen({**batch, "attenuation": torch.ones(8, 1, 16, 16)}).shape == (8, 3 * 3 + 1, 8, 8)


def test_training_tells_pet_from_ct(vqgan: VQGANPet) -> None:
    method, batch = _ldm(vqgan, predicts="image"), _batch()
    z0 = method.encoded(batch["target"])
    optimiser = torch.optim.Adam(method.players["net"].parameters(), lr=5e-3)
    losses = []
    for step in range(60):
        ((player, loss),) = method.turns(batch, stream(1, step))
        assert player == "net"
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(float(z0.square().mean()), rel=0.01)
    assert sum(losses[-5:]) / 5 < 0.35 * losses[0]
    assert all(p.grad is None for p in method.players["code"].parameters())
    with torch.no_grad():
        answer = method.using(steps=3).answer(batch, stream(0, 0))
        shown = method.decoded(z0)[:, 0]
        other = shown.roll(1, 0)
    assert float((answer - shown).abs().mean()) < 0.6 * float((other - shown).abs().mean())


def test_a_new_network_has_the_loss_of_the_noise(vqgan: VQGANPet) -> None:
    ((_, loss),) = _ldm(vqgan).turns(_batch(32), stream(1, 0))
    assert float(loss.detach()) == pytest.approx(1, abs=0.1)


def test_samples_start_from_their_own_noise(vqgan: VQGANPet) -> None:
    assert bool(_ldm(vqgan).using(steps=2, samples=2)(_body())["pet_sd"].data.any())


def test_a_weights_file_gives_it_back_with_its_code(vqgan: VQGANPet, tmp_path: Path) -> None:
    method, kind = _ldm(vqgan, maps=["attenuation"]), method_class("ldm")
    assert kind is LDM
    method.save(tmp_path / "weights.safetensors")
    restored = LDM.restored(tmp_path / "weights.safetensors")
    assert restored.arguments == method.arguments
    assert torch.equal(restored.using(steps=2)(_body())["pet"].data, method.using(steps=2)(_body())["pet"].data)


def test_without_a_code_there_is_nothing_to_diffuse() -> None:
    with pytest.raises(BadArgument, match="ldm without a code"):
        LDM(FEED, code=CODE, channels=(8, 24)).using(steps=1)(_body())


def test_arguments_that_cannot_be(vqgan: VQGANPet) -> None:
    with pytest.raises(BadArgument, match="predicts='velocity'"):
        _ldm(vqgan, predicts="velocity")
    with pytest.raises(BadArgument, match="51 sampling steps"):
        _ldm(vqgan).using(steps=51)
