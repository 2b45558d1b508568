from typing import Any

import pytest
import torch

from photopeak.core import FACTOR, Grid, Study, Volume
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.evaluate.benchmark import read_plan
from photopeak.evaluate.ct2pet import MEASURED, Ct2PetPlan, dice, pictured

ENTRIES = [
    {"label": "map", "method": "attention", "answers": False},
    {"label": "a", "method": "cpdm_pet", "map": "map", "tables": ["cpdm 4"]},
    {"label": "b", "method": "bbdm_pet", "tables": ["cpdm 4"]},
]


def plan(**more: Any) -> Ct2PetPlan:
    found = read_plan({"reference": "a", "entry": ENTRIES, **more}, Ct2PetPlan)
    assert isinstance(found, Ct2PetPlan)
    return found


def test_the_scanners_image_comes_first_but_not_against_itself() -> None:
    names = [run.name for run in plan().runs()]
    assert names == [MEASURED, "map", "a", "b"]
    assert [run.name for run in plan(truths=["pet"]).runs()] == ["map", "a", "b"]


def test_a_hospitals_cohort_has_no_image_without_noise() -> None:
    made = plan(volumes={"pet": "pet_clean"})
    assert made.on({"simulated": True}) is made
    real = made.on({"imported": True, "format": "nifti"})
    assert (real.truths, real.volumes) == (("pet",), {})
    assert made.truths == ("pet_clean", "pet")


def test_a_hospital_may_train_for_less_and_leave_entries_out() -> None:
    there = {"truths": ["pet"], "volumes": {}, "budget": {"max_seconds": 2}, "without": ["b"]}
    made = plan(imported=there, budget={"max_seconds": 9, "batch_size": 4}, quick={"budget": {"max_seconds": 1}})
    real = made.on({"imported": True})
    assert real.budget == {"max_seconds": 2, "batch_size": 4}
    assert [entry.label for entry in real.entries if entry.answers] == ["a"]
    assert made.quickly().on({"imported": True}).budget["max_seconds"] == 1


def test_features_follow_the_entries_that_stay() -> None:
    made = plan(features=["a", "b"], quick={"lpips": "alexnet", "budget": {"max_steps": 1}})
    assert made.only(["a"]).features == ("a",)
    quick = made.quickly()
    assert (quick.features, quick.lpips, quick.budget["max_steps"]) == (("a", "b"), "alexnet", 1)


def test_what_answers_in_suv_ships_but_not_after_seconds_of_training() -> None:
    made = plan(entry=[ENTRIES[0], ENTRIES[1] | {"ships": True}, ENTRIES[2]], quick={"budget": {"max_steps": 1}})
    assert [entry.ships for entry in made.entries] == [False, True, False]
    assert not any(entry.ships for entry in made.quickly().entries)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"features": ["c"]}, "features of 'c'"),
        ({"features": ["map"]}, "features of 'map'"),
        ({"lpips": "resnet"}, "lpips"),
        ({"imported": {"truths": ["pet"]}}, "imported"),
        ({"imported": {"truths": [], "volumes": {}}}, "imported"),
        ({"entry": [*ENTRIES[1:], ENTRIES[0] | {"ships": True}]}, "map that ships"),
        ({"entry": [*ENTRIES[:2], ENTRIES[2] | {"ships": True, "arguments": {"compat": "cpdm"}}]}, "b that ships"),
        ({"entry": [*ENTRIES[:2], ENTRIES[2] | {"ships": True, "arguments": {"feed": {"per_slice": True}}}]}, "in SUV"),
        ({"quick": {"settings": []}}, "quick"),
    ],
)
def test_refusals(more: dict[str, Any], words: str) -> None:
    with pytest.raises(BadArgument, match=words):
        plan(**more)


def test_the_scan_with_most_lesion_is_pictured() -> None:
    grid = Grid.regular((2, 3, 4), 4.0)

    def study(voxels: int) -> Study:
        labels = torch.zeros(24)
        labels[:voxels] = 1
        return Study("p", {"lesion": Volume(labels.reshape(2, 3, 4), grid, FACTOR)})

    assert pictured({"a": study(0), "b": study(5), "c": study(3)}) == "b"
    assert pictured({"a": Study("a"), "b": Study("b")}) == "a"
    with pytest.raises(MissingInput):
        pictured({})


def test_dice_by_hand() -> None:
    found, wanted = torch.tensor([True, True, False, False]), torch.tensor([False, True, True, True])
    assert dice(found, wanted) == pytest.approx(2 / 5)
    assert dice(wanted, wanted) == 1
    assert dice(~wanted, wanted) == 0


@pytest.mark.parametrize(
    "wanted", [torch.zeros(4, dtype=torch.bool), torch.ones(4), torch.ones(3, dtype=torch.bool)], ids=str
)
def test_dice_refuses_what_has_nothing_to_be_found(wanted: torch.Tensor) -> None:
    with pytest.raises(BadArgument, match="masks"):
        dice(torch.ones(4, dtype=torch.bool), wanted)
