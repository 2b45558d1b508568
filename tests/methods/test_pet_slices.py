from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photopeak.core import HU, SUV, Grid, Step, Study, Volume
from photopeak.core.errors import BadArgument, BadCheckpoint, BadValues, MissingInput, WrongQuantity
from photopeak.core.random import stream
from photopeak.methods import method_class
from photopeak.methods.attention import Attention
from photopeak.methods.pet_slices import DOUBLE_WATER_PER_CM, PetBatches, PetSlices
from photopeak.methods.unet import UNetPet
from photopeak.testing import check_method

FEED = {"voxel_mm": [10.0, 8.0, 8.0], "multiple": 16}
CODE = {"channels": [8, 16], "residual": 1, "codes": 32}
UNET = {"channels": [8, 16, 24]}
TINY: dict[str, dict[str, Any]] = {
    "unet_pet": {**UNET, "fold": 2, "focused": True},
    "pix2pix_pet": {"width": 8, "depth": 3, "critic_width": 4, "critic_layers": 1},
    "medgan_pet": {"blocks": 2, "channels": [8, 16], "critic_channels": 8, "generator_turns": 2},
    "palette_pet": {**UNET, "predicts": "image"},
    "vqgan_pet": {"code": CODE, "critic_channels": 8},
    "bbdm_pet": {"code": CODE, "channels": [16, 24], "bridge_steps": 50},
    "cpdm_pet": {"code": CODE, "channels": [16, 24], "bridge_steps": 50},
}
SEGMENTER = {"feed": FEED, "channels": [8, 16, 24]}
_STEP = Step(("changed",), "test")


def body(name: str = "body", shape: tuple[int, int, int] = (6, 20, 24), **facts: Any) -> Study:
    """Water with a lung and a hot ball; mixed shapes by argument."""
    grid = Grid.regular(shape, (10.0, 8.0, 8.0), centre_mm=(2.0, 5.0, 90.0))
    z, y, x = np.moveaxis(grid.points() - grid.centre_mm, -1, 0)[[2, 1, 0]]
    inside, lung = np.hypot(x / 85, y / 70) < 1, np.hypot(x + 35, y) < 22
    hot = (x - 40) ** 2 + y**2 + z**2 < 20**2
    ct = np.where(inside, np.where(lung, -750.0, 40.0), -1000.0)
    pet = np.where(inside, np.where(lung, 0.4, 1.0), 0.0) + 5.0 * hot
    volumes = {"ct": Volume.from_numpy(ct, grid, HU), "pet": Volume.from_numpy(pet, grid, SUV)}
    return Study(name, volumes, facts={"kvp": 120.0, **facts})


def made(name: str, **more: Any) -> Any:
    torch.manual_seed(0)
    method: Any = method_class(name)(**{"feed": FEED, **TINY[name], **more})
    if "attention" in method.maps:
        method.sees_with(Attention(**method.arguments["attention"]))
    if name in ("bbdm_pet", "cpdm_pet"):
        method.uses_code(made("vqgan_pet", feed=method.arguments["feed"]))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in method.players.parameters():
            weight += 0.03 * torch.randn(weight.shape, generator=generator)
    return method


def trained(method: Any, batches: PetBatches, steps: int) -> tuple[float, float]:
    """The last player's mean loss in the first and in the last fifth of so many steps."""
    method.solve(batches)
    optimisers = {
        name: torch.optim.Adam([p for p in player.parameters() if p.requires_grad], lr=2e-3)
        for name, player in method.players.items()
        if any(p.requires_grad for p in player.parameters())
    }
    losses = []
    for step in range(steps):
        for player, loss in method.turns(batches.batch(3, stream(0, step)), stream(1, step)):
            optimisers[player].zero_grad()
            loss.backward()
            optimisers[player].step()
            if player in ("net", "generator", "code"):
                last = float(loss.detach())
        losses.append(last)
    fifth = max(1, steps // 5)
    return float(np.mean(losses[:fifth])), float(np.mean(losses[-fifth:]))


@pytest.mark.parametrize("name", TINY)
def test_contract(name: str) -> None:
    method = made(name)
    check_method(method.using(steps=2) if hasattr(method, "steps") else method, body())


@pytest.mark.parametrize("name", TINY)
def test_training_lowers_the_loss_and_weights_come_back(name: str, tmp_path: Path) -> None:
    method = made(name)
    batches = method.batches([body(), body("wide", (5, 30, 36))], seed=0)
    first, last = trained(method, batches, 15)
    assert last < 0.9 * first
    method.save(tmp_path / "w.safetensors")
    again = type(method).restored(tmp_path / "w.safetensors")
    assert again.arguments == method.arguments
    settings = {"steps": 1} if hasattr(method, "steps") else {}
    one, same = (m.using(**settings)(body())[method.writes[0]].data for m in (method, again))
    assert torch.equal(one, same)


@pytest.mark.parametrize("name", sorted(set(TINY) - {"vqgan_pet", "bbdm_pet", "cpdm_pet"}))
def test_both_maps_are_seen(name: str) -> None:
    method = made(name, maps=["attenuation", "attention"], attention=SEGMENTER)
    assert method.maps == ("attention", "attenuation")
    ready = method.using(steps=2) if hasattr(method, "steps") else method
    answers = [ready(study)["pet"].data for study in (body(), body(kvp=80.0))]
    assert not torch.equal(*answers)
    trained(method, method.batches([body()], seed=0), 1)


def test_batches_of_mixed_sizes_are_filled_up_with_air() -> None:
    method = made("unet_pet", maps=["attenuation"])
    batch = PetBatches(method, [body(), body("wide", (5, 30, 36))]).batch(12, stream(0, 0))
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "given": (12, 3, 32, 48),
        "attenuation": (12, 1, 32, 48),
        "place": (12, 1),
        "target": (12, 1, 32, 48),
        "near": (12, 1, 32, 48),
    }
    for name in ("given", "attenuation", "target"):
        assert float(batch[name][..., 36:].max()) == -1.0
        assert float(batch[name].max()) > -0.2
    assert float(batch["place"].min()) == -1.0


