from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from photopeak.learn.kept import fingerprint, kept_examples


class _Knife:
    def __init__(self) -> None:
        self.cuts = 0

    def __call__(self) -> Iterator[Mapping[str, Tensor]]:
        self.cuts += 1
        generator = torch.Generator().manual_seed(3)
        for _ in range(4):
            yield {"nac": torch.rand(3, 2, generator=generator), "ac": torch.rand(3, 2, generator=generator)}


def test_the_second_training_reads_what_the_first_has_cut(tmp_path: Path) -> None:
    knife = _Knife()
    first = kept_examples(tmp_path, {"seed": 1}, knife, count=4)
    second = kept_examples(tmp_path, {"seed": 1}, knife, count=4)
    assert knife.cuts == 1
    for one, other, cut in zip(first, second, _Knife()(), strict=True):
        assert all(torch.equal(one[name], cut[name]) and torch.equal(other[name], cut[name]) for name in cut)


def test_another_identity_is_cut_anew(tmp_path: Path) -> None:
    knife = _Knife()
    kept_examples(tmp_path, {"seed": 1}, knife, count=4)
    kept_examples(tmp_path, {"seed": 2}, knife, count=4)
    assert knife.cuts == 2


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    assert len(kept_examples(None, {"seed": 1}, _Knife(), count=4)) == 4
    assert not list(tmp_path.iterdir())


def test_what_was_cut_half_is_cut_again(tmp_path: Path) -> None:
    def broken() -> Iterator[Mapping[str, Tensor]]:
        yield {"nac": torch.zeros(2)}
        raise RuntimeError("the knife broke")

    with pytest.raises(RuntimeError):
        kept_examples(tmp_path, {"seed": 1}, broken, count=4)
    knife = _Knife()
    kept_examples(tmp_path, {"seed": 1}, knife, count=4)
    assert knife.cuts == 1


def test_a_change_of_an_example_does_not_reach_the_disk(tmp_path: Path) -> None:
    kept_examples(tmp_path, {"seed": 1}, _Knife(), count=4)[0]["nac"].zero_()
    assert float(kept_examples(tmp_path, {"seed": 1}, _Knife(), count=4)[0]["nac"].sum()) > 0


def test_the_fingerprint_tells_images_apart() -> None:
    image = torch.zeros(15, 15, 15)
    other = image.clone()
    other[7, 14, 0] = 1
    assert fingerprint([image]) == fingerprint([image.clone()])
    assert fingerprint([image]) != fingerprint([other])


def test_a_wrong_count_is_noticed_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        kept_examples(tmp_path, {"seed": 1}, _Knife(), count=5)
    assert not list(tmp_path.iterdir())
