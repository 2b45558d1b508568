from pathlib import Path
from typing import Any

import pytest
import torch

from photopeak.core import Study
from photopeak.core.errors import BadArgument, MissingPackage
from photopeak.core.random import stream
from photopeak.learn.loop import Budget, fit
from photopeak.methods.vqgan import VQGAN, Code, gradient_ratio, hinge
from photopeak.metrics import lpips
from photopeak.metrics.lpips import Lpips
from photopeak.testing import check_method

FEED = {"size": 16, "depth": 10, "neighbours": 1, "voxel_mm": 9.6}
CODE: dict[str, Any] = {"channels": [8], "residual": 1, "codes": 32, "code_channels": 3}


def _images(count: int = 16) -> torch.Tensor:
    coarse = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    return 2 * torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear") - 1


@pytest.fixture
def code() -> Code:
    torch.manual_seed(0)
    code = Code(**CODE)
    code.start_at(_images(), stream(0, 0))
    return code


@pytest.fixture
def vqgan() -> VQGAN:
    torch.manual_seed(0)
    return VQGAN(FEED, code=CODE, critic_channels=8)


def test_contract(vqgan: VQGAN, patient: Study) -> None:
    check_method(vqgan, patient)


def test_it_writes_no_correction(vqgan: VQGAN, patient: Study) -> None:
    """Far from the heart, where nothing is coded, what it writes is NAC as it was."""
    nac, coded = patient["nac"], vqgan(patient.only("nac"))
    assert set(coded.volumes) == {"nac", "nac_code"}
    torch.testing.assert_close(coded["nac_code"].data[0, 0], nac.data[0, 0])
    assert not torch.allclose(coded["nac_code"].data, nac.data, rtol=1e-3)


def test_training_gives_slices_back(vqgan: VQGAN, patient: Study, tmp_path: Path) -> None:
    batches = vqgan.batches([patient], seed=0)
    batch = batches.batch(16, stream(9, 9))

    @torch.no_grad()
    def error() -> float:
        return float((vqgan.code.image(vqgan.code.latent(batch["target"])) - batch["target"]).abs().mean())

    before = error()
    fit(vqgan, [patient], tmp_path, budget=Budget(max_steps=120, batch_size=8, warmup_steps=5, learning_rate=3e-3))
    assert error() < 0.5 * before
    restored = VQGAN.restored(tmp_path / "weights.safetensors")
    assert torch.equal(restored(patient)["nac_code"].data, vqgan(patient)["nac_code"].data)


def test_players_take_turns_on_both_kinds_of_slices(vqgan: VQGAN) -> None:
    images = _images(8)
    batch = {"given": images[:4].expand(-1, 3, -1, -1), "target": images[4:]}
    turns = []
    for player, loss in vqgan.turns(batch, stream(0, 0)):
        vqgan.players.zero_grad(set_to_none=True)
        loss.backward()
        turns.append(player)
        if player == "critic":
            assert all(p.grad is None for p in vqgan.code.parameters())
            assert any(bool(p.grad.any()) for p in vqgan.players["critic"].parameters() if p.grad is not None)
    assert turns == ["code", "critic"]


def test_codes_are_the_nearest(code: Code) -> None:
    latent = code.latent(_images())
    mean, sd = code._scale()
    flat = (latent * sd + mean).movedim(1, -1).reshape(-1, 3)
    nearest = torch.cdist(flat, code.book.embedding.weight).argmin(1)
    told = code.book.quantize(latent * sd + mean)[2].flatten()
    distance = torch.cdist(flat, code.book.embedding.weight)
    rows = torch.arange(len(flat))
    torch.testing.assert_close(distance[rows, told], distance[rows, nearest], atol=1e-4, rtol=0)


def test_latents_have_the_scale_of_the_codebook(code: Code) -> None:
    latent = code.latent(_images())
    assert latent.shape == (16, 3, 8, 8)
    assert float(latent.mean()) == pytest.approx(0, abs=0.3)
    assert float(latent.std()) == pytest.approx(1, abs=0.3)


