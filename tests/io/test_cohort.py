"""Cohorts: lazy, split by person, named damage, and the rest usable."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from photopeak.core import COUNTS, Grid, Study, Volume
from photopeak.core.errors import BadArgument, MissingInput, ShapeMismatch, UnreadableFile
from photopeak.io.cohort import STUDY_FILE, open_cohort, read_manifest, write_manifest
from photopeak.io.damage import find_damage
from photopeak.io.slices import OPEN_MAPS
from photopeak.io.store import save_study

SHAPE = (3, 4, 5)


def study(name: str, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Study:
    generator = torch.Generator().manual_seed(seed)
    grid = Grid.regular(shape, 4.0)
    return Study(name, {n: Volume(torch.rand(shape, generator=generator), grid, COUNTS) for n in ("nac", "ac")})


def scan(split: str, person: str, state: str | None = None) -> dict[str, str | None]:
    return {"split": split, "person": person, "state": state}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three persons with stress and rest in three splits."""
    entries = {}
    for number, split in enumerate(("train", "validation", "test")):
        for state in ("stress", "rest"):
            name = f"p{number}_{state}"
            save_study(study(name, seed=2 * number + (state == "rest")), tmp_path / "c" / name)
            entries[name] = scan(split, f"p{number}", state)
    write_manifest(tmp_path / "c", entries, about={"seed": 1})
    return tmp_path / "c"


def damage(folder: Path, *, checksums: bool = True) -> dict[str, str]:
    digests = {name: scan.sha256 for name, scan in read_manifest(folder)[0].items()}
    return {d.file: d.kind for d in find_damage(folder, digests, checksums=checksums)}


def test_it_is_lazy_and_ordered(folder: Path) -> None:
    cohort = open_cohort(folder)
    assert cohort.about == {"seed": 1}
    assert [s.name for s in cohort] == list(cohort.names) == sorted(cohort.names)
    assert len(cohort) == 6
    assert cohort[-1].name == "p2_stress"
    assert [s.name for s in cohort[2:4]] == ["p1_rest", "p1_stress"]
    (folder / "p1_rest" / "volume-nac.npy").write_bytes(b"")
    with pytest.raises(UnreadableFile, match="p1_rest"):
        cohort[2]
    assert cohort[3].name == "p1_stress"
    with pytest.raises(IndexError):
        cohort[10]
    with pytest.raises(BadArgument, match="validation"):
        cohort.split("val")


def test_a_person_is_wholly_in_one_split(folder: Path, tmp_path: Path) -> None:
    cohort = open_cohort(folder)
    assert cohort.persons == {f"p{n}": (f"p{n}_rest", f"p{n}_stress") for n in range(3)}
    assert [list(cohort.split(split).persons) for split in ("train", "validation", "test")] == [["p0"], ["p1"], ["p2"]]
    assert [cohort.scans[n].state for n in cohort.names] == ["rest", "stress"] * 3
    with pytest.raises(BadArgument, match="p in the splits train and test"):
        write_manifest(tmp_path / "d", {"a": scan("train", "p"), "b": scan("test", "p")}, about={})
    assert not (tmp_path / "d").exists()
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"validation"', '"test"', 1))
    with pytest.raises(BadArgument, match="p1 in the splits"):
        open_cohort(folder)


def test_the_first_schema_is_read(folder: Path) -> None:
    studies = {"p0_rest": {"split": "train"}, "p2_rest": {"split": "test"}}
    record = {"schema": "photopeak cohort 1", "about": {"seed": 1}, "studies": studies}
    (folder / "manifest.json").write_text(json.dumps(record))
    cohort = open_cohort(folder)
    assert cohort.persons == {"p0_rest": ("p0_rest",), "p2_rest": ("p2_rest",)}
    assert cohort.scans["p0_rest"].state is None
    write_manifest(folder, {"p0_rest": "train"}, about={"seed": 1})
    assert json.loads((folder / "manifest.json").read_text())["schema"] == "photopeak cohort 2"