def test_water_is_the_middle_of_the_attenuation_map_whatever_the_voltage_and_bone_is_not() -> None:
    method = made("unet_pet", maps=["attenuation"])
    study = body()
    bone = study.add({"ct": study["ct"].with_data(study["ct"].data.where(study["ct"].data != 40, 800.0))}, _STEP)
    at = {
        kvp: {n: method.volumes(s.with_facts(kvp=kvp))["attenuation"] for n, s in (("water", study), ("bone", bone))}
        for kvp in (80.0, 140.0)
    }
    middle = (3, 10, 14)
    assert float(at[80.0]["water"][middle]) == pytest.approx(float(at[140.0]["water"][middle]), abs=0.02)
    assert float(at[80.0]["water"][middle]) == pytest.approx(0.0, abs=0.03)
    expected = 2 * (0.093 + 800 * 5.59e-5) / DOUBLE_WATER_PER_CM - 1
    assert float(at[140.0]["bone"][middle]) == pytest.approx(expected, abs=1e-3)
    assert float(at[80.0]["bone"][middle]) < expected - 0.1


def test_a_finer_ct_gets_its_answer_on_its_own_grid() -> None:
    method, study = made("unet_pet"), body()
    fine = Grid.regular((13, 37, 41), (4.3, 3.1, 3.1), centre_mm=tuple(study["ct"].grid.centre_mm))
    answer = method(Study("fine", {"ct": study["ct"].on(fine, outside=-1000.0)}))
    assert answer["pet"].grid.same_as(fine)
    assert answer["pet"].quantity == SUV
    assert float(answer["pet"].data.min()) >= 0


@pytest.mark.parametrize("name", ["unet_pet", "palette_pet"])
def test_air_far_from_the_body_changes_nothing_and_where_a_network_meets_its_frame_is_no_uptake(name: str) -> None:
    method: Any = made(name, maps=["attention"], attention=SEGMENTER)
    ready = method.using(steps=2) if name == "palette_pet" else method
    grid, bare = body()["ct"].grid, body()
    wide = torch.nn.functional.pad(bare["ct"].data, (40, 12, 20, 30), value=-1000.0)
    centre = grid.centre_mm + np.array([(12 - 40) / 2 * 8, (30 - 20) / 2 * 8, 0])
    around = Grid.regular(tuple(wide.shape), (10.0, 8.0, 8.0), centre_mm=tuple(centre))
    narrow = torch.nn.functional.pad(bare["ct"].data, (8, 8, 8, 8), value=-1000.0)
    close = Grid.regular(tuple(narrow.shape), (10.0, 8.0, 8.0), centre_mm=tuple(grid.centre_mm))
    far, near = (
        ready(Study("x", {"ct": Volume(ct, on, HU)}, facts={"kvp": 120.0}))["pet"].data
        for ct, on in ((wide, around), (narrow, close))
    )
    assert torch.equal(far[:, 12:48, 32:72], near)
    assert float(near.max()) > 0
    outside = far.clone()
    outside[:, 16:44, 36:68] = 0
    assert float(outside.max()) == 0


