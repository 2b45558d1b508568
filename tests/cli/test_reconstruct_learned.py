"""``photopeak reconstruct --method diffspect`` with an untrained prior, on a heart in front of three pinholes."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch

from photopeak.cli import main
from photopeak.cli.mu_free import map_network, with_predicted_mu
from photopeak.cli.reconstruct_learned import is_learned, measured_views
from photopeak.cli.simulate_pinhole import clear_of_pinholes
from photopeak.core import COUNTS, Grid, Projections, Step, Study, Volume, attenuation
from photopeak.core.errors import BadArgument, BadCheckpoint, BadValues
from photopeak.core.random import stream
from photopeak.io import load, save
from photopeak.io.nifti import write_nifti
from photopeak.methods import shipped_weights
from photopeak.methods.diffspect import DiffSpect
from photopeak.methods.indirect import Indirect
from photopeak.physics.pinhole import Pinhole
from photopeak.physics.support import Within
from photopeak.simulate.dose import poisson

Run = Callable[..., subprocess.CompletedProcess[str]]
FEED = {"shape": (8, 16, 16), "voxel_mm": 12.0, "level_radius_mm": 40.0, "peak": 2.0}
GRID = Grid.regular((8, 16, 16), 12.0)
CAMERA = replace(Pinhole.named("dnm_530c").few(3), shape=(12, 12), pixel_mm=6.56)
HEART = {"centre_mm": [0.0, 0.0, 0.0], "long_axis": [0.6, -0.7, -0.4]}
FOUND = {**HEART, "outer_radius_mm": 36.0, "length_mm": 76.0, "confidence": 0.9}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process, which need not import everything each time."""

    def photopeak(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["photopeak", "reconstruct", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, int(ended.value.code or 0), told.out, told.err)

    return photopeak


@pytest.fixture(scope="module")
def study() -> Study:
    """A hot shell in water, a million counts."""
    points = GRID.points()
    body = np.hypot(points[..., 0], points[..., 1]) < 80
    distance = np.linalg.norm(points, axis=-1)
    image = torch.from_numpy(0.2 * body + ((distance > 14) & (distance < 40))).float()
    mu = Volume.from_numpy(0.15 * body, GRID, attenuation(140.5))
    expected = CAMERA.system(GRID, mu)(image)
    raw = poisson(Projections(1e6 / float(expected.sum()) * expected, CAMERA), stream(0, 0))
    return Study("shell", {"mu": mu}, {"raw": raw}, {"simulated": True, "heart": FOUND})


@pytest.fixture(scope="module")
def weights(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained prior that knows what a full acquisition counts."""
    torch.manual_seed(0)
    method = DiffSpect(FEED, iterations=6, channels=(16, 24), fold=1)
    filled = study["mu"].with_data(study["mu"].data * 100 + 1, COUNTS)
    labelled = study.add({"ac": filled}, Step(("ac",), "a test"))
    method.solve(method.batches([labelled], seed=0))
    path = tmp_path_factory.mktemp("weights") / "diffspect.safetensors"
    method.save(path, card={"training": {"studies": 0, "seconds": 0}})
    return path


def test_few_counts_and_views_in_and_everything_out(
    run: Run, study: Study, weights: Path, dciodvfy: str, tmp_path: Path
) -> None:
    source, out = save(study, tmp_path / "study"), tmp_path / "out"
    options = ("--method", "diffspect", "--weights", weights, "--steps", 2, "--samples", 2, "--views", 1)
    done = run(source, "-o", out, "--mu", source, "--fraction", 1, *options)
    assert done.returncode == 0, done.stderr
    less = measured_views(study, 1, 3).with_facts(dose={"fraction": 1.0, "full_views": 3})
    expected = DiffSpect.restored(weights).using(steps=2, samples=2)(less)
    for name in ("ac", "ac_sd"):
        made = load(out / f"{name}.nii.gz", as_="ac")["ac"].data
        assert float((made - expected[name].data).norm()) < 1e-4 * float(expected[name].data.norm())
        series = pydicom.dcmread(out / "dicom" / f"{name}.dcm")
        assert series.SeriesDescription.startswith("SIMULATED DIFFSPECT AC")
        told = subprocess.run([dciodvfy, out / "dicom" / f"{name}.dcm"], capture_output=True, text=True, check=False)
        assert "Error" not in told.stdout + told.stderr
    log, page = (out / "log.txt").read_text(), (out / "report.html").read_text()
    for text in (log, page):
        assert "1 of 3 views, 33.3 % of the counts of a full acquisition (as given)." in text
    assert "weights_sha256" in log
    assert page.count("data:image/png") == 4
    assert not (out / "nac.nii.gz").exists()


def test_fraction_and_views_are_found_in_the_data(study: Study, weights: Path) -> None:
    method, raw = DiffSpect.restored(weights).using(steps=1), study.projections["raw"]
    one = raw.views([1])
    assert measured_views(replace(study, projections={"raw": one}), None, 3.0).facts["dose"] == {"full_views": 3}
    empty = raw.with_counts(raw.counts * torch.tensor([1.0, 0.0, 1.0])[:, None, None])
    kept = measured_views(replace(study, projections={"raw": empty}), None, 3.0)
    assert kept.projections["raw"].camera.projection_shape[0] == 2
    half = raw.with_counts((raw.counts / 2).round())
    made = method(measured_views(replace(study, projections={"raw": half}), None, 3.0))
    assert made.history[-1].settings["fraction"] == pytest.approx(0.5, abs=0.01)


def test_views_that_cannot_be(study: Study) -> None:
    with pytest.raises(BadArgument, match="3 modules"):
        measured_views(study, None, 2.0)
    with pytest.raises(BadArgument):
        measured_views(study, 2, 3.0)
    raw = study.projections["raw"]
    with pytest.raises(BadValues, match="without a count"):
        measured_views(replace(study, projections={"raw": raw.with_counts(0 * raw.counts)}), None, 3.0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "--ct-free"),
        (("--ct-free", "--mu", "somewhere.nii.gz"), "--ct-free"),
        (("--mu", "a.nii.gz", "--ct", "b"), "one of them"),
        (("--mu", "a.nii.gz", "--fraction", 0), "--fraction"),
        (("--mu", "a.nii.gz", "--fraction", 1.5), "--fraction"),
        (("--mu", "a.nii.gz", "--map-weights", "c"), "--map-weights"),
        (("--mu", "a.nii.gz", "--subsets", 3), "--subsets"),
        (("--mu", "a.nii.gz", "--method", "osem", "--views", 3), "--views"),
        (("--ct-free", "--map-weights", shipped_weights("concord")), "parallel holes"),
        (("--mu", "far.nii.gz"), "frames of reference"),
    ],
)
def test_options_that_do_not_fit(
    run: Run, study: Study, weights: Path, options: tuple[Any, ...], told: str, tmp_path: Path
) -> None:
    source, out = save(study, tmp_path / "study"), tmp_path / "out"
    body = (GRID.points()[..., 0] > 70) & (GRID.points()[..., 1] > 70)
    far = Volume.from_numpy(0.15 * body, GRID, attenuation(140.5))
    path = write_nifti(far, tmp_path / "far.nii.gz")
    given = [path if option == "far.nii.gz" else option for option in options]
    network = () if "osem" in options else ("--weights", weights)
    failed = run(source, "-o", out, "--method", "diffspect", *network, *given)
    assert failed.returncode == 2, failed.stdout
    assert told in failed.stderr.replace("parallel-hole", "parallel holes")
    assert not out.exists()


def test_a_map_network_must_know_the_camera(study: Study, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Indirect({}, channels=(16, 24), fold=2)
    for name, cohort in (("other", {"matrix": "64"}), ("ours", {"camera": "nm570c"})):
        network.save(tmp_path / f"{name}.safetensors", card={"cohort": cohort, "training": {}})
    with pytest.raises(BadCheckpoint, match="parallel-hole"):
        map_network(study, tmp_path / "other.safetensors")
    assert map_network(study, tmp_path / "ours.safetensors").weights_sha256() == network.weights_sha256()
    DiffSpect(FEED, channels=(16, 24)).save(tmp_path / "no.safetensors", card={})
    with pytest.raises(BadCheckpoint, match="diffspect"):
        map_network(study, tmp_path / "no.safetensors")


def test_no_ct_at_all(run: Run, study: Study, weights: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Indirect({}, channels=(16, 24), fold=2)
    network.save(tmp_path / "map.safetensors", card={"cohort": {"camera": "nm570c"}})
    bare = replace(study, volumes={})
    source, out = save(bare, tmp_path / "study"), tmp_path / "out"
    seen = with_predicted_mu(bare, GRID, tmp_path / "map.safetensors")
    nac = Within(CAMERA.system(GRID), clear_of_pinholes(CAMERA, GRID))
    explained = float(nac(seen["nac"].data).sum() / bare.projections["raw"].counts.sum())
    assert explained == pytest.approx(1, abs=0.02)
    assert torch.equal(seen["mu"].data, network.predicted_mu(seen).data)
    assert seen.history[-1].by == "map of indirect"
    done = run(source, "-o", out, "--method", "diffspect", "--weights", weights, "--ct-free", "--steps", "1")
    assert done.returncode == 0, done.stderr
    assert map_network(bare, None).weights_sha256()[:12] in (out / "report.html").read_text()


def test_which_methods_are_learned() -> None:
    assert is_learned("diffspect")
    assert not is_learned("osem")
    assert not is_learned("chang")
    with pytest.raises(BadArgument, match="sirt"):
        is_learned("sirt")
