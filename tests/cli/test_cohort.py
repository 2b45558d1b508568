"""``photopeak cohort``: exit status, what is printed, and what is kept."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from photopeak.cli.cohort import STATISTICS_SCHEMA
from photopeak.core import Study
from photopeak.evaluate.scan_facts import ScanFacts
from photopeak.io import save, write_manifest
from photopeak.io.store import file_sha256

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cohort(patient: Study, tmp_path: Path) -> Path:
    """Stress and rest of one person, and one scan of another."""
    folder = tmp_path / "cohort"
    entries = {
        f"{person}_{state}": {"split": split, "person": person, "state": state}
        for person, split, state in (("a", "train", "stress"), ("a", "train", "rest"), ("b", "test", "rest"))
    }
    for name in entries:
        save(replace(patient, name=name), folder / name)
    write_manifest(folder, entries, about={"simulated": True})
    return folder


def test_verify_says_what_is_wrong_and_fails(run: Run, cohort: Path) -> None:
    sound = run("cohort", "verify", cohort)
    assert (sound.returncode, sound.stdout) == (0, "3 of 3 studies are whole; 0 files are not as they should be\n")
    path = cohort / "b_rest" / "volume-nac.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    (cohort / "a_rest" / "volume-mu.npy").unlink()
    (cohort / ".12ab.partial").mkdir()
    wrong = run("cohort", "verify", cohort)
    assert wrong.returncode == 1
    assert "b_rest/volume-nac.npy damaged: its SHA-256 is not the one in study.json" in wrong.stdout
    assert "a_rest/volume-mu.npy missing: study.json names it" in wrong.stdout
    assert ".12ab.partial extra" in wrong.stdout
    assert "1 of 3 studies are whole; 3 files" in wrong.stdout
    assert run("cohort", "verify", cohort / "a_rest").returncode == 2


def test_check_measures_once_prints_the_rows_and_writes_the_card(run: Run, cohort: Path, tmp_path: Path) -> None:
    card = tmp_path / "out" / "card.html"
    first = run("cohort", "check", cohort, "--html", card)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "AC / NAC in the left ventricle" in first.stdout
    assert "too few" in first.stdout
    assert card.read_text().startswith("<!DOCTYPE html>")
    kept = cohort / "statistics.json"
    record = json.loads(kept.read_text())
    assert set(record["studies"]) == {"a_rest", "a_stress", "b_rest"}
    assert record["studies"]["b_rest"]["facts"]["person"] == "b"
    record["studies"]["b_rest"]["facts"]["factor"] = 97.0
    kept.write_text(json.dumps(record))
    again = run("cohort", "check", cohort)
    assert "measuring" not in again.stdout
    assert json.loads(kept.read_text())["studies"]["b_rest"]["facts"]["factor"] == 97.0, "not measured again"


def test_check_leaves_damaged_scans_out_and_fails_outside_a_band(run: Run, cohort: Path) -> None:
    names = [f"b{number}" for number in range(9)]
    for name in names:
        shutil.copytree(cohort / "b_rest", cohort / name)
    write_manifest(cohort, dict.fromkeys([*names, "gone"], "train"), about={"simulated": True})
    digest = file_sha256(cohort / "b_rest" / "study.json")
    known = {name: {"sha256": digest, "facts": ScanFacts(person=name, factor=5.0).to_dict()} for name in names}
    (cohort / "statistics.json").write_text(json.dumps({"schema": STATISTICS_SCHEMA, "studies": known}))
    checked = run("cohort", "check", cohort)
    assert checked.returncode == 1
    assert "left out: gone/study.json missing" in checked.stdout
    assert "fail" in checked.stdout
