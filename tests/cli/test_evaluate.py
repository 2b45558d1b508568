import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from photopeak.cli.evaluate import score_table
from photopeak.core import Study
from photopeak.io import save, write_manifest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cohort(patient: Study, tmp_path: Path) -> Path:
    folder = tmp_path / "cohort"
    names = ("patient_0000", "patient_0001")
    for name in names:
        save(patient, folder / name)
    write_manifest(folder, dict.fromkeys(names, "test"), about={"simulated": True})
    return folder


def test_table_has_every_patient_and_every_method(run: Run, cohort: Path, small_weights: Path, tmp_path: Path) -> None:
    label = f"padm={small_weights}:steps=1"
    done = run("evaluate", cohort, "-m", label, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "n = 2 patients" in done.stdout
    scores = json.loads((tmp_path / "out" / "ac.json").read_text())
    assert set(scores) == {"nac", label}
    assert all(len(rows) == 2 for rows in scores.values())
    row = scores["nac"]["patient_0000"]
    assert 5 < row["heart NRMSE"] < 60
    assert (tmp_path / "out" / "ac.md").read_text().count("\n| ") == 3


def test_ratio_in_the_table_is_to_nac() -> None:
    scores = {
        "nac": {"a": {"heart NRMSE": 20.0}, "b": {"heart NRMSE": 30.0}},
        "half": {"a": {"heart NRMSE": 10.0}, "b": {"heart NRMSE": 15.0}},
    }
    assert "[0.500]" in score_table(scores, truth="ac")


@pytest.mark.parametrize("label", ["padm:steps", "padm:steps=x", "nothing"])
def test_bad_method_labels_are_refused(run: Run, cohort: Path, label: str) -> None:
    failed = run("evaluate", cohort, "-m", label)
    assert failed.returncode == 2