def test_missing_studies_are_named(tmp_path: Path) -> None:
    save_study(study("a"), tmp_path / "a")
    write_manifest(tmp_path, dict.fromkeys("abc", "train"), about={})
    assert [s.sha256 is None for s in read_manifest(tmp_path)[0].values()] == [False, True, True]
    with pytest.raises(MissingInput, match="2 of 3 studies: b, c"):
        open_cohort(tmp_path)
    assert open_cohort(tmp_path, on_damage="skip").names == ("a",)


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ({"studies": {"../x": {"split": "train"}}, "about": {}}, BadArgument),
        ({"studies": {"x": {"split": "holiday"}}, "about": {}}, BadArgument),
        ({"studies": {"x": {}}, "about": {}}, UnreadableFile),
        ({"studies": ["x"], "about": {}}, UnreadableFile),
        ({"about": {}}, UnreadableFile),
    ],
)
def test_damaged_manifests_are_refused(tmp_path: Path, record: dict[str, object], error: type[Exception]) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": "photopeak cohort 2", **record}))
    with pytest.raises(error):
        open_cohort(tmp_path)


def test_manifest_of_other_settings_is_not_overwritten(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, {"a": "train"}, about={"seed": 1})
    first = path.read_bytes()
    with pytest.raises(BadArgument, match="seed"):
        write_manifest(tmp_path, {"a": "train"}, about={"seed": 2})
    assert path.read_bytes() == first
    write_manifest(tmp_path, {"a": "train", "b": "test"}, about={"seed": 1})
    assert set(json.loads(path.read_text())["studies"]) == {"a", "b"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("training", "split 'training'"),
        (scan("train", "p", "sleeping"), "state 'sleeping'"),
        ({"person": "p"}, "person"),
        ({"split": "train", "sha256": "00"}, "sha256"),
    ],
)
def test_unknown_entries_are_refused(tmp_path: Path, entry: str | dict[str, str | None], words: str) -> None:
    with pytest.raises(BadArgument, match=words):
        write_manifest(tmp_path, {"a": entry}, about={})
    assert list(tmp_path.iterdir()) == []


def test_an_untouched_cohort_has_no_damage(folder: Path) -> None:
    (folder / "README.txt").write_text("the owner's notes")
    assert damage(folder) == {}


def test_every_kind_of_damage_is_named_and_the_rest_is_usable(folder: Path) -> None:
    flipped = folder / "p0_rest" / "volume-ac.npy"
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"\x00")
    cut = folder / "p0_stress" / "volume-nac.npy"
    cut.write_bytes(cut.read_bytes()[:-8])
    (folder / "p1_rest" / "volume-nac.npy").unlink()
    edited = folder / "p1_stress" / STUDY_FILE
    edited.write_text(edited.read_text() + " ")
    (folder / "p2_rest" / STUDY_FILE).unlink()
    (folder / "p2_stress" / "notes.txt").touch()
    (folder / ".0123.partial").mkdir()
    (folder / "elsewhere").mkdir()
    quick = {
        "p0_stress/volume-nac.npy": "damaged",
        f"p1_stress/{STUDY_FILE}": "damaged",
        "p1_rest/volume-nac.npy": "missing",
        f"p2_rest/{STUDY_FILE}": "missing",
        "p2_stress/notes.txt": "extra",
        ".0123.partial": "extra",
        "elsewhere": "extra",
    }
    assert damage(folder, checksums=False) == quick
    assert damage(folder) == quick | {"p0_rest/volume-ac.npy": "damaged"}
    assert open_cohort(folder, on_damage="skip").names == ("p0_rest", "p2_stress")
    sound = open_cohort(folder, on_damage="skip", checksums=True)
    assert [s.name for s in sound] == ["p2_stress"]
    assert {d.study for d in sound.damage} == {"p0_rest", "p0_stress", "p1_rest", "p1_stress", "p2_rest"}
    with pytest.raises(MissingInput, match=r"4 of 6 studies: p0_stress, p1_rest"):
        open_cohort(folder)


