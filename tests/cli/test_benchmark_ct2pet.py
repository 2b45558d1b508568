"""The CT-to-PET benchmark end to end, on boxes of water a few voxels wide."""

import json
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photopeak.cli import main
from photopeak.cli.benchmark import plan_of
from photopeak.cli.benchmark_run import scores_file, train_run
from photopeak.core import FACTOR, HU, SUV, Grid, Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.evaluate.benchmark import Entry, Run
from photopeak.evaluate.ct2pet import MEASURED, Ct2PetPlan
from photopeak.io import save, write_manifest
from photopeak.io.cohort import open_cohort
from photopeak.learn.checkpoint import load_checkpoint
from photopeak.methods import method_class

GRID = Grid.regular((7, 16, 16), (5.0, 4.0, 4.0))
SPLITS = {"a": "train", "b": "train", "c": "test", "d": "test", "e": "validation", "f": "validation"}
SHIPPED_BYTES = 15e6
RECIPE = """
task = "ct2pet"
reference = "CPDM"
features = ["CPDM"]
lpips = "alexnet"

[volumes]
pet = "pet_clean"

[imported]
truths = ["pet"]
volumes = {}

[budget]
max_steps = 2
batch_size = 2

[[entry]]
label = "attention map"
method = "attention"
arguments = { channels = [8, 24], fold = 1 }
answers = false

[[entry]]
label = "VQGAN"
method = "vqgan_pet"
arguments = { code = { channels = [8, 16], residual = 1, codes = 16 }, critic_channels = 8 }
answers = false

[[entry]]
label = "Pix2Pix"
method = "pix2pix_pet"
arguments = { width = 8, depth = 2, critic_width = 8, critic_layers = 1 }
tables = ["cpdm 4"]

[[entry]]
label = "CPDM"
method = "cpdm_pet"
code = "VQGAN"
map = "attention map"
using = { steps = 2 }
tables = ["cpdm 4"]
[entry.arguments]
channels = [8, 24]
code = { channels = [8, 16], residual = 1, codes = 16 }
maps = ["attention", "attenuation"]
attention = { channels = [8, 24], fold = 1 }

[[entry]]
label = "broken"
method = "unet_pet"
arguments = { levels = 3 }
"""


def person(number: int, *, simulated: bool) -> Study:
    """Water with a liver and a lesion that moves, and what a scanner's noise does to its PET."""
    chance = np.random.default_rng(number)
    arrays = {name: np.zeros(GRID.shape, dtype=np.float32) for name in ("ct", "pet_clean", "organ", "lesion")}
    body, liver = np.s_[:, 2:14, 2:14], np.s_[1:6, 4:8, 4:8]
    lesion = np.s_[2:5, 10:12, 5 + number : 7 + number]
    arrays["ct"][...] = -1000
    arrays["ct"][body], arrays["ct"][lesion] = 0, 60
    arrays["pet_clean"][body], arrays["pet_clean"][liver], arrays["pet_clean"][lesion] = 1, 2, 7
    arrays["organ"][liver], arrays["lesion"][lesion] = 1, 1
    arrays["pet"] = arrays["pet_clean"] * chance.uniform(0.9, 1.1, GRID.shape).astype(np.float32)
    quantities = {"ct": HU, "pet": SUV, "pet_clean": SUV, "organ": FACTOR, "lesion": FACTOR}
    names = quantities if simulated else ("ct", "pet", "lesion")
    truth = {"truth": {"organs": {"liver": {"label": 1, "suv": 2.0}}}} if simulated else {}
    volumes = {name: Volume.from_numpy(arrays[name], GRID, quantities[name]) for name in names}
    return Study(f"p{number}", volumes, facts={"kvp": 120.0, **truth})


def cohort_of(folder: Path, about: dict[str, Any]) -> Path:
    for number, name in enumerate(SPLITS):
        save(person(number, simulated="simulated" in about), folder / name)
    write_manifest(folder, SPLITS, about=about)
    return folder


class Here(Executor):
    """A pool without processes, whose start would take most of the time."""

    def __init__(self, workers: int, **_: object) -> None:
        pass

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done = Future[Any]()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


