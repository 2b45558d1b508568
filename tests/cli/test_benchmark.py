import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from photopeak.cli.benchmark import part_of
from photopeak.cli.benchmark_run import answered, read_scores, train_run
from photopeak.core import COUNTS, Method, Study, Volume
from photopeak.evaluate.benchmark import Entry, Plan, Run
from photopeak.io import save, write_manifest
from photopeak.io.cohort import Cohort, Scan, open_cohort
from photopeak.methods.mean_acf import MeanFactor

Command = Callable[..., subprocess.CompletedProcess[str]]

RECIPE = """
reference = "mean"
truths = ["ac_clean"]

[volumes]
ac = "ac_clean"

[[entry]]
label = "mean"
method = "mean_acf"

[[entry]]
label = "CT in register"
method = "osem"
arguments = { makes = "ac" }
sees = { mu = "mu_true" }

[[entry]]
label = "broken"
method = "unet"
arguments = { levels = 3 }
"""


@pytest.fixture
def cohort(patient: Study, tmp_path: Path) -> Path:
    folder = tmp_path / "cohort"
    splits = {"a": "train", "b": "train", "c": "test", "d": "test"}
    for name in splits:
        save(patient, folder / name)
    write_manifest(folder, splits, about={"simulated": True})
    return folder


def test_methods_are_scored_and_a_failure_is_told_and_nothing_is_done_twice(
    run: Command, cohort: Path, tmp_path: Path
) -> None:
    recipe, out = tmp_path / "recipe.toml", tmp_path / "out"
    recipe.write_text(RECIPE)
    done = run("benchmark", recipe, cohort, "-o", out)
    assert done.returncode == 1, done.stderr
    text = (out / "tables.md").read_text()
    assert "no row for broken: BadArgument" in text
    assert "n = 2 persons" in text
    record = json.loads((out / "scores.json").read_text())
    rows = {name: next(iter(one["scans"].values()))["scores"]["ac_clean"] for name, one in record["runs"].items()}
    assert rows["mean"]["heart NRMSE"] < rows["NAC"]["heart NRMSE"]
    lines = out / "runs" / "nac-0" / "scores-test.jsonl"
    first, second = lines.read_text().splitlines(keepends=True)
    told = first.replace('"seconds": 0.0', '"seconds": 0.5')
    lines.write_text(told + second[:40])
    run("benchmark", recipe, cohort, "-o", out, "--only", "mean")
    again = lines.read_text().splitlines(keepends=True)
    assert again[0] == told
    assert json.loads(again[1])["scores"] == json.loads(second)["scores"]


def test_a_line_that_a_kill_cut_short_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "scores-test.jsonl").write_text('{"scan": "a", "made": "x"}\n{"scan": "b", "ma')
    assert set(read_scores(tmp_path, "test")) == {"a"}


class _Spy(Method):
    name, reads, writes = "spy", ("nac", "mu"), ("ac",)

    def make(self, study: Study) -> dict[str, Volume]:
        assert set(study) == {"nac", "mu"}
        assert not study.projections
        assert not {"truth", "patient"} & set(study.facts)
        return {"ac": study["nac"].with_data(study["mu"].data, COUNTS)}


def test_a_method_sees_what_it_reads_and_nothing_else(patient: Study) -> None:
    answer = answered(patient, _Spy(), {"mu": "mu_true"})["answer"]
    assert bool((answer.data == patient["mu_true"].data).all())
    assert "answer_sd" not in answered(patient, None, {})


@pytest.mark.parametrize("text", ["reference = ", 'reference = "x"\n[[entry]]\nlabel = "y"\nmethod = "unet"'])
def test_bad_recipes_are_refused(run: Command, cohort: Path, tmp_path: Path, text: str) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text)
    failed = run("benchmark", recipe, cohort, "-o", tmp_path / "out")
    assert failed.returncode == 2
    assert not (tmp_path / "out").exists()


def test_what_ships_of_a_heart_has_the_domain_and_the_calibration_of_eight_samples(
    patient: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = {"a": "train", "b": "validation", "c": "validation"}
    for name in splits:
        save(patient, tmp_path / "cohort" / name)
    write_manifest(tmp_path / "cohort", splits, about={"simulated": True})
    cohort, asked = open_cohort(tmp_path / "cohort"), []
    using = MeanFactor.using

    def counted(self: MeanFactor, **settings: int) -> MeanFactor:
        asked.append(settings)
        return using(self, **settings)

    monkeypatch.setattr(MeanFactor, "using", counted)
    entry = Entry("mean", "mean_acf", using={"samples": 2}, ships=True)
    train_run(
        Plan((entry,), "mean", volumes={"ac": "ac_clean"}, budget={"max_steps": 1}),
        Run(entry, 1),
        cohort.split("train"),
        tmp_path / "run",
        {},
        tmp_path / "keep",
        cohort.split("validation"),
    )
    card = MeanFactor.restored(tmp_path / "run" / "weights.safetensors").card
    assert card["domain"]["voxel_mm"] == 6.4
    assert set(card["calibration"]) == {"floor", "spread", "local", "reach", "studies"}
    assert asked[-1] == {"samples": 8}, "as it always was, whatever an entry is scored with"


def test_too_few_persons_are_told_before_anything_is_trained(run: Command, cohort: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    write_manifest(cohort, {"a": "train", "b": "train", "c": "test", "d": "validation"}, about={"simulated": True})
    failed = run("benchmark", recipe, cohort, "-o", tmp_path / "out")
    assert failed.returncode == 2
    assert "1 test persons" in failed.stderr
    assert not (tmp_path / "out").exists()


def test_one_scan_of_each_person_by_turns(tmp_path: Path) -> None:
    scans = {f"{person}_{state}": Scan("test", person, state) for person in "abc" for state in ("rest", "stress")}
    cohort = Cohort(tmp_path, scans, about={})
    assert part_of(cohort, "test", None, one_scan_each=True).names == ("a_rest", "b_stress", "c_rest")
    assert part_of(cohort, "test", 2).names == ("a_rest", "a_stress", "b_rest", "b_stress")
