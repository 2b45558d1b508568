from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.learn.feed import SliceFeed
from photopeak.learn.learned import Batch
from photopeak.learn.pet_feed import PetFeed
from photopeak.methods.heart_slices import HeartSlices
from photopeak.methods.pet_slices import PetSlices
from photopeak.methods.slice_method import SliceMethod, as_recorded, in_chunks, middle, with_place


class Shown(SliceMethod):
    """Answers with the mean of what it is shown."""

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        return iter(())

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        return in_chunks(self.shown, condition).mean(1)


class ShownHeart(Shown, HeartSlices):
    name = "shown_heart"


class ShownPet(Shown, PetSlices):
    name = "shown_pet"


def test_a_domain_brings_its_feed_and_record() -> None:
    heart, pet = ShownHeart({"size": 24}), ShownPet({"neighbours": 2}, maps=["attenuation"])
    assert (type(heart.feed), type(pet.feed)) == (SliceFeed, PetFeed)
    assert heart.arguments["feed"]["size"] == 24
    assert pet.arguments["feed"]["voxel_mm"] == [5.0, 4.0, 4.0]
    assert PetFeed(**pet.arguments["feed"]) == pet.feed
    assert (heart.channels_shown, pet.channels_shown) == (5, 6)
    assert (heart.feed.places, pet.feed.places) == (4, 1)


def test_what_is_shown_is_the_slice_and_its_maps() -> None:
    pet = ShownPet(maps=["attenuation"])
    batch = {"given": torch.rand(2, 3, 8, 8), "attenuation": torch.rand(2, 1, 8, 8), "place": torch.zeros(2, 1)}
    assert torch.equal(pet.shown(batch), torch.cat([batch["given"], batch["attenuation"]], dim=1))
    heart = ShownHeart()
    assert torch.equal(heart.start(batch), batch["given"][:, 1:2])
    assert pet.start(batch).unique().tolist() == [-1.0]


def test_chunks_are_always_as_long() -> None:
    seen = []

    def network(part: Batch) -> Tensor:
        seen.append(len(part["b"]))
        return part["a"] + part["b"]

    batch = {"a": torch.arange(9.0), "b": torch.ones(9)}
    assert in_chunks(network, batch, items=4).tolist() == (torch.arange(9.0) + 1).tolist()
    assert seen == [4, 4, 4]


def test_the_middle_of_a_stack_and_the_place_of_a_slice() -> None:
    stack = torch.arange(5.0)[None, :, None, None].expand(2, 5, 3, 4)
    assert middle(stack).unique().tolist() == [2.0]
    known = with_place(stack, torch.tensor([[1.0, 7.0], [2.0, 8.0]]))
    assert known.shape == (2, 7, 3, 4)
    assert known[:, 5:, 2, 3].tolist() == [[1.0, 7.0], [2.0, 8.0]]


def test_records_have_lists() -> None:
    assert as_recorded({"a": (1, 2), "b": "x"}) == {"a": [1, 2], "b": "x"}
    assert as_recorded(None) == {}


def test_sizes_that_cannot_be_halved() -> None:
    pet = ShownPet({"multiple": 12})
    pet.require_multiple(4, "two levels", least=12)
    for divisor, least in ((8, 0), (4, 24)):
        with pytest.raises(BadArgument, match="divisible by"):
            pet.require_multiple(divisor, "levels", least=least)


def test_samples_that_cannot_be() -> None:
    assert ShownHeart().using(samples=3).settings()["samples"] == 3
    with pytest.raises(BadArgument, match="samples=0"):
        ShownPet().using(samples=0)
