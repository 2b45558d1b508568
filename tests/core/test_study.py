from dataclasses import FrozenInstanceError

import pytest
import torch

from photopeak.core import COUNTS, Grid, Step, Study, Volume
from photopeak.core.errors import MissingInput

GRID = Grid.regular((2, 3, 4), 4.0)


def volume(value: float) -> Volume:
    return Volume(torch.full(GRID.shape, value), GRID, COUNTS)


@pytest.fixture
def study() -> Study:
    return Study("p17", {"nac": volume(1.0), "mu": volume(2.0)}, facts={"sex": "F"})


def test_adding_gives_a_new_study_with_one_more_step(study):
    step = Step(("ac",), "chang", ("nac", "mu"), {"passes": 2})
    more = study.add({"ac": volume(3.0)}, step)
    assert list(more) == ["nac", "mu", "ac"]
    assert more.history == (step,)
    assert more["nac"] is study["nac"]
    assert "ac" not in study
    assert study.history == ()
    assert str(step) == "ac: chang(passes=2) from nac, mu"


def test_nothing_in_a_study_can_be_set(study):
    with pytest.raises(TypeError):
        study.volumes["nac"] = volume(0.0)
    with pytest.raises(FrozenInstanceError):
        study.name = "other"


def test_the_callers_dictionary_is_copied():
    volumes = {"nac": volume(1.0)}
    study = Study("p17", volumes)
    volumes.clear()
    assert "nac" in study


def test_only_keeps_what_is_named(study):
    assert list(study.only("mu")) == ["mu"]
    assert study.only("mu").facts == study.facts
    with pytest.raises(MissingInput, match='"ct"'):
        study.only("ct")


def test_facts_are_merged(study):
    assert dict(study.with_facts(tracer="sestamibi").facts) == {"sex": "F", "tracer": "sestamibi"}


def test_a_missing_volume_says_what_there_is(study):
    with pytest.raises(MissingInput, match=r'has no "ac".*it has nac, mu'):
        study["ac"]


def test_str_lists_images_and_history(study):
    lines = str(study.add({"ac": volume(3.0)}, Step(("ac",), "chang"))).splitlines()
    assert lines[0] == "study p17"
    assert lines[3].strip().startswith("ac: counts")
    assert lines[-1].strip() == "made ac: chang()"
