import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from photopeak.cli.correct import correct
from photopeak.core import Study
from photopeak.evaluate import saliency
from photopeak.evaluate.ood import features, found_heart, population
from photopeak.io import load
from photopeak.io.dicom_nm_write import write_nm
from photopeak.io.nifti import write_nifti
from photopeak.methods.padm import PADM

Run = Callable[..., subprocess.CompletedProcess[str]]
REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "nm_cardiac"
SERIES = ("mps_0.dcm", "mps_1.dcm", "mps_2.dcm", "mps_with_mask.dcm")
FEW = ("--steps", 1, "--samples", 2)


def errors(dciodvfy: str, file: Path) -> list[str]:
    told = subprocess.run([dciodvfy, str(file)], capture_output=True, text=True, check=False)
    return [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("series", SERIES)
def test_real_series(run: Run, dciodvfy: str, series: str, tmp_path: Path) -> None:
    source = REAL / series
    if not source.is_file():
        pytest.skip(f"{series} of the shared data is not here")
    out = tmp_path / "out"
    done = run("correct", source, "-o", out, *FEW)
    assert done.returncode == 0, done.stderr
    assert "was not in the training domain" in done.stdout
    assert "differ from the 6.4 mm of training" in done.stdout
    report, log = (out / "report.html").read_text(), (out / "log.txt").read_text()
    assert "was not in the training domain" in report
    assert "was not in the training domain" in log
    assert (out / "dicom" / "nac.dcm").read_bytes() == source.read_bytes()
    nac, ac = load(source, as_="nac")["nac"], load(out / "dicom" / "ac.dcm")["ac"]
    assert ac.grid.same_as(nac.grid)
    for name in ("ac", "ac_sd"):
        assert errors(dciodvfy, out / "dicom" / f"{name}.dcm") == []
        volume = load(out / f"{name}.nii.gz", as_=name)[name] if name == "ac" else None
        assert volume is None or volume.grid.same_as(nac.grid, tolerance_mm=1e-2)
    derived, original = pydicom.dcmread(out / "dicom" / "ac.dcm"), pydicom.dcmread(source)
    assert derived.FrameOfReferenceUID == original.FrameOfReferenceUID
    assert derived.SeriesInstanceUID != original.SeriesInstanceUID
    assert derived.SeriesDescription.startswith("AI-AC RESEARCH")
    assert "ATTN" not in str(derived.get("CorrectedImage", ""))


def test_saved_study_dicom_and_nifti_give_the_same_answer(
    run: Run, saved: Path, patient: Study, small_weights: Path, tmp_path: Path
) -> None:
    dicom = write_nm(patient["nac"], tmp_path / "nac.dcm", patient="fixture")
    nifti = write_nifti(patient["nac"], tmp_path / "nac.nii.gz")
    answers = []
    for number, source in enumerate((saved, dicom, nifti)):
        out = tmp_path / f"out{number}"
        done = run("correct", source, "-o", out, "--weights", small_weights, *FEW)
        assert done.returncode == 0, done.stderr
        answers.append(np.asarray(nibabel.load(out / "ac.nii.gz").dataobj))
        assert (out / "report.html").is_file()
        assert (out / "dicom").is_dir() == (source != nifti)
    peak = answers[0].max()
    assert np.abs(answers[1] - answers[0]).max() < 0.02 * peak
    assert np.abs(answers[2] - answers[0]).max() < 0.02 * peak


def test_nothing_in_the_answer_comes_from_the_truth(
    run: Run, saved: Path, patient: Study, small_weights: Path, tmp_path: Path
) -> None:
    """CT-free: a folder with nothing but NAC on disk gives the same bits as one with mu and AC beside it."""
    bare = load(saved).only("nac")
    from photopeak.io import save

    alone = save(bare, tmp_path / "alone")
    for source, out in ((saved, tmp_path / "a"), (alone, tmp_path / "b")):
        assert run("correct", source, "-o", out, "--weights", small_weights, *FEW).returncode == 0
    assert (tmp_path / "a" / "ac.nii.gz").read_bytes() == (tmp_path / "b" / "ac.nii.gz").read_bytes()
    assert (tmp_path / "a" / "report.html").read_bytes() == (tmp_path / "b" / "report.html").read_bytes()


def _spoil(kind: str, dataset: pydicom.Dataset) -> None:
    if kind == "modality":
        dataset.Modality = "CT"
    elif kind == "static":
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]
    elif kind == "raw tomo":
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]
    elif kind == "all zero":
        dataset.PixelData = bytes(len(dataset.PixelData))
    elif kind == "orientation":
        del dataset.DetectorInformationSequence[0].ImageOrientationPatient
    elif kind == "already corrected":
        dataset.CorrectedImage = ["ATTN"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("modality", "(0008,0060)"),
        ("static", "(0008,0008)"),
        ("raw tomo", "(0008,0008)"),
        ("all zero", "everywhere"),
        ("orientation", "(0020,0037)"),
        ("already corrected", "(0028,0051)"),
        ("cut", "Rows x Columns x Number of Frames"),
        ("not dicom", "DICOM"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(run: Run, patient: Study, kind: str, told: str, tmp_path: Path) -> None:
    source = write_nm(patient["nac"], tmp_path / "nac.dcm", patient="fixture", series_description="SERIES")
    if kind == "cut":
        source.write_bytes(source.read_bytes()[:-5000])
    elif kind == "not dicom":
        source.write_bytes(b"not an image" * 100)
    else:
        dataset = pydicom.dcmread(source)
        _spoil(kind, dataset)
        dataset.save_as(source)
    failed = run("correct", source, "-o", tmp_path / "out")
    assert failed.returncode == 2, failed.stderr
    assert told in failed.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["nac.dcm"]


def test_nan_is_refused(run: Run, patient: Study, tmp_path: Path) -> None:
    data = patient["nac"].data.clone()
    data[3, 4, 5] = float("nan")
    source = write_nifti(patient["nac"].with_data(data), tmp_path / "nan.nii.gz")
    failed = run("correct", source, "-o", tmp_path / "out")
    assert failed.returncode == 2
    assert "NaN" in failed.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["nan.nii.gz"]


def test_one_sample_has_no_sd_series(run: Run, saved: Path, small_weights: Path, tmp_path: Path) -> None:
    done = run("correct", saved, "-o", tmp_path / "out", "--weights", small_weights, "--steps", 1, "--samples", 1)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "out" / "dicom").iterdir()} == {"nac.dcm", "ac.dcm"}
    assert not (tmp_path / "out" / "ac_sd.nii.gz").exists()


