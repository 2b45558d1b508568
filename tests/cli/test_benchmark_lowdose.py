"""The low-dose benchmark end to end, on hearts of a few voxels in front of three pinholes."""

import json
import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import HeartFrame
from photopeak.cli import main
from photopeak.cli.benchmark import plan_of, work
from photopeak.cli.benchmark_lowdose import counted_less, prepare, read_settings, reconstructed
from photopeak.cli.benchmark_run import scores_file
from photopeak.core import COUNTS, Grid, Projections, Step, Study, Volume, attenuation
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.evaluate.low_dose import LowDosePlan
from photopeak.io import save, write_manifest
from photopeak.io.cohort import MANIFEST_FILE
from photopeak.methods.diffspect import DiffSpect
from photopeak.methods.measured import Measured, known_start, start_step
from photopeak.physics.pinhole import Pinhole
from photopeak.simulate.dose import Setting, poisson

GRID = Grid.regular((8, 16, 16), 12.0)
CAMERA = replace(Pinhole.named("dnm_530c").few(3), shape=(12, 12), pixel_mm=6.56)
HEART = FoundHeart(HeartFrame((0.0, 0.0, 0.0), (0.6, -0.7, -0.4)), 36.0, 76.0, 0.9)
RECIPE = """
task = "lowdose"
reference = "ours"
settings = ["10%", "1 view"]
held_out = ["1 view"]
iterations = 6

[volumes]
ac = "ac_clean"

[budget]
max_steps = 2
batch_size = 2

[[entry]]
label = "MLEM, stopped early"
method = "mlem"
arguments = { makes = "ac", iterations = 2 }
tables = ["diffspect 2"]

[[entry]]
label = "MAP"
method = "map_em"
arguments = { makes = "ac", iterations = 2, subsets = 1 }
tables = ["diffspect 2"]

[[entry]]
label = "ours"
method = "diffspect"
tables = ["diffspect 1", "diffspect 2"]
[entry.arguments]
iterations = 6
channels = [16, 24]
fold = 1
feed = { shape = [8, 16, 16], voxel_mm = 12.0, level_radius_mm = 40.0, peak = 2.0 }
[entry.using]
steps = 2

[[entry]]
label = "without EM"
method = "diffspect"
weights = "ours"
using = { steps = 2, em = false }
tables = ["diffspect 1"]

[[entry]]
label = "broken"
method = "diffspect"
arguments = { levels = 3 }
"""


def patient(number: int) -> Study:
    """A hot ball in water whose left side has lost half of its uptake."""
    points, chance = GRID.points(), np.random.default_rng(number)
    body = np.hypot(points[..., 0], points[..., 1]) < 80
    hot = (np.linalg.norm(points - chance.uniform(-6, 6, 3), axis=-1) < 42) * np.where(points[..., 0] > 10, 0.5, 1.0)
    mu = Volume.from_numpy(0.15 * body, GRID, attenuation(140.5))
    image = torch.from_numpy(0.2 * body + hot).float()
    expected = CAMERA.system(GRID, mu)(image)
    scale = 1e6 / float(expected.sum())
    clean = Projections(scale * expected, CAMERA)
    ac = Volume(scale * image, GRID, COUNTS)
    facts = {"simulated": True, "heart": HEART.to_dict(), "truth": {"segments": [0.5] * 4 + [1.0] * 13}}
    raw = {"raw": poisson(clean, stream(0, number)), "scatter": clean.with_counts(0 * clean.counts)}
    return Study(f"p{number}", {"mu": mu, "ac": ac, "ac_clean": ac, "nac": ac}, raw, facts)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    splits = {"a": "train", "b": "train", "c": "test", "d": "test", "e": "test"}
    for number, name in enumerate(splits):
        save(patient(number), folder / name)
    write_manifest(folder, splits, about={"simulated": True, "camera": "nm570c"})
    return folder


