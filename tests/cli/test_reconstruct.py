"""``photopeak reconstruct``: from raw data to the image that the same method makes in Python."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
import torch

from photopeak.cli import main
from photopeak.core import COUNTS, HU, EnergyWindow, Grid, Projections, Step, Study, Volume, attenuation
from photopeak.core.units import TC99M_KEV
from photopeak.io import load, save
from photopeak.io.dicom_nm_tomo import read_nm_tomo
from photopeak.io.dicom_nm_tomo_write import write_nm_tomo
from photopeak.io.dicom_nm_write import write_nm
from photopeak.io.nifti import write_nifti
from photopeak.methods.osem import Osem
from photopeak.physics.mumap import mu_from_ct
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.windows import triple_energy_window

Run = Callable[..., subprocess.CompletedProcess[str]]
FEW = ("--iterations", 2, "--subsets", 4)
GRID = Grid.regular((6, 16, 16), 8.0)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process, which need not import everything each time."""

    def photopeak(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["photopeak", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, int(ended.value.code or 0), told.out, told.err)

    return photopeak


@pytest.fixture(scope="module")
def small() -> Study:
    """A hot block to the left of the front in a uniform box, seen by 24 views with two gates' worth of noise."""
    generator = torch.Generator().manual_seed(2)
    camera = ParallelHole.circular(views=24, shape=(6, 16), pixel_mm=8.0, radius_mm=150.0)
    body = torch.zeros(GRID.shape)
    body[:, 4:12, 3:13] = 1.0
    activity = 4 * body
    activity[2:5, 5:8, 9:12] = 60
    mu = Volume(0.15 * body, GRID, attenuation(TC99M_KEV))
    expected = camera.system(GRID, mu)(activity)
    seen = {name: Projections(torch.poisson(expected, generator=generator), camera) for name in ("gate_1", "gate_2")}
    raw = seen["gate_1"].with_counts(sum(one.counts for one in seen.values()))
    study = Study("small", projections={"raw": raw, **seen}, facts={"simulated": True})
    return study.add({"mu": mu}, Step(("mu",), "a test"))


@pytest.fixture
def tomo(small: Study, tmp_path: Path) -> Path:
    return write_nm_tomo(small.projections, tmp_path / "raw.dcm", patient="small")


@pytest.fixture
def mu_file(small: Study, tmp_path: Path) -> Path:
    return write_nifti(small["mu"], tmp_path / "mu.nii.gz")


def close(found: Volume, expected: Volume, tolerance: float = 1e-6) -> bool:
    difference = float((found.data - expected.data).norm())
    return found.grid.same_as(expected.grid) and difference <= tolerance * float(expected.data.norm())


def test_dicom_gives_what_python_gives(run: Run, small: Study, tomo: Path, dciodvfy: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("reconstruct", tomo, "-o", out, *FEW)
    assert done.returncode == 0, done.stderr
    expected = Osem("nac", iterations=2, subsets=4)(small)["nac"]
    made = load(out / "nac.nii.gz", as_="nac")["nac"]
    assert close(made, expected)
    assert close(load(out / "dicom" / "nac.dcm")["nac"], expected, 1e-3)
    told = subprocess.run([dciodvfy, out / "dicom" / "nac.dcm"], capture_output=True, text=True, check=False)
    assert "Error" not in told.stdout + told.stderr
    original, derived = pydicom.dcmread(tomo), pydicom.dcmread(out / "dicom" / "nac.dcm")
    assert derived.StudyInstanceUID == original.StudyInstanceUID
    assert derived.SeriesDescription == "RESEARCH OSEM NAC"
    log = (out / "log.txt").read_text()
    assert log.startswith("Research software. Not a medical device.")
    assert "iterations: 2" in log
    assert "input sop_sha256: " in log
    hot = torch.nonzero(made.data == made.data.max())[0].double().numpy()
    x, y, _ = made.grid.world(hot)
    assert x > 0 > y


def test_attenuation_is_corrected(run: Run, small: Study, tomo: Path, mu_file: Path, tmp_path: Path) -> None:
    done = run("reconstruct", tomo, "-o", tmp_path / "out", "--mu", mu_file, *FEW)
    assert done.returncode == 0, done.stderr
    expected = Osem("ac", iterations=2, subsets=4, scatter=None)(small)["ac"]
    assert close(load(tmp_path / "out" / "ac.nii.gz", as_="ac")["ac"], expected)
    assert pydicom.dcmread(tmp_path / "out" / "dicom" / "ac.dcm").CorrectedImage == "ATTN"
    assert not (tmp_path / "out" / "nac.nii.gz").exists()


def test_saved_study_with_its_own_mu_and_scatter(run: Run, small: Study, tmp_path: Path) -> None:
    raw = small.projections["raw"]
    scatter = raw.with_counts(torch.full_like(raw.counts, 0.5))
    study = Study(small.name, small.volumes, {"raw": raw, "scatter": scatter}, small.facts)
    source = save(study, tmp_path / "study")
    done = run("reconstruct", source, "-o", tmp_path / "out", "--mu", source, "--scatter", "known", *FEW)
    assert done.returncode == 0, done.stderr
    expected = Osem("ac", iterations=2, subsets=4)(study)["ac"]
    assert close(load(tmp_path / "out" / "ac.nii.gz", as_="ac")["ac"], expected)
    assert str(pydicom.dcmread(tmp_path / "out" / "dicom" / "ac.dcm").PatientName) == "SIMULATED^small"


def test_scatter_from_side_windows(run: Run, small: Study, mu_file: Path, tmp_path: Path) -> None:
    """A flat half count of scatter per keV under the photopeak is what the windows beside it measure."""
    raw = small.projections["raw"]
    width = raw.window.upper_kev - raw.window.lower_kev
    flat = torch.full_like(raw.counts, 7.0)
    sides = {"lower": Projections(flat, raw.camera, EnergyWindow(112.0, 126.0))}
    sides["upper"] = Projections(flat, raw.camera, EnergyWindow(155.0, 169.0))
    source = write_nm_tomo({"raw": raw, **sides}, tmp_path / "tew.dcm", patient="1")
    done = run("reconstruct", source, "-o", tmp_path / "out", "--mu", mu_file, "--scatter", "tew", *FEW)
    assert done.returncode == 0, done.stderr
    known = triple_energy_window(sides["lower"], raw, sides["upper"], smooth_fwhm_px=3.0)
    assert float(known.counts.mean()) == pytest.approx(0.5 * width)
    study = Study("known", small.volumes, {"raw": raw, "scatter": known})
    expected = Osem("ac", iterations=2, subsets=4)(study)["ac"]
    assert close(load(tmp_path / "out" / "ac.nii.gz", as_="ac")["ac"], expected, 1e-5)
    assert list(pydicom.dcmread(tmp_path / "out" / "dicom" / "ac.dcm").CorrectedImage) == ["ATTN", "SCAT"]
    bare = write_nm_tomo(raw, tmp_path / "bare.dcm", patient="1")
    failed = run("reconstruct", bare, "-o", tmp_path / "none", "--mu", mu_file, "--scatter", "tew")
    assert failed.returncode == 2
    assert "lower" in failed.stderr


def test_mu_on_another_grid_is_averaged_onto_this_one(
    run: Run, small: Study, tomo: Path, mu_file: Path, tmp_path: Path
) -> None:
    """Voxels of half the size, whose mean over each voxel is mu itself, and 40 mm too far to the left."""
    fine = small["mu"].data.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)
    shifted = Grid.regular(fine.shape, 4.0, centre_mm=(40.0, 0.0, 0.0))
    source = write_nifti(Volume(fine, shifted, attenuation(TC99M_KEV)), tmp_path / "fine.nii.gz")
    for out, mu, more in (("same", mu_file, ()), ("fine", source, ("--mu-shift-mm", -40, 0, 0))):
        done = run("reconstruct", tomo, "-o", tmp_path / out, "--mu", mu, *more, *FEW)
        assert done.returncode == 0, done.stderr
    one, two = (load(tmp_path / out / "ac.nii.gz", as_="ac")["ac"] for out in ("same", "fine"))
    assert close(one, two, 1e-5)
    log = (tmp_path / "fine" / "log.txt").read_text()
    assert "warning: mu was resampled" in log
    assert "shift_mm=[-40.0, 0.0, 0.0]" in log


def test_a_ct_becomes_mu_by_its_tube_voltage(run: Run, small: Study, tomo: Path, tmp_path: Path) -> None:
    hounsfield = torch.where(small["mu"].data > 0, 0.0, -1000.0)
    ct = {"ct": Volume(hounsfield, GRID, HU)}
    source = save(Study("ct", ct, facts={"kvp": 120.0}), tmp_path / "ct")
    done = run("reconstruct", tomo, "-o", tmp_path / "out", "--mu", source, *FEW)
    assert done.returncode == 0, done.stderr
    mu = mu_from_ct(ct["ct"], kvp=120.0)
    expected = Osem("ac", iterations=2, subsets=4, scatter=None)(small.add({"mu": mu}, Step(("mu",), "a test")))["ac"]
    assert close(load(tmp_path / "out" / "ac.nii.gz", as_="ac")["ac"], expected)
    assert "mu_from_ct at 120 kVp" in (tmp_path / "out" / "log.txt").read_text()
    failed = run("reconstruct", tomo, "-o", tmp_path / "none", "--mu", save(Study("ct", ct), tmp_path / "unknown"))
    assert failed.returncode == 2
    assert "(0018,0060)" in failed.stderr


def test_one_gate_and_every_method(run: Run, small: Study, tomo: Path, tmp_path: Path) -> None:
    done = run("reconstruct", tomo, "-o", tmp_path / "gate", "--gate", 2, *FEW, "--recover", "--cutoff", 0)
    assert done.returncode == 0, done.stderr
    expected = Osem("nac", counts="gate_2", iterations=2, subsets=4, recover=True, cutoff_per_cm=None)(small)["nac"]
    assert close(load(tmp_path / "gate" / "nac.nii.gz", as_="nac")["nac"], expected)
    assert "GATE 2" in pydicom.dcmread(tmp_path / "gate" / "dicom" / "nac.dcm").SeriesDescription
    for method, settings in (("mlem", ("--iterations", 2)), ("map", ("--iterations", 1)), ("fbp", ())):
        done = run("reconstruct", tomo, "-o", tmp_path / method, "--method", method, *settings)
        assert done.returncode == 0, done.stderr
        made = load(tmp_path / method / "nac.nii.gz", as_="nac")["nac"].data
        assert made[2:5, 5:8, 9:12].mean() > 2 * made[2:5, 5:8, 4:7].mean()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--method", "sirt"), "sirt"),
        (("--method", "fbp", "--subsets", 3), "subsets"),
        (("--gate", 5), "gate"),
        (("--scatter", "known"), "--mu"),
        (("--scatter", "esse"), "--scatter"),
        (("--mu", "nowhere.nii.gz"), "nowhere"),
        (("--window", 4), "asked for 4"),
        (("--position", "HFP"), "HFP"),
        (("--collimator", "mesh"), "mesh"),
        (("--subsets", 400), "400"),
    ],
)
def test_options_that_do_not_fit(run: Run, tomo: Path, options: tuple[object, ...], told: str, tmp_path: Path) -> None:
    failed = run("reconstruct", tomo, "-o", tmp_path / "out", *options)
    assert failed.returncode == 2, failed.stdout
    assert told in failed.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw.dcm"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [("far away", "900.0"), ("HU", "mu_from_ct"), ("image", "counts"), ("no mu", "as --mu")],
)
def test_mu_that_is_none(run: Run, small: Study, tomo: Path, kind: str, told: str, tmp_path: Path) -> None:
    data, mu = small["mu"].data, attenuation(TC99M_KEV)
    if kind == "far away":
        grid = Grid.regular(GRID.shape, 8.0, centre_mm=(0, 0, 900))
        source = write_nifti(Volume(data, grid, mu), tmp_path / "mu.nii.gz")
    elif kind == "HU":
        source = write_nifti(Volume(data * 300 + 40, GRID, mu), tmp_path / "mu.nii.gz")
    elif kind == "image":
        source = write_nm(Volume(data * 100, GRID, COUNTS), tmp_path / "mu.dcm", patient="1", series_description="X")
    else:
        source = save(Study("none", projections=small.projections), tmp_path / "mu")
    failed = run("reconstruct", tomo, "-o", tmp_path / "out", "--mu", source)
    assert failed.returncode == 2, failed.stdout
    assert told in failed.stderr
    assert not (tmp_path / "out").exists()


