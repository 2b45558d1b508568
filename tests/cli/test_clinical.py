"""The command: small cohorts of one simulated heart with noise, where what must come out is known."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from photopeak.cli import clinical
from photopeak.core import Step, Study, Volume
from photopeak.io import save, write_manifest
from photopeak.io.cohort import open_cohort

Run = Callable[..., subprocess.CompletedProcess[str]]
KEPT = ("nac", "ac", "ac_clean", "mu_true")
HOLE = {"territory": "LAD"}


def scan(patient: Study, ill: bool, generator: torch.Generator) -> Study:
    """The patient's images with 2 % of noise; those said to be ill have the same images and another truth."""
    noisy = {
        name: volume.with_data(volume.data * (1 + 0.02 * torch.randn(volume.data.shape, generator=generator)))
        for name, volume in patient.volumes.items()
        if name in KEPT
    }
    truth = {**patient.facts["truth"], "segments": [0.5 if ill and i == 6 else 1.0 for i in range(17)]}
    told = {**patient.facts["patient"], "defects": [HOLE] if ill else []}
    return Study("p", noisy, facts={**patient.facts, "truth": truth, "patient": told})


@pytest.fixture(scope="module")
def cohort(patient: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """9 normals for the limits; 6 normal and 6 ill persons to be assessed."""
    folder, generator = tmp_path_factory.mktemp("clinical") / "c", torch.Generator().manual_seed(0)
    entries = {}
    for number in range(21):
        name = f"patient_{number:02d}"
        save(scan(patient, number >= 15, generator), folder / name)
        entries[name] = {"split": "test" if number >= 9 else "validation", "person": name, "state": "stress"}
    write_manifest(folder, entries, about={"simulated": True})
    return folder


def test_the_command_writes_the_page_the_record_and_the_table(run: Run, cohort: Path, tmp_path: Path) -> None:
    done = run("clinical", cohort, "-o", tmp_path / "out", "--break-even", 0)
    assert done.returncode == 0, done.stderr
    assert (
        "n = 12 scans, 6 without a defect; areas of 6 scans with and 6 without one; reference = ac_clean" in done.stdout
    )
    record = json.loads((tmp_path / "out" / "clinical.json").read_text())
    assert record["about"]["normals"] == "9 scans without a defect, 9 persons, validation split"
    assert set(record["images"]) == set(record["observer"]) == {"nac", "ac", "ac_clean"}
    assert record["images"]["ac_clean"]["segment_error"] == [0, 0, 0]
    assert record["images"]["nac"]["segment_error"][0] > record["images"]["ac"]["segment_error"][0] > 0
    assert record["images"]["nac"]["true_contrast_slope"] is None  # the truth is the same in all that are ill
    assert record["break_even_mm"] == {}
    assert "test split of c, 12 persons" in (tmp_path / "out" / "clinical.html").read_text()


def test_one_split_is_not_both(run: Run, cohort: Path, tmp_path: Path) -> None:
    failed = run("clinical", cohort, "-o", tmp_path, "--split", "validation")
    assert failed.returncode == 2
    assert "two splits" in failed.stderr


def test_normals_are_those_without_a_defect(cohort: Path) -> None:
    opened = open_cohort(cohort)
    assert len(clinical.without_defects(opened)) == 15
    assert clinical.without_defects(opened, 4).names == opened.names[:4]
    assert "have seen them" in clinical.normals_told(opened, "train")


def test_short_names_keep_weights_apart_and_folders_out() -> None:
    labels = ["padm=/a/b/x/w.safetensors:steps=1", "padm=/a/y/w.safetensors:steps=1", "chang"]
    assert clinical.short_names(labels) == dict(zip(("padm:steps=1", "padm:steps=1 2", "chang"), labels, strict=True))
    assert clinical.weights_told(labels[0]) == "padm, x/w.safetensors:steps=1"
    assert clinical.weights_told("padm") == "padm, as shipped"


def test_ct_ac_is_remade_as_the_cohort_made_it(patient: Study) -> None:
    made = clinical._corrected(patient, patient["mu"])
    torch.testing.assert_close(made.data, patient["ac"].data, rtol=1e-3, atol=1e-3 * float(patient["ac"].data.max()))


def test_break_even_of_methods_and_of_nac(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CT-AC that is the reference where its map is in register, and is wrong as far as the map differs."""

    def corrected(study: Study, mu: Volume) -> Volume:
        clean = study["ac_clean"]
        return clean.with_data(clean.data * torch.exp(4 * (mu.data - study["mu_true"].data)))

    monkeypatch.setattr(clinical, "_corrected", corrected)

    class Perfect:
        reads, writes, reads_projections = ("nac", "ac_clean"), ("ac",), ()

        def __call__(self, study: Study) -> Study:
            assert set(study) == set(self.reads)
            assert not {"truth", "patient"} & set(study.facts)
            return study.add({"ac": study["ac_clean"]}, Step(("ac",), "perfect"))

    studies = open_cohort(cohort)[:3]
    scans = clinical._measured(studies, {"perfect": Perfect()}, ("nac", "ac_clean", "perfect"))
    even = clinical._break_even(studies, scans, ("nac", "perfect"), "ac_clean", 2)
    assert [curve.errors.shape for curve in even.curves] == [(3, 5)] * 2
    assert all(curve.mean[0] == pytest.approx(0, abs=1e-4) and curve.mean[-1] > 0.5 for curve in even.curves)
    found = even.intervals(torch.Generator().manual_seed(0))
    assert found["perfect"].estimate == pytest.approx(0, abs=0.1)
    assert found["nac"].estimate > 3