def _command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", Here)
    monkeypatch.setattr(sys, "argv", ["photopeak", "benchmark", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_every_method_scored_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, out = tmp_path / "recipe.toml", tmp_path / "out"
    recipe.write_text(RECIPE)
    cohort = cohort_of(tmp_path / "cohort", {"simulated": True, "camera": "petct"})
    assert _command(monkeypatch, recipe, cohort, "-o", out, "--workers", 1) == 1
    text = (out / "tables.md").read_text()
    assert "no row for broken: BadArgument" in text
    assert "n = 2 persons; 2 training scans" in text
    assert "liver SUVmean bias" in text
    for name in ("mips.png", "features.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    record = json.loads((out / "scores.json").read_text())
    measured = record["runs"][MEASURED]["scans"]["c"]["scores"]
    assert set(measured) == {"pet_clean"}
    assert 0 < measured["pet_clean"]["body MAE"] < 0.1
    assert measured["pet_clean"]["lesion sensitivity"] == 100
    assert set(record["runs"]["CPDM"]["scans"]["c"]["scores"]) == {"pet_clean", "pet"}
    assert record["pictured"]["scan"] == "c"
    assert set(record["dice"]) == {"attention map"}
    assert all(0 <= value <= 1 for value in record["dice"]["attention map"].values())
    assert set(record["dice"]["attention map"]) == {"c", "d"}
    assert set(record["runs"]["CPDM"]["scans"]["c"]["mips"]) == {"answer", "pet_clean", "pet"}
    assert "mips" not in record["runs"]["CPDM"]["scans"]["d"]
    _nothing_twice(recipe, cohort, out, monkeypatch)


def _nothing_twice(recipe: Path, cohort: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that are there stay as they are; the tables of an only entry are those of its lines."""
    plan = plan_of(tomllib.loads(recipe.read_text()))
    run = next(run for run in plan.runs() if run.entry.label == "Pix2Pix")
    path = scores_file(out / "runs" / run.folder, "test")
    lines = path.read_text()
    assert _command(monkeypatch, recipe, cohort, "-o", out, "--workers", 1, "--only", "Pix2Pix") == 0
    assert path.read_text() == lines


def _entry(**more: Any) -> Entry:
    arguments = {"channels": [8, 24], "feed": {"voxel_mm": [5.0, 8.0, 8.0]}}
    return Entry(**{"label": "U", "method": "palette_pet", "arguments": arguments, "using": {"steps": 2}, **more})


def _trained(entry: Entry, tmp_path: Path) -> dict[str, Any]:
    """The card of what a benchmark trains, on people of whom some are for validation."""
    folder = tmp_path / "cohort"
    cohort = open_cohort(folder if folder.exists() else cohort_of(folder, {"simulated": True}))
    plan = Ct2PetPlan((entry,), entry.label, volumes={"pet": "pet_clean"}, budget={"max_steps": 1, "batch_size": 2})
    train, validation = cohort.split("train"), cohort.split("validation") if entry.ships else None
    train_run(plan, Run(entry, 1), train, tmp_path / "run", {}, tmp_path / "keep", validation)
    return load_checkpoint(tmp_path / "run" / "weights.safetensors")[1]["card"]


def test_what_ships_is_calibrated_in_its_settings_of_use_also_if_it_ships_only_later(tmp_path: Path) -> None:
    assert "calibration" not in _trained(_entry(), tmp_path)
    card = _trained(_entry(ships=True), tmp_path)
    assert card["calibration"]["studies"] == 2
    assert card["calibration"]["using"] == {"steps": 2, "samples": 4, "tv": 0.0}
    assert card["calibration"]["local"] > 0
    assert "domain" not in card
    written = (tmp_path / "run" / "weights.safetensors").stat().st_mtime_ns
    assert _trained(_entry(ships=True), tmp_path) == card
    assert (tmp_path / "run" / "weights.safetensors").stat().st_mtime_ns == written, "it is not calibrated twice"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"using": {"rounds": 2}}, "using rounds of palette_pet"),
        ({"method": "vqgan_pet", "arguments": {"critic_channels": 8}, "using": {}}, "vqgan_pet to be calibrated"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_before_it_is_trained(
    more: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(BadArgument, match=words):
        _trained(replace(_entry(ships=True), **more), tmp_path)
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_a_hospitals_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, out = tmp_path / "recipe.toml", tmp_path / "out"
    first = RECIPE.split("[[entry]]")
    recipe.write_text(
        "[[entry]]".join([first[0].replace('"CPDM"', '"Pix2Pix"').replace('features = ["Pix2Pix"]', ""), first[3]])
    )
    cohort = cohort_of(tmp_path / "cohort", {"imported": True, "format": "nifti"})
    assert _command(monkeypatch, recipe, cohort, "-o", out, "--workers", 1) == 0
    text = (out / "tables.md").read_text()
    assert "Organs are not labelled here." in text
    assert "2 lesions in 2 of 2 persons" in text
    assert MEASURED not in text.split("## As in CPDM")[1]
    assert not (out / "features.png").exists()


def test_the_recipe_is_a_plan() -> None:
    recipe = tomllib.loads((Path(__file__).parents[2] / "recipes" / "ct2pet.toml").read_text())
    plan = plan_of(recipe)
    assert isinstance(plan, Ct2PetPlan)
    assert plan.cohort["camera"] == "petct"
    for entry in plan.entries:
        sees = "attention" in entry.arguments.get("maps", [])
        assert (entry.map is not None) == sees == ("attention" in entry.arguments)
        if sees:
            assert entry.arguments["attention"] == plan[entry.map or ""].arguments
        if entry.code is not None:
            assert entry.arguments["code"] == plan[entry.code].arguments["code"]
            assert entry.arguments.get("feed") == plan[entry.code].arguments.get("feed")
    published = plan["CPDM, published constants"]
    assert plan[published.map or ""].arguments["compat"] == published.arguments["compat"] == "cpdm"
    assert plan[published.code or ""].arguments["feed"] == {"per_slice": True}
    assert plan.quickly().lpips == "alexnet"
    (ships,) = [entry for entry in plan.entries if entry.ships]
    made: Any = method_class(ships.method or "")(**ships.arguments)
    weights = sum(value.numel() * value.element_size() for value in made.players.state_dict().values())
    assert 1e6 < weights < SHIPPED_BYTES - 1e5, "the header comes on top"