@pytest.mark.parametrize("method", ["osem", "padm_teacher", "nothing"])
def test_methods_that_need_more_than_nac_are_refused(run: Run, saved: Path, method: str, tmp_path: Path) -> None:
    failed = run("correct", saved, "-o", tmp_path / "out", "--method", method)
    assert failed.returncode == 2
    assert method in failed.stderr
    assert not (tmp_path / "out").exists()


def test_weights_without_a_card_are_refused(run: Run, saved: Path, tmp_path: Path) -> None:
    PADM(channels=(8, 8, 24)).save(tmp_path / "w.safetensors")
    failed = run("correct", saved, "-o", tmp_path / "out", "--weights", tmp_path / "w.safetensors")
    assert failed.returncode == 2
    assert "card" in failed.stderr


def test_an_earlier_result_is_replaced_and_what_lies_beside_it_is_not(
    run: Run, saved: Path, small_weights: Path, tmp_path: Path
) -> None:
    job = ("correct", saved, "-o", tmp_path / "out", "--weights", small_weights, *FEW)
    assert run(*job).returncode == 0
    assert run(*job).returncode == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    failed = run(*job)
    assert failed.returncode == 2
    assert "notes.txt" in failed.stderr
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_foreign_folder_is_not_overwritten(run: Run, saved: Path, small_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("three years")
    failed = run("correct", saved, "-o", tmp_path / "out", "--weights", small_weights, *FEW)
    assert failed.returncode == 2
    assert (tmp_path / "out" / "thesis.txt").read_text() == "three years"


@pytest.fixture(scope="session")
def knowing_weights(patient: Study, small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small student, with a population of forty people who are much like the fixture patient."""
    found, rng = features(patient["nac"], found_heart(patient)), np.random.default_rng(0)
    people = [{name: value + 0.1 * rng.normal() for name, value in found.items()} for _ in range(40)]
    method = PADM.restored(small_weights)
    known = method.card["domain"] | {"population": population(people, [str(n) for n in range(40)]).to_dict()}
    path = tmp_path_factory.mktemp("knowing") / "padm.safetensors"
    method.save(path, card={**method.card, "domain": known})
    return path


def test_a_mirrored_patient_is_refused_unless_wanted_anyway(
    run: Run, patient: Study, knowing_weights: Path, tmp_path: Path
) -> None:
    nac = patient["nac"]
    source = write_nifti(nac.with_data(nac.data.flip(2)), tmp_path / "mirrored.nii.gz")
    job = ("correct", source, "-o", tmp_path / "out", "--weights", knowing_weights, "--steps", 1, "--samples", 1)
    failed = run(*job)
    assert failed.returncode == 2
    assert "distance from the training scans" in failed.stderr
    assert "--anyway" in failed.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mirrored.nii.gz"]
    answered = run(*job, "--anyway")
    assert answered.returncode == 0, answered.stderr
    told = "Beyond a hard limit and answered all the same: distance from the training scans"
    assert told in (tmp_path / "out" / "log.txt").read_text()
    assert told in (tmp_path / "out" / "report.html").read_text()
    assert (tmp_path / "out" / "ac.nii.gz").is_file()


def test_what_drove_the_correction_is_mapped_when_asked_for(
    patient: Study, knowing_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saliency, "elasticity", partial(saliency.elasticity, block_mm=90.0))
    correct(patient.only("nac"), PADM.restored(knowing_weights), tmp_path / "out", saliency=True, anyway=True)
    drove = np.asarray(nibabel.load(tmp_path / "out" / "saliency.nii.gz").dataobj)
    assert drove.size == patient["nac"].data.numel()
    assert drove.max() > 0
    assert "What drove the correction" in (tmp_path / "out" / "report.html").read_text()
