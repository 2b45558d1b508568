import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from photopeak.cli.simulate import simulate, simulate_person
from photopeak.core import Study
from photopeak.io import open_cohort

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def person() -> tuple[Study, Study]:
    return simulate_person("patient_0001", number=1, seed=3, nosc=True)


def test_cohort_is_complete_resumable_and_deterministic(run: Run, person: tuple[Study, Study], tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    first = run("simulate", folder, "--studies", 2, "--seed", 3)
    assert first.returncode == 0, first.stderr
    cohort = {study.name: study for study in open_cohort(folder)}
    assert set(cohort) == {f"patient_000{n}_{state}" for n in (0, 1) for state in ("stress", "rest")}
    for study in person:
        saved = cohort[study.name]
        assert {"nac", "ac", "ac_clean", "mu", "mu_true", "lv"} <= set(saved.volumes)
        assert all(torch.equal(saved[name].data, study[name].data) for name in saved)
    kept = (folder / "patient_0000_rest" / "study.json").stat().st_mtime_ns
    more = run("simulate", folder, "--studies", 3, "--seed", 3)
    assert "2 of 3 people are there already" in more.stdout
    assert (folder / "patient_0000_rest" / "study.json").stat().st_mtime_ns == kept
    assert len(open_cohort(folder)) == 6


def _is_running(process: str) -> bool:
    stat = Path(f"/proc/{process}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_run_goes_on_and_leaves_no_worker(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    arguments = ["simulate", str(folder), "--studies", "2", "--seed", "3", "--workers", "1"]
    process = subprocess.Popen([sys.executable, "-m", "photopeak", *arguments], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (folder / "patient_0000_stress" / "study.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(map(_is_running, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_is_running, children))
    again = run(*arguments)
    assert again.returncode == 0, again.stderr
    cohort = open_cohort(folder)
    assert len(cohort) == 4
    assert all(study.facts["person"] in ("patient_0000", "patient_0001") for study in cohort)


def test_stress_alone_is_the_stress_of_the_person(person: tuple[Study, Study]) -> None:
    alone = simulate("patient_0001", number=1, seed=3)
    assert all(torch.equal(alone[name].data, person[0][name].data) for name in alone)
    assert alone.facts["heart"] == person[0].facts["heart"]


def test_both_scans_are_of_one_anatomy(person: tuple[Study, Study]) -> None:
    stress, rest = person
    assert (stress.facts["state"], rest.facts["state"]) == ("stress", "rest")
    assert stress.facts["person"] == rest.facts["person"] == "patient_0001"
    assert stress.facts["truth"]["long_axis"] == rest.facts["truth"]["long_axis"]
    assert stress.facts["heart"] == rest.facts["heart"]
    assert torch.equal(stress["lv"].data, rest["lv"].data)
    assert not torch.equal(stress["mu"].data, rest["mu"].data)


def test_scatter_left_in_raises_the_image(person: tuple[Study, Study]) -> None:
    stress, _ = person
    assert float(stress["ac_nosc"].data.sum()) > 1.2 * float(stress["ac"].data.sum())


def test_a_perfect_correction_gives_the_activity_back(person: tuple[Study, Study]) -> None:
    stress, _ = person
    inside = (slice(6, -6), slice(20, -20), slice(20, -20))
    given, back = (stress[name].numpy()[inside] for name in ("activity", "ac_clean"))
    assert back.sum() == pytest.approx(given.sum(), rel=0.05)
    assert np.corrcoef(given.ravel(), back.ravel())[0, 1] > 0.85


def test_history_and_truth_travel(run: Run, tmp_path: Path) -> None:
    run("simulate", tmp_path / "c", "--studies", 1)
    record = json.loads((tmp_path / "c" / "patient_0000_rest" / "study.json").read_text())
    assert len(record["facts"]["truth"]["segments"]) == 17
    assert [step["by"] for step in record["history"]] == ["simulate.acquire", "osem", "osem", "osem"]
