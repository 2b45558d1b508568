"""Saved studies: whole, checked, nothing pickled."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photopeak.core import COUNTS, Grid, Projections, Step, Study, Volume, attenuation
from photopeak.core.errors import BadArgument, UnreadableFile
from photopeak.io.store import load_study, save_study
from photopeak.physics.parallel_hole import ParallelHole

GRID = Grid.regular((3, 4, 5), (4.0, 3.0, 2.0), centre_mm=(1, 2, 3))


@pytest.fixture
def study() -> Study:
    generator = torch.Generator().manual_seed(5)
    camera = ParallelHole.circular(views=4, shape=(3, 5), pixel_mm=4.0)
    counts = Projections(torch.rand(4, 3, 5, generator=generator), camera)
    volumes = {
        "nac": Volume(torch.rand(3, 4, 5, generator=generator), GRID, COUNTS),
        "mu": Volume(torch.rand(3, 4, 5, generator=generator), GRID, attenuation(140.5)),
    }
    facts = {"sex": "F", "weight_kg": 61.5, "dicom": {"sop_sha256": "ab"}}
    history = (Step(("nac", "mu"), "simulate", (), {"seed": 7, "words": ["a"]}),)
    return Study("sim-0001", volumes, {"views": counts}, facts, history)


@pytest.mark.parametrize("mmap", [False, True])
def test_round_trip(tmp_path: Path, study: Study, mmap: bool) -> None:
    back = load_study(save_study(study, tmp_path / "s"), mmap=mmap)
    assert back.name == study.name
    assert dict(back.facts) == dict(study.facts)
    assert back.history == study.history
    for name in study:
        assert torch.equal(back[name].data, study[name].data)
        assert back[name].grid == study[name].grid
        assert back[name].quantity == study[name].quantity
    assert torch.equal(back.projections["views"].counts, study.projections["views"].counts)
    assert back.projections["views"].camera == study.projections["views"].camera
    assert back.projections["views"].window == study.projections["views"].window
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_mapped_arrays_cannot_change_the_file(tmp_path: Path, study: Study) -> None:
    folder = save_study(study, tmp_path / "s")
    load_study(folder, mmap=True)["nac"].data.zero_()
    assert torch.equal(load_study(folder)["nac"].data, study["nac"].data)


def test_saving_again_replaces_and_strangers_are_safe(tmp_path: Path, study: Study) -> None:
    folder = save_study(study, tmp_path / "s")
    save_study(study.only("nac"), folder)
    assert list(load_study(folder)) == ["nac"]
    assert sorted(p.name for p in folder.iterdir()) == ["study.json", "volume-nac.npy"]
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "thesis.txt").touch()
    with pytest.raises(BadArgument, match="something else"):
        save_study(study, tmp_path / "t")


@pytest.mark.parametrize("facts", [{"x": float("nan")}, {"x": {1, 2}}, {"x": np.float32(1)}])
def test_facts_that_json_cannot_hold_leave_nothing(tmp_path: Path, study: Study, facts: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match="JSON"):
        save_study(study.with_facts(**facts), tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b"])
def test_names_that_are_no_file_names(tmp_path: Path, study: Study, name: str) -> None:
    with pytest.raises(BadArgument, match="name"):
        save_study(replace(study, volumes={name: study["nac"]}), tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_damaged_arrays_are_named(tmp_path: Path, study: Study) -> None:
    folder = save_study(study, tmp_path / "s")
    path = folder / "volume-mu.npy"
    whole = path.read_bytes()
    for content in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-8], b""):
        path.write_bytes(content)
        with pytest.raises(UnreadableFile, match=r"volume-mu\.npy is damaged"):
            load_study(folder)
    with pytest.raises(UnreadableFile, match=r"volume-mu\.npy is damaged"):
        load_study(folder, mmap=True)
    path.unlink()
    with pytest.raises(UnreadableFile, match=r"volume-mu\.npy is missing"):
        load_study(folder)


def test_pickles_are_refused(tmp_path: Path, study: Study) -> None:
    folder = save_study(study, tmp_path / "s")
    np.save(folder / "volume-mu.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for mmap in (False, True):
        with pytest.raises(UnreadableFile, match=r"volume-mu\.npy is damaged"):
            load_study(folder, mmap=mmap)


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (["schema"], "photopeak study 99", "schema"),
        (["volumes", "nac", "shape"], [5, 4, 3], r"volume-nac\.npy"),
        (["volumes", "nac", "quantity"], {"colour": "red"}, "study.json is damaged"),
        (["history"], [{}], "study.json is damaged"),
        (["sha256"], {}, "study.json is damaged"),
        (["projections", "views", "camera", "kind"], "../../evil", "kind"),
        (["projections", "views", "camera", "kind"], "rotate", "kind"),
        (["projections", "views", "camera", "kind"], "no_such", "kind"),
    ],
)
def test_damaged_records_are_named(tmp_path: Path, study: Study, keys: list[str], value: Any, words: str) -> None:
    folder = save_study(study, tmp_path / "s")
    record = json.loads((folder / "study.json").read_text())
    place = record
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (folder / "study.json").write_text(json.dumps(record))
    with pytest.raises(UnreadableFile, match=words):
        load_study(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}'])
def test_rubbish_record(tmp_path: Path, content: str) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(UnreadableFile, match=r"study\.json"):
        load_study(tmp_path)
