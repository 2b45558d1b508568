import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from photopeak.cli import synthesize
from photopeak.cli.benchmark import plan_of
from photopeak.cli.train import calibrate_weights, command, in_use, judged_in, planned_method, read_recipe
from photopeak.core import HU, SUV, Grid, Study, Volume
from photopeak.core.errors import BadArgument, BadCheckpoint
from photopeak.io import load, save, write_manifest
from photopeak.io.cohort import open_cohort
from photopeak.io.nifti import write_nifti
from photopeak.methods import method_class
from photopeak.methods.attention import Attention
from photopeak.methods.indirect import Indirect
from photopeak.methods.mean_acf import MeanFactor
from photopeak.methods.padm import PADM
from photopeak.methods.unet import UNetPet

Run = Callable[..., subprocess.CompletedProcess[str]]
FOLDER = Path(__file__).parents[2] / "recipes"
PLANS = sorted(path for path in FOLDER.glob("*.toml") if "[[entry]]" in path.read_text())
RECIPES = sorted(set(FOLDER.glob("*.toml")) - set(PLANS))
SMALL = """
method = "{method}"
[arguments]
channels = [8, 16, 24]
paths = 2
bridge_steps = 20
[arguments.feed]
size = 24
depth = 14
neighbours = 1
[budget]
max_steps = 4
batch_size = 2
log_every = 1
"""


@pytest.fixture
def cohort(patient: Study, tmp_path: Path) -> Path:
    folder = tmp_path / "cohort"
    save(patient, folder / "patient_0000")
    write_manifest(folder, {"patient_0000": "train"}, about={"simulated": True})
    return folder