def test_looking_does_not_change_the_code(code: Code) -> None:
    code.train()
    before = {name: value.clone() for name, value in code.state_dict().items()}
    code.image(code.latent(_images()))
    assert all(torch.equal(value, before[name]) for name, value in code.state_dict().items())
    code(_images())
    assert not torch.equal(code.book.embedding.weight, before["net.quantizer.quantizer.embedding.weight"])


def test_a_codebook_keeps_finite_codes_that_nobody_uses(code: Code) -> None:
    code.train()
    with torch.no_grad():
        for _ in range(150):
            code(_images(2))
    assert float(code.book.embedding.weight.abs().max()) < 10


def test_dead_codes_come_back_where_images_are(code: Code) -> None:
    book = code.book
    book.ema_cluster_size[:5] = 0.0
    with torch.no_grad():
        book.embedding.weight[:5] = 100.0
    kept = book.embedding.weight[5:].clone()
    code.revive(_images(), stream(0, 1))
    assert float(book.embedding.weight.abs().max()) < 10
    assert torch.equal(book.embedding.weight[5:], kept)
    assert float(book.ema_cluster_size.min()) > 0.5
    torch.testing.assert_close(book.ema_w[:5] / book.ema_cluster_size[:5, None], book.embedding.weight[:5])


def test_a_perfect_critic_has_no_loss_and_one_that_knows_nothing_has_1() -> None:
    one = torch.ones(4)
    assert float(hinge(2 * one, -one)) == 0
    assert float(hinge(0 * one, 0 * one)) == 1
    assert float(hinge(-one, one)) == 2


def test_the_critics_weight_is_the_ratio_of_gradients() -> None:
    layer = torch.ones(5, requires_grad=True)
    assert float(gradient_ratio((6 * layer).sum(), (2 * layer).sum(), layer)) == pytest.approx(3, rel=1e-3)
    assert float(gradient_ratio((6 * layer).sum(), (0 * layer).sum(), layer)) == 1e4


def test_slices_that_cannot_be_halved() -> None:
    with pytest.raises(BadArgument, match="divisible by 8"):
        VQGAN({**FEED, "size": 20}, code={**CODE, "channels": [8, 8, 8]})


def _first_loss(perceptual: float) -> torch.Tensor:
    torch.manual_seed(0)
    vqgan = VQGAN(FEED, code=CODE, critic_channels=8, critic_weight=0.0, perceptual=perceptual)
    vqgan.players.eval()
    batch = {"given": _images(4).expand(-1, 3, -1, -1), "target": 3 * _images(4)}
    player, loss = next(vqgan.turns(batch, stream(0, 0)))
    assert player == "code"
    return loss


def test_the_perceptual_loss_is_added_by_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def distances(made: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        seen.append(torch.stack([made, images]))
        return (made - images).square().mean(dim=(1, 2, 3))

    monkeypatch.setattr(Lpips, "named", lambda name: distances)
    without, with_it = _first_loss(0.0), _first_loss(0.5)
    (images,) = seen
    assert float(images.detach().abs().max()) == 1
    added = 0.5 * float((images[0] - images[1]).detach().square().mean())
    assert float((with_it - without).detach()) == pytest.approx(added, rel=1e-4)


def test_a_perceptual_loss_that_is_not_installed_stops_training_alone(
    vqgan: VQGAN, patient: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lpips, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="--no-deps"):
        _first_loss(1.0)
    asked = VQGAN(FEED, code=CODE, critic_channels=8, perceptual=1.0)
    asked.save(tmp_path / "vqgan.safetensors")
    assert "nac_code" in VQGAN.restored(tmp_path / "vqgan.safetensors")(patient).volumes
    with pytest.raises(BadArgument, match="perceptual"):
        VQGAN(FEED, code=CODE, perceptual=-1.0)
