import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import torch

from photopeak.cli.simulate import simulate
from photopeak.io import open_cohort

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_cohort_is_complete_resumable_and_deterministic(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    first = run("simulate", folder, "--studies", 2, "--seed", 3)
    assert first.returncode == 0, first.stderr
    cohort = open_cohort(folder)
    assert len(cohort) == 2
    assert {"nac", "ac", "ac_clean", "mu", "lv"} <= set(cohort[0].volumes)
    assert torch.equal(cohort[1]["nac"].data, simulate("patient_0001", number=1, seed=3)["nac"].data)
    kept = (folder / "patient_0000" / "study.json").stat().st_mtime_ns
    more = run("simulate", folder, "--studies", 3, "--seed", 3)
    assert "2 of 3 patients are there already" in more.stdout
    assert (folder / "patient_0000" / "study.json").stat().st_mtime_ns == kept
    assert len(open_cohort(folder)) == 3


def test_history_and_truth_travel(run: Run, tmp_path: Path) -> None:
    run("simulate", tmp_path / "c", "--studies", 1)
    record = json.loads((tmp_path / "c" / "patient_0000" / "study.json").read_text())
    assert len(record["facts"]["truth"]["segments"]) == 17
    assert [step["by"] for step in record["history"]] == ["simulate.acquire", "osem", "osem", "osem"]
