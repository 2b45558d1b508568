from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photopeak.core import FACTOR, HU, SUV, Grid, Study, Volume
from photopeak.core.errors import BadArgument, WrongQuantity
from photopeak.core.random import stream
from photopeak.learn.loop import Budget, fit
from photopeak.methods import method_class
from photopeak.methods.attention import Attention, dice_loss
from photopeak.testing import check_method

FEED = {"voxel_mm": [5.0, 4.0, 4.0], "neighbours": 1, "multiple": 8}


def _body(number: int = 0, shape: tuple[int, int, int] = (6, 14, 18), hot_suv: float = 6.0) -> Study:
    """Soft tissue in air with a dense ball, which takes up much; FDG elsewhere is 1."""
    grid = Grid.regular(shape, (5.0, 4.0, 4.0))
    points = grid.points()
    inside = np.hypot(points[..., 0], points[..., 1]) < 26
    hot = np.linalg.norm(points - np.random.default_rng(number).uniform(-10, 10, 3), axis=-1) < 14
    hu = np.where(inside, 40.0, -1000.0) + 260.0 * hot
    suv = np.where(hot, hot_suv, 1.0 * inside)
    volumes = {"ct": Volume.from_numpy(hu, grid, HU), "pet": Volume.from_numpy(suv, grid, SUV)}
    return Study(f"body_{number}", volumes).with_facts(kvp=120.0)


def _segmenter(**arguments: Any) -> Attention:
    torch.manual_seed(0)
    return Attention(FEED, channels=(8, 24), fold=2, **arguments)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Attention, Path]:
    """A segmenter of dense balls, and its weights file."""
    folder = tmp_path_factory.mktemp("attention")
    budget = Budget(max_steps=100, batch_size=6, warmup_steps=5, learning_rate=8e-3, average=0.9)
    method = fit(_segmenter(), [_body(n) for n in range(10)], folder, budget=budget)
    assert isinstance(method, Attention)
    return method, folder / "weights.safetensors"


def test_it_finds_what_takes_up_much_in_a_new_body(trained: tuple[Attention, Path]) -> None:
    study = _body(11)
    attention = trained[0](study)["attention"]
    assert attention.quantity == FACTOR
    assert attention.grid is study["ct"].grid
    found, wanted = attention.data > 0.5, study["pet"].data > 2.5
    assert float((found & wanted).sum()) / float((found | wanted).sum()) > 0.7
    assert 0 <= float(attention.data.min()) <= float(attention.data.max()) <= 1


def test_contract(trained: tuple[Attention, Path]) -> None:
    check_method(trained[0], _body(3, (5, 15, 17)))


def test_a_weights_file_gives_it_back(trained: tuple[Attention, Path]) -> None:
    kind: Any = method_class("attention")
    restored = kind.restored(trained[1])
    assert torch.equal(restored(_body(5))["attention"].data, trained[0](_body(5))["attention"].data)
    assert restored.arguments == trained[0].arguments


def test_other_grids_get_their_own_map(trained: tuple[Attention, Path]) -> None:
    coarse = _body(11)
    grid = Grid.regular((12, 28, 36), (2.5, 2.0, 2.0), centre_mm=coarse["ct"].grid.centre_mm)
    fine = replace(coarse, volumes={"ct": Volume(coarse["ct"].on(grid, outside=-1000.0).data, grid, HU)})
    attention = trained[0](fine)["attention"]
    assert attention.grid is fine["ct"].grid
    assert float((attention.data > 0.5).sum()) == pytest.approx(8 * float((coarse["pet"].data > 2.5).sum()), rel=0.5)


def test_the_mask_is_what_exceeds_the_threshold() -> None:
    feed = _segmenter().feed
    suv = torch.tensor([0.0, 2.0, 2.6, 30.0]).reshape(1, 1, 1, 4)
    assert _segmenter().mask(feed.suv_to_network(suv)).flatten().tolist() == [0, 0, 1, 1]
    assert _segmenter(threshold_suv=1.5).mask(feed.suv_to_network(suv)).flatten().tolist() == [0, 1, 1, 1]


def test_the_published_mask_is_of_each_slices_own_maximum() -> None:
    suv = torch.tensor([[0.1, 0.2, 0.5], [4.0, 1.0, 10.0], [0.0, 0.0, 0.0]])[:, None, None]
    method = _segmenter(compat="cpdm")
    mask = method.mask(method.feed.suv_to_network(suv)).reshape(3, 3).tolist()
    assert mask == [[0, 1, 1], [1, 0, 1], [0, 0, 0]]


def test_the_published_answer_is_cut_to_0_and_1(trained: tuple[Attention, Path]) -> None:
    published = _segmenter(compat="cpdm")
    published.use_weights(trained[0].players.state_dict())
    cut, soft = (method(_body(11))["attention"].data for method in (published, trained[0]))
    assert set(cut.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(cut, (soft >= 0.5).float())


def test_dice() -> None:
    mask = torch.tensor([1.0, 1.0, 0.0, 0.0]).repeat(1, 1, 100, 1)
    assert float(dice_loss(mask, mask)) == 0
    assert float(dice_loss(1 - mask, mask)) == pytest.approx(1, abs=0.01)
    assert float(dice_loss(0 * mask + 0.5, mask)) == pytest.approx(0.5, abs=0.01)
    assert float(dice_loss(0 * mask, 0 * mask)) == 0


def test_total_variation_joins_slices(trained: tuple[Attention, Path]) -> None:
    plain, smooth = (trained[0].using(tv=tv)(_body(11))["attention"].data for tv in (0.0, 0.3))
    assert float(smooth.diff(dim=0).abs().sum()) < 0.8 * float(plain.diff(dim=0).abs().sum())


def test_a_loss_of_a_random_batch_has_a_gradient() -> None:
    method = _segmenter()
    ((player, loss),) = method.turns(method.batches([_body()], seed=0).batch(4, stream(0, 0)), stream(0, 1))
    loss.backward()
    assert player == "net"
    assert 0 < float(loss.detach()) < 1
    assert any(bool(p.grad.any()) for p in method.players.parameters() if p.grad is not None)


@pytest.mark.parametrize("arguments", [{"threshold_suv": 0.0}, {"threshold_suv": 25.0}, {"compat": "gold"}])
def test_thresholds_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match="threshold_suv"):
        _segmenter(**arguments)


def test_an_suv_threshold_needs_suv() -> None:
    with pytest.raises(BadArgument, match="over their own maximum"):
        Attention({**FEED, "per_slice": True}, channels=(8, 24))
    Attention({**FEED, "per_slice": True}, channels=(8, 24), compat="cpdm")


def test_slices_that_the_levels_do_not_divide() -> None:
    with pytest.raises(BadArgument, match="levels of the U-Net"):
        Attention({**FEED, "multiple": 2}, channels=(8, 24), fold=2)


def test_only_ct_is_segmented() -> None:
    study = _body()
    with pytest.raises(WrongQuantity, match="ct"):
        _segmenter()(replace(study, volumes={"ct": study["pet"]}))