def test_teacher_then_student(run: Run, cohort: Path, tmp_path: Path) -> None:
    for method in ("padm_teacher", "padm"):
        (tmp_path / f"{method}.toml").write_text(SMALL.format(method=method))
    first = run("train", tmp_path / "padm_teacher.toml", cohort, "-o", tmp_path / "t")
    assert first.returncode == 0, first.stderr
    taught = run(
        "train", tmp_path / "padm.toml", cohort, "-o", tmp_path / "s", "--teacher", tmp_path / "t/weights.safetensors"
    )
    assert taught.returncode == 0, taught.stderr
    student = PADM.restored(tmp_path / "s" / "weights.safetensors")
    assert student.card["domain"]["camera_models"] == ["SIMULATED"]
    assert student.card["training"]["studies"] == 1
    records = [json.loads(line) for line in (tmp_path / "s" / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == [1, 2, 3, 4]


@pytest.mark.parametrize("plan", PLANS, ids=lambda p: p.stem)
def test_every_entry_of_a_plan_can_be_made(plan: Path) -> None:
    for entry in plan_of(tomllib.loads(plan.read_text())).entries:
        assert entry.method is not None
        assert method_class(entry.method)(**entry.arguments).name == entry.method


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_makes_its_method(recipe: Path) -> None:
    plan = read_recipe(str(recipe))
    assert planned_method(plan, None).name == plan["method"]


def test_a_name_trains_with_defaults() -> None:
    assert planned_method(read_recipe("padm"), None).name == "padm"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('method = "padm"\nlearning = 1\n', "learning"),
        ('method = "padm"\n[arguments]\ndepht = 3\n', "depht"),
        ('method = "padm"\n[arguments.feed]\nsise = 3\n', "sise"),
        ('method = "osem"\n', "osem"),
        ('method = "pdam"\n', "pdam"),
    ],
)
def test_unknown_keys_stop_the_run(text: str, match: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(BadArgument, match=match):
        planned_method(read_recipe(str(tmp_path / "r.toml")), None)


def test_unknown_budget_key_stops_the_run(run: Run, cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('method = "padm"\n[budget]\nmax_second = 3\n')
    failed = run("train", tmp_path / "r.toml", cohort, "-o", tmp_path / "out")
    assert failed.returncode == 2
    assert "max_second" in failed.stderr
    assert not (tmp_path / "out").exists()


def test_only_a_student_has_a_teacher(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="teacher"):
        planned_method(read_recipe("unet"), tmp_path / "weights.safetensors")


def test_the_target_is_the_volume_that_the_recipe_names(run: Run, cohort: Path, tmp_path: Path) -> None:
    losses = {}
    for label, volumes in (("ac", ""), ("nac", '[volumes]\nac = "nac"\n')):
        (tmp_path / f"{label}.toml").write_text('method = "mean_acf"\n' + volumes)
        made = run("train", tmp_path / f"{label}.toml", cohort, "-o", tmp_path / label, "--keep", tmp_path / "hearts")
        assert made.returncode == 0, made.stderr
        factor = MeanFactor.restored(tmp_path / label / "weights.safetensors")
        losses[label] = factor.players["factor"].get_buffer("cube")
        assert factor.card["volumes"] == ({"ac": "nac"} if volumes else {})
    scale = 1 / MeanFactor().feed.factor
    centre = (slice(15, 25),) * 3
    assert torch.allclose(losses["nac"][centre], torch.full((10, 10, 10), scale), atol=1e-5)
    assert not torch.allclose(losses["ac"][centre], losses["nac"][centre], atol=1e-2)
    assert len(list((tmp_path / "hearts").iterdir())) == 2


def test_weights_carry_what_correct_needs_to_know(run: Run, patient: Study, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    splits = {"patient_0000": "train", "patient_0001": "validation", "patient_0002": "validation"}
    for name in splits:
        save(patient, folder / name)
    write_manifest(folder, splits, about={"simulated": True})
    made = run("train", "mean_acf", folder, "-o", tmp_path / "run")
    assert made.returncode == 0, made.stderr
    weights = tmp_path / "run" / "weights.safetensors"
    card = MeanFactor.restored(weights).card
    assert card["calibration"]["studies"] == 2
    assert "using" not in card["calibration"]
    assert "population" not in card["domain"], "one scan is no population"
    done = run("correct", saved, "-o", tmp_path / "out", "--method", "mean_acf", "--weights", weights)
    assert done.returncode == 0, done.stderr
    assert "distance from the training scans: – (not known" in done.stdout
    assert "was not calibrated" not in done.stdout
    assert "The sd is calibrated" in (tmp_path / "out" / "report.html").read_text()


PET_RECIPE = """
method = "palette_pet"
using = {{ {using} }}
budget = {{ max_steps = 2, batch_size = 2 }}
[arguments]
channels = [8, 24]
"""


def bodies(folder: Path, **splits: str) -> Path:
    """Water in air and an uptake that differs from person to person."""
    grid = Grid.regular((24, 12, 12), (5.0, 4.0, 4.0))
    ct = torch.full(grid.shape, -1000.0)
    ct[:, 2:10, 2:10] = 40.0
    for number, name in enumerate(splits):
        volumes = {"ct": Volume(ct, grid, HU)}
        volumes |= {
            one: Volume((ct > 0) * (1.0 + number + up), grid, SUV) for one, up in (("pet", 0), ("pet_clean", 1))
        }
        save(Study(name, volumes, facts={"kvp": 120.0}), folder / name)
    write_manifest(folder, splits, about={"simulated": True})
    return folder


def test_a_pet_method_is_calibrated_on_validation_bodies_for_how_it_is_used(tmp_path: Path) -> None:
    cohort = bodies(tmp_path / "cohort", a="train", b="validation", c="validation")
    (tmp_path / "r.toml").write_text(PET_RECIPE.format(using="steps = 2, samples = 3"))
    command(str(tmp_path / "r.toml"), cohort, tmp_path / "run")
    weights = tmp_path / "run" / "weights.safetensors"
    card = method_class("palette_pet").restored(weights).card
    assert card["calibration"]["studies"] == 2
    assert card["calibration"]["using"] == {"steps": 2, "samples": 3, "tv": 0.0}
    ct = write_nifti(load(cohort / "b")["ct"], tmp_path / "ct.nii.gz")
    synthesize.command(ct, tmp_path / "out", weights=weights, kvp=120)
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "uncertainty: calibrated on 2 validation scans" in log
    assert "steps: 2\nsamples: 3" in log


def test_the_calibration_knows_the_target_that_the_recipe_names(tmp_path: Path) -> None:
    cohort = bodies(tmp_path / "cohort", a="train", b="validation", c="validation")
    method: Any = UNetPet(channels=(8, 24))
    fitted = []
    for volumes in ({}, {"pet": "pet_clean"}):
        calibrate_weights(
            method, open_cohort(cohort).split("validation"), volumes, tmp_path / "w.safetensors", using={}
        )
        fitted.append(UNetPet.restored(tmp_path / "w.safetensors").card["calibration"])
    assert fitted[0]["using"] == {"samples": 1, "tv": 0.0}, "each answer would be the same"
    widths = [one["floor"] * one["reach"]["0.95"] for one in fitted]
    assert widths == pytest.approx([3.0, 4.0], rel=0.05), (
        "an untrained network finds nothing of SUV 2 and 3, or 3 and 4"
    )


@pytest.mark.parametrize("using", ["stepz = 2", "seed = 3"])
def test_settings_that_no_calibration_has_stop_the_run(using: str, tmp_path: Path) -> None:
    cohort = bodies(tmp_path / "cohort", a="train", b="validation", c="validation")
    (tmp_path / "r.toml").write_text(PET_RECIPE.format(using=using))
    with pytest.raises(BadArgument, match=f"using {using[:4]}"):
        command(str(tmp_path / "r.toml"), cohort, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_of_what_is_calibrated_as_it_is_used_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="using steps of padm"):
        in_use(PADM(), {"steps": 3})
    assert judged_in(Attention(channels=(8, 24))) is None
    assert judged_in(UNetPet({"per_slice": True}, channels=(8, 24))) is None
    for method in (Attention(channels=(8, 24)), UNetPet({"per_slice": True}, channels=(8, 24))):
        with pytest.raises(BadArgument, match="to be calibrated"):
            in_use(method, {})
    one = open_cohort(bodies(tmp_path / "cohort", a="train", b="validation")).split("validation")
    with pytest.raises(BadArgument, match="1 patients"):
        calibrate_weights(UNetPet(channels=(8, 24)), one, {}, tmp_path / "w.safetensors", using={})
    assert not (tmp_path / "w.safetensors").exists()


def test_a_run_is_not_gone_on_with_against_the_users_will(run: Run, cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(SMALL.format(method="padm"))
    assert run("train", tmp_path / "r.toml", cohort, "-o", tmp_path / "run").returncode == 0
    again = run("train", tmp_path / "r.toml", cohort, "-o", tmp_path / "run", "--no-resume")
    assert again.returncode == 2
    assert "--resume" in again.stderr


def test_a_map_is_for_concord_only(run: Run, cohort: Path, tmp_path: Path) -> None:
    Indirect(channels=[8, 16, 24]).save(tmp_path / "map.safetensors", card={})
    (tmp_path / "r.toml").write_text(SMALL.format(method="padm"))
    refused = run("train", tmp_path / "r.toml", cohort, "-o", tmp_path / "run", "--map", tmp_path / "map.safetensors")
    assert refused.returncode == 2
    assert "concord" in refused.stderr


def test_a_run_is_not_gone_on_with_on_another_map(tmp_path: Path) -> None:
    grid = Grid.regular((4, 8, 8), (5.0, 4.0, 4.0))
    ct = torch.where(torch.arange(8) < 4, -1000.0, 40.0).expand(grid.shape)
    volumes = {"ct": Volume(ct.contiguous(), grid, HU), "pet": Volume((ct > 0) * 1.0, grid, SUV)}
    save(Study("body", volumes, facts={"kvp": 120.0}), tmp_path / "cohort" / "body")
    write_manifest(tmp_path / "cohort", {"body": "train"}, about={"simulated": True})
    maps = []
    for number in range(2):
        torch.manual_seed(number)
        maps.append(tmp_path / f"map{number}.safetensors")
        Attention(channels=(8, 24)).save(maps[-1], card={})
    (tmp_path / "r.toml").write_text(
        'method = "unet_pet"\nbudget = { max_steps = 1, batch_size = 1 }\n'
        '[arguments]\nchannels = [8, 24]\nmaps = ["attention"]\nattention = { channels = [8, 24] }\n'
    )
    for _ in range(2):
        command(str(tmp_path / "r.toml"), tmp_path / "cohort", tmp_path / "run", map=maps[0])
    with pytest.raises(BadCheckpoint, match="stands_on"):
        command(str(tmp_path / "r.toml"), tmp_path / "cohort", tmp_path / "run", map=maps[1])
