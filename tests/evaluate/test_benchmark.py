import tomllib
from pathlib import Path
from typing import Any

import pytest

from photopeak.core.errors import BadArgument
from photopeak.evaluate.benchmark import UNCORRECTED, Plan, read_plan

RECIPE = Path(__file__).parents[2] / "recipes" / "ac.toml"


def planned(*entries: dict[str, Any], **others: Any) -> Plan:
    return read_plan({"reference": entries[0]["label"], "entry": list(entries), **others})


STUDENT = {"label": "student", "method": "padm", "teacher": "teacher", "seeds": [1, 2]}
TEACHER = {"label": "teacher", "method": "padm_teacher"}
OTHER = {"label": "other", "method": "unet"}


def test_what_others_stand_on_comes_first() -> None:
    names = [run.name for run in planned(STUDENT, OTHER, TEACHER).runs()]
    assert names == [UNCORRECTED, "teacher", "student, seed 1", "student, seed 2", "other"]


def test_a_run_stands_on_the_training_of_its_own_seed_where_there_is_one() -> None:
    alone = planned(STUDENT, TEACHER)
    assert {alone.stands_on(run)["teacher"].seed for run in alone.runs() if run.entry.label == "student"} == {1}
    both = planned(STUDENT, {**TEACHER, "seeds": [2, 1]})
    assert {r.seed: both.stands_on(r)["teacher"].seed for r in both.runs() if r.entry.label == "student"} == {
        1: 1,
        2: 2,
    }


def test_only_keeps_the_reference_and_what_is_stood_on() -> None:
    plan = planned(OTHER, STUDENT, TEACHER, {"label": "fourth", "method": "bbdm"})
    assert {entry.label for entry in plan.only(["student"]).entries} == {"other", "student", "teacher"}


def test_quickly_shares_one_budget() -> None:
    own = {**OTHER, "seeds": [1, 2], "budget": {"max_seconds": 9}, "reason": "because"}
    quick = {"train_persons": 3, "budget": {"max_seconds": 1}}
    plan = planned(own, budget={"max_seconds": 60, "batch_size": 8}, quick=quick).quickly()
    assert plan.budget == {"max_seconds": 1, "batch_size": 8}
    assert (plan.train_persons, plan.entries[0].budget, plan.entries[0].seeds) == (3, {}, [1])


@pytest.mark.parametrize(
    "record",
    [
        {"reference": "other", "entry": [OTHER], "speed": 1},
        {"reference": "other", "entry": [{**OTHER, "stepps": 1}]},
        {"reference": "other", "entry": []},
        {"reference": "nobody", "entry": [OTHER]},
        {"reference": "other", "entry": [{"label": "other"}]},
        {"reference": "other", "entry": [OTHER, OTHER]},
        {"reference": "other", "entry": [OTHER, {**OTHER, "label": "Other!"}]},
        {"reference": "other", "entry": [{**OTHER, "label": UNCORRECTED}]},
        {"reference": "student", "entry": [STUDENT]},
        {"reference": "student", "entry": [STUDENT, {**TEACHER, "initial": "student"}]},
        {"reference": "other", "entry": [{**OTHER, "budget": {"max_seconds": 9}}]},
        {"reference": "other", "entry": [{**OTHER, "seeds": [1, 1]}]},
        {"reference": "other", "entry": [{**OTHER, "tables": ["padm 9"]}]},
        {"reference": "other", "entry": [{**OTHER, "answers": False}]},
        {"reference": "other", "entry": [OTHER], "quick": {"patience": 3}},
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        read_plan(record)


def test_a_recipe_without_a_quick_form_has_none() -> None:
    with pytest.raises(BadArgument, match="quick"):
        planned(OTHER).quickly()


def test_the_recipe_of_the_benchmark_is_whole() -> None:
    plan = read_plan(tomllib.loads(RECIPE.read_text(encoding="utf-8")))
    tables = {table: [e.label for e in plan.entries if table in e.tables] for table in ("padm 3", "padm 4", "padm 5")}
    assert {"BBDM", "BBDM without VQGAN"} < set(tables["padm 3"])
    assert len(tables["padm 4"]) == 6
    assert {"Pix2Pix", "UNIT", "RegGAN", "ResViT", "Palette", "BBDM"} < set(tables["padm 5"])
    assert plan.volumes == {"ac": "ac_clean"}
    assert all(not entry.budget for entry in plan.entries)