def test_recovery_needs_collimator_and_radius(run: Run, tomo: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(tomo)
    del dataset.DetectorInformationSequence[0].RadialPosition
    dataset.save_as(tomo)
    failed = run("reconstruct", tomo, "-o", tmp_path / "out", "--recover")
    assert failed.returncode == 2
    assert "(0018,1142)" in failed.stderr
    done = run("reconstruct", tomo, "-o", tmp_path / "out", "--recover", "--radius-mm", 150, *FEW)
    assert done.returncode == 0, done.stderr
    done = run("reconstruct", tomo, "-o", tmp_path / "plain", *FEW)
    assert "no resolution is modelled" in done.stdout


def test_images_are_no_projections(run: Run, small: Study, tmp_path: Path) -> None:
    image = small["mu"].with_data(small["mu"].data * 100, COUNTS)
    dicom, nifti = write_nm(image, tmp_path / "a.dcm", patient="1"), write_nifti(image, tmp_path / "a.nii.gz")
    saved = save(Study("image").add({"nac": image}, Step(("nac",), "a test")), tmp_path / "study")
    for source, told in ((dicom, "(0008,0008)"), (nifti, "(0008,0008)"), (saved, "no projections")):
        failed = run("reconstruct", source, "-o", tmp_path / "out")
        assert failed.returncode == 2
        assert told in failed.stderr
    assert not (tmp_path / "out").exists()


def test_other_isotopes_need_no_mu_of_technetium(run: Run, small: Study, mu_file: Path, tmp_path: Path) -> None:
    raw = small.projections["raw"]
    thallium = type(raw)(raw.counts, raw.camera, EnergyWindow(60, 82))
    source = write_nm_tomo(thallium, tmp_path / "tl.dcm", patient="1", facts={"isotope": "Tl-201"})
    assert read_nm_tomo(source).facts["isotope"] == "Tl-201"
    failed = run("reconstruct", source, "-o", tmp_path / "out", "--mu", mu_file)
    assert failed.returncode == 2
    assert "Tl-201" in failed.stderr


def test_what_lies_there_is_not_lost(run: Run, tomo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("reconstruct", tomo, "-o", out, *FEW).returncode == 0
    assert run("reconstruct", tomo, "-o", out, *FEW).returncode == 0
    (out / "notes.txt").write_text("mine")
    failed = run("reconstruct", tomo, "-o", out, *FEW)
    assert failed.returncode == 2
    assert "notes.txt" in failed.stderr
    assert (out / "notes.txt").read_text() == "mine"