def test_samples_differ_by_seed_and_agree_without_chance() -> None:
    chance, steady = made("palette_pet").using(steps=2, samples=2), made("unet_pet").using(samples=2)
    study = body()
    assert float(chance(study)["pet_sd"].data.max()) > 0
    assert float(steady(study)["pet_sd"].data.max()) == 0
    again, other = (made("palette_pet").using(steps=2, samples=2, seed=seed)(study)["pet"].data for seed in (0, 1))
    assert torch.equal(chance(study)["pet"].data, again)
    assert not torch.equal(again, other)


def test_total_variation_brings_slices_together() -> None:
    method, study = made("palette_pet"), body()
    rough, smooth = (method.using(steps=2, tv=tv)(study)["pet"].data for tv in (0.0, 2.0))
    assert float(smooth.diff(dim=0).abs().mean()) < 0.5 * float(rough.diff(dim=0).abs().mean())
    assert float(smooth.mean()) == pytest.approx(float(rough.mean()), rel=1e-3)
    assert method.using(steps=2, tv=2.0).settings()["tv"] == 2.0
    for kind in ("palette_pet", "unet_pet"):
        with pytest.raises(BadArgument, match="tv=-1"):
            made(kind).using(tv=-1.0)


def test_cuts_are_kept_and_noticed_when_they_would_be_others(tmp_path: Path) -> None:
    method = made("unet_pet", maps=["attenuation"])
    first = PetBatches(method, [body()], keep=tmp_path).batch(3, stream(0, 0))
    assert len(list(tmp_path.iterdir())) == 1
    again = PetBatches(method, [body()], keep=tmp_path).batch(3, stream(0, 0))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert len(list(tmp_path.iterdir())) == 1
    PetBatches(method, [body(kvp=80.0)], keep=tmp_path)
    PetBatches(made("unet_pet"), [body()], keep=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_segmenter_travels_with_the_weights_and_stays_as_it_is(tmp_path: Path) -> None:
    method = made("unet_pet", maps=["attention"], attention=SEGMENTER)
    before = {name: value.clone() for name, value in method.players["map"].state_dict().items()}
    trained(method, method.batches([body()], seed=0), 2)
    assert all(torch.equal(value, before[name]) for name, value in method.players["map"].state_dict().items())
    method.save(tmp_path / "w.safetensors")
    again = UNetPet.restored(tmp_path / "w.safetensors")
    assert torch.equal(again(body())["pet"].data, method(body())["pet"].data)


def test_a_segmenter_that_is_missing_or_another() -> None:
    method = UNetPet(FEED, **UNET, maps=["attention"], attention=SEGMENTER)
    for use in (lambda: method(body()), lambda: method.batches([body()], seed=0)):
        with pytest.raises(BadArgument, match="without a segmenter"):
            use()
    with pytest.raises(BadArgument, match="equal arguments"):
        method.sees_with(Attention(**{**SEGMENTER, "channels": [8, 16, 48]}))
    with pytest.raises(BadArgument, match="attention among the maps"):
        UNetPet(FEED, **UNET).sees_with(Attention(**SEGMENTER))


def test_bad_input() -> None:
    method, study = made("unet_pet", maps=["attenuation"]), body()
    ct = study["ct"]
    with pytest.raises(MissingInput, match="kvp"):
        method(Study("x", {"ct": ct}))
    with pytest.raises(MissingInput, match="kvp"):
        method.batches([Study("x", study.volumes)], seed=0)
    with pytest.raises(BadArgument, match="kvp=60"):
        method(body(kvp=60.0))
    with pytest.raises(MissingInput, match="ct"):
        method(study.only("pet"))
    with pytest.raises(WrongQuantity, match="ct"):
        method(Study("x", {"ct": ct.with_data(ct.data, SUV)}, facts=study.facts))
    with pytest.raises(BadValues, match="MR"):
        method(Study("x", {"ct": ct.with_data(ct.data.clamp(min=0))}, facts=study.facts))
    with pytest.raises(WrongQuantity, match="pet"):
        method.batches([study.add({"pet": ct}, _STEP)], seed=0)


@pytest.mark.parametrize(
    "given", [{"maps": ["ct"]}, {"maps": "attention"}, {"attention": SEGMENTER}, {"feed": {**FEED, "multiple": 6}}]
)
def test_what_cannot_be_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        UNetPet(**{"feed": FEED, **UNET, **given})


def test_weights_of_another_method_are_refused(tmp_path: Path) -> None:
    made("pix2pix_pet").save(tmp_path / "w.safetensors")
    with pytest.raises(BadCheckpoint, match="pix2pix_pet"):
        UNetPet.restored(tmp_path / "w.safetensors")


def test_all_are_pet_slices() -> None:
    for name in TINY:
        kind: Any = method_class(name)
        assert issubclass(kind, PetSlices)
        assert (kind.name, kind.reads) == (name, ("ct",))