def _command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["photopeak", "benchmark", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_every_method_under_every_setting_and_nothing_twice(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = tmp_path / "recipe.toml", tmp_path / "out"
    recipe.write_text(RECIPE)
    assert _command(monkeypatch, recipe, cohort, "-o", out, "--workers", 1) == 1
    text = (out / "tables.md").read_text()
    assert "no row for broken: BadArgument" in text
    assert "n = 3 persons" in text
    assert "| method | 10% | 1 view* |" in text
    first, second = (part.split("\n## ")[0] for part in text.split("## Table I")[1:3])
    assert "without EM" in first
    assert "MAP" not in first
    assert "MAP" in second
    assert first.index("without EM") < first.index("| ours")
    for name in ("quality_counts.png", "quality_views.png", "polar_maps.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    record = json.loads((out / "scores.json").read_text())
    for scans in (record["runs"]["MLEM"]["scans"], record["runs"]["ours"]["scans"]):
        line = scans["c"]["10%"]["scores"]["ac_clean"]
        assert line["expected over measured"] == pytest.approx(1, abs=0.01)
        assert line["total counts over truth's"] == pytest.approx(1, abs=0.2)
    assert record["runs"]["MLEM"]["scans"]["c"]["10%"]["scores"]["ac"]["log-likelihood over MLEM-5"] > 0
    _nothing_twice(cohort, out)


def _nothing_twice(cohort: Path, out: Path) -> None:
    """A line that a kill cut short is made again, and it alone; counts that are there stay."""
    plan = plan_of(tomllib.loads(RECIPE))
    run = next(run for run in plan.runs() if run.entry.label == "ours")
    path = scores_file(out / "runs" / run.folder, "test")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][:50])
    work(plan, run, cohort, out, "test")
    again = path.read_text().splitlines(keepends=True)
    assert again[:-1] == lines[:-1]
    new, old = json.loads(again[-1]), json.loads(lines[-1])
    assert new["scores"] == old["scores"]
    assert set(read_settings(path.parent, "test")["c"]) == {"10%", "1 view"}


def test_counts_of_another_cohort_are_not_taken(cohort: Path, tmp_path: Path) -> None:
    plan, other = plan_of(tomllib.loads(RECIPE)), tmp_path / "other"
    assert isinstance(plan, LowDosePlan)
    prepare(plan, cohort, tmp_path / "out", "test", workers=1)
    shutil.copytree(cohort, other)
    (other / MANIFEST_FILE).unlink()
    write_manifest(other, dict.fromkeys("ab", "test"), about={"simulated": True, "camera": "another"})
    with pytest.raises(BadArgument, match="cohort"):
        prepare(plan, other, tmp_path / "out", "test", workers=1)


def test_counts_follow_from_scan_and_setting_alone() -> None:
    study = patient(0)
    tenth = Setting(0.1)
    one, same, other = (counted_less(study, tenth, name).projections["raw"].counts for name in ("a", "a", "b"))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert float(one.sum()) == pytest.approx(0.1 * float(study.projections["raw"].counts.sum()), rel=0.01)
    few = counted_less(study, Setting(0.5, views=1), "a")
    assert few.projections["scatter"].counts.shape == few.projections["raw"].counts.shape == (1, 12, 12)
    assert few.facts["dose"] == {"fraction": 0.5, "full_views": 3, "setting": "50%, 1 view"}


def test_a_method_begins_with_the_mlem_that_was_made_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    less = counted_less(patient(0), Setting(0.1), "a")
    made = reconstructed(less, 6)
    ready = less.add({"mlem": made["mlem"]}, made.history[-1])
    assert known_start(less, 6, None) is None
    assert known_start(ready, 7, None) is None
    assert known_start(ready, 6, "scatter") is None
    assert known_start(ready, 6, None) is made["mlem"].data
    assert known_start(ready.add({"mlem": made["mlem"]}, start_step(7, None)), 6, None) is None
    assert known_start(ready.add({"mu": ready["mu"]}, Step(("mu",), "resampled")), 6, None) is None
    torch.manual_seed(0)
    feed = {"shape": (8, 16, 16), "voxel_mm": 12.0, "level_radius_mm": 40.0, "peak": 2.0}
    method = DiffSpect(feed, iterations=6, channels=(16, 24), fold=1).using(steps=2)
    slow = method(less)["ac"].data
    monkeypatch.setattr(Measured, "image", _refuse)
    assert torch.equal(method(ready)["ac"].data, slow)


def _refuse(self: Measured, iterations: int) -> torch.Tensor:
    raise AssertionError(iterations)


def test_competitors_are_told_what_they_are_trained_on() -> None:
    recipe = tomllib.loads((Path(__file__).parents[2] / "recipes" / "lowdose.toml").read_text())
    plan = plan_of(recipe)
    assert isinstance(plan, LowDosePlan)
    for label in ("U-Net 3D", "DDIM-SPECT", "DDSPECT"):
        assert set(plan[label].arguments["settings"]) == set(plan.settings) - set(plan.held_out)
    assert "settings" not in plan["DiffSPECT-3D"].arguments
    learned = [entry for entry in plan.entries if entry.method in ("unet3", "ddim_spect", "ddspect")]
    assert len(learned) == 6
    assert all(entry.using["balance"] for entry in learned)
    samplers = [entry for entry in plan.entries if entry.method in ("ddim_spect", "ddspect", "diffusion_mbir")]
    assert [entry.using["steps"] for entry in samplers] == [8] * 6
    assert plan["DiffusionMBIR"].weights == "DiffSPECT-3D"
    assert plan["DiffusionMBIR, no CT"].weights is None
    quick = plan_of(recipe).quickly()
    assert isinstance(quick, LowDosePlan)
    assert (quick.settings, quick.held_out) == (("5%", "10%", "5 views"), ("10%", "5 views"))
    with pytest.raises(BadArgument, match="task 'pet'"):
        plan_of({**recipe, "task": "pet"})