def test_an_array_of_another_kind_is_damage(folder: Path) -> None:
    np.save(folder / "p0_rest" / "volume-ac.npy", np.zeros(SHAPE))
    np.save(folder / "p0_stress" / "volume-ac.npy", np.zeros((4, 4, 4), dtype=np.float32))
    (folder / "p1_rest" / "volume-ac.npy").write_bytes(b"\x93NUMPY")
    assert damage(folder, checksums=False) == {
        "p0_rest/volume-ac.npy": "damaged",
        "p0_stress/volume-ac.npy": "damaged",
        "p1_rest/volume-ac.npy": "damaged",
    }


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_those_of_the_studies(folder: Path, axis: int) -> None:
    cohort = open_cohort(folder)
    pairs = cohort.slices("nac", "ac", orientation=("transaxial", "coronal", "sagittal")[axis])
    assert len(pairs) == len(cohort) * SHAPE[axis]
    by_name = {s.name: s for s in cohort}
    for number in range(len(pairs)):
        name, index = pairs.where(number)
        expected = torch.stack([by_name[name][v].data.select(axis, index) for v in ("nac", "ac")])
        assert torch.equal(pairs[number], expected)
    drawn = pairs.random(7, torch.Generator().manual_seed(1))
    assert torch.equal(drawn, pairs.random(7, torch.Generator().manual_seed(1)))
    assert drawn.shape[:2] == (7, 2)


def test_slices_are_copies(folder: Path) -> None:
    pairs = open_cohort(folder).slices("nac", "ac")
    first = pairs[0].clone()
    pairs[0].zero_()
    assert torch.equal(pairs[0], first)


def test_slices_of_more_studies_than_maps_stay_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from photopeak.io import slices

    assert OPEN_MAPS >= 2
    monkeypatch.setattr(slices, "_mapped", slices.lru_cache(maxsize=2)(slices._mapped.__wrapped__))
    for n in range(5):
        save_study(study(f"s{n}", seed=n), tmp_path / f"s{n}")
    write_manifest(tmp_path, {f"s{n}": "train" for n in range(5)}, about={})
    pairs = open_cohort(tmp_path).slices("nac", "ac")
    for number in (0, 12, 3, 14, 6, 1, 9):
        name, index = pairs.where(number)
        assert torch.equal(pairs[number][1], study(name, seed=int(name[1]))["ac"].data[index])


def test_slices_refuse_what_is_not_there(folder: Path) -> None:
    cohort = open_cohort(folder)
    with pytest.raises(MissingInput, match=r"volume-mu\.npy"):
        cohort.slices("nac", "mu")
    with pytest.raises(BadArgument, match="orientation 'oblique'"):
        cohort.slices("nac", orientation="oblique")  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="at least one volume"):
        cohort.slices()
    path = folder / "p0_rest" / "volume-ac.npy"
    np.save(path, np.zeros((4, 4, 4), dtype=np.float32))
    with pytest.raises(ShapeMismatch, match="p0_rest"):
        cohort.slices("nac", "ac")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UnreadableFile, match=r"volume-ac\.npy"):
        cohort.slices("ac")


def test_another_volume_can_take_a_name(folder: Path) -> None:
    plain, taking = (open_cohort(folder).split("train"), open_cohort(folder).taking({"ac": "nac"}).split("train"))
    assert torch.equal(taking[0]["ac"].data, plain[0]["nac"].data)
    assert not torch.equal(plain[0]["ac"].data, plain[0]["nac"].data)
    assert taking[0].history[-1].reads == ("nac",)
    with pytest.raises(MissingInput, match="ac_clean"):
        open_cohort(folder).taking({"ac": "ac_clean"})[0]
