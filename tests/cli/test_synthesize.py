"""``photopeak synthesize``: CT to SUV, NIfTI or DICOM, honest about what it is, and every refusal."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from torch import Tensor, nn

from photopeak.cli.synthesize import command, synthesize
from photopeak.cli.synthesize_method import asked_once, covers, ready
from photopeak.core import HU, SUV, Grid, Step, Study, Volume
from photopeak.core.errors import (
    BadArgument,
    BadCheckpoint,
    BadValues,
    GridMismatch,
    MissingGeometry,
    MissingInput,
    OutOfDomain,
)
from photopeak.evaluate.pet_report import UNDETERMINED
from photopeak.evaluate.pet_scores import body_of
from photopeak.io.dicom_ct_write import write_ct
from photopeak.io.dicom_pt import Told, read_pt
from photopeak.io.dicom_scan import SimulatedScan
from photopeak.io.nifti import read_nifti, write_nifti
from photopeak.learn.learned import Batch
from photopeak.methods import method_class
from photopeak.methods.pet_slices import PetSlices
from photopeak.methods.slice_method import in_chunks, middle
from photopeak.methods.unet import UNetPet

Run = Callable[..., subprocess.CompletedProcess[str]]
GRID = Grid.regular((70, 44, 48), (5.0, 8.0, 8.0), centre_mm=(12.0, -30.0, 210.0))
CARD = {"training": {"studies": 3, "seconds": 9}, "cohort": {"simulated": True}}


def torso() -> Volume:
    """A cylinder of water with noise and a lung."""
    points = GRID.points() - GRID.centre_mm
    across = np.hypot(points[..., 0], points[..., 1])
    hu = np.where(across < 130, np.where((across < 60) & (points[..., 2] > 0), -800.0, 40.0), -1000.0)
    return Volume.from_numpy(hu + np.random.default_rng(3).normal(0, 8, GRID.shape).clip(-20, 20), GRID, HU)


def study() -> Study:
    return Study("torso", facts={"kvp": 120.0}).add({"ct": torso()}, Step(("ct",), "read_ct"))


def short_study() -> Study:
    """The lowest 95 mm of it."""
    data = torso().data[:19]
    thin = Volume(data, Grid.regular(tuple(data.shape), (5.0, 8.0, 8.0)), HU)
    return study().add({"ct": thin}, Step(("ct",), "cut"))


class Warm(PetSlices):
    """SUV 1 in tissue, SUV 0 in air, each answer off by a factor."""

    name = "warm"

    def __init__(self, feed: dict[str, Any] | None = None) -> None:
        super().__init__(feed)
        self.players = nn.ModuleDict({"net": nn.Identity()})
        self.card = CARD

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        yield "net", batch["target"].sum()

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        tissue = in_chunks(lambda batch: self.players["net"](middle(batch["given"])), condition)[:, 0] > -0.3
        factor = 1 + 0.1 * float(torch.randn((), generator=generator))
        return self.feed.suv_to_network(factor * tissue)


@pytest.fixture
def ct_folder(tmp_path: Path) -> Path:
    scan = SimulatedScan("0009", "", "0" * 64, {"sex": "F", "weight_kg": 61.0})
    write_ct(torso(), tmp_path / "ct", scan, description="CT", kvp=120, series_number=3, origin="test")
    return tmp_path / "ct"


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of random weights with a card."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("pet") / "unet_pet.safetensors"
    method = UNetPet(channels=(8, 24), fold=4)
    method.use_weights({k: v + 0.1 * torch.randn(v.shape) for k, v in method.players.state_dict().items()})
    method.save(path, card=CARD)
    return path


def test_suv_on_pet_voxels_with_spread_report_and_log(tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = synthesize(study(), Warm().using(samples=4), out)
    assert {p.name for p in out.iterdir()} == {"pet.nii.gz", "pet_sd.nii.gz", "report.html", "log.txt"}
    pet = read_nifti(out / "pet.nii.gz", SUV)
    assert pet.grid.spacing_mm == pytest.approx((5.0, 4.0, 4.0))
    assert pet.grid.same_as(made["pet"].grid, tolerance_mm=1e-2)
    np.testing.assert_allclose(pet.grid.centre_mm, GRID.centre_mm, atol=1e-3)
    tissue = made["ct"].data > 0
    assert float(pet.data[tissue].mean()) == pytest.approx(1.0, abs=0.15)
    assert float(pet.data[made["ct"].data < -900].max()) < 0.05
    assert 0.02 < float(made["pet_sd"].data[tissue].mean()) < 0.3
    report, log = (out / "report.html").read_text(), (out / "log.txt").read_text()
    for text in (report, log):
        assert "FDG uptake is not determined by CT" in text
        assert "not calibrated" in text
        assert "simulated people only" in text
    assert UNDETERMINED in log
    assert "method: warm" in log
    assert "120 kVp" in log


FITTED = {"floor": 0.2, "spread": 3.0, "local": 0.1, "reach": {"0.5": 0.6, "0.8": 1.2, "0.95": 1.96}, "studies": 7}


def calibrated_warm(**using: Any) -> Warm:
    """The method with a card that says for which settings its sd was calibrated, and how."""
    method = Warm()
    method.card = {**CARD, "calibration": {**FITTED, "using": {"samples": 4, "tv": 0.0, **using}}}
    return method


def test_the_sd_is_calibrated_in_the_body_for_the_settings_that_the_card_names(tmp_path: Path) -> None:
    plain = synthesize(short_study(), Warm().using(samples=4), tmp_path / "plain", anyway=True)
    made = synthesize(short_study(), calibrated_warm().using(samples=4), tmp_path / "out", anyway=True)
    assert torch.equal(made["pet"].data, plain["pet"].data)
    body = torch.from_numpy(body_of(made["ct"]))
    before, pet = plain["pet_sd"].data[body], made["pet"].data[body]
    expected = (0.2**2 + (3 * before) ** 2 + (0.1 * pet) ** 2).sqrt()
    torch.testing.assert_close(made["pet_sd"].data[body], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(made["pet_sd"].data[~body], plain["pet_sd"].data[~body])
    report, log = ((tmp_path / "out" / name).read_text() for name in ("report.html", "log.txt"))
    assert "held 95 % of the voxels of the bodies in 7 scans" in report
    assert "outside of the body it is not calibrated" in report
    assert "uncertainty: calibrated on 7 validation scans" in log.splitlines()
    for text in (report, log):
        assert "was not calibrated" not in text
    assert "uncertainty: not calibrated" in (tmp_path / "plain" / "log.txt").read_text().splitlines()


def test_a_calibration_for_other_settings_is_not_used_and_the_report_says_so(tmp_path: Path) -> None:
    plain = synthesize(short_study(), Warm().using(samples=2), tmp_path / "plain", anyway=True)
    made = synthesize(short_study(), calibrated_warm().using(samples=2), tmp_path / "out", anyway=True)
    assert torch.equal(made["pet_sd"].data, plain["pet_sd"].data)
    report = (tmp_path / "out" / "report.html").read_text()
    assert "was not calibrated" in report
    assert "is for samples=4, tv=0: it was not used" in report
    synthesize(short_study(), calibrated_warm(tv=0.3).using(samples=4), tmp_path / "tv", anyway=True)
    assert "is for samples=4, tv=0.3: it was not used" in (tmp_path / "tv" / "log.txt").read_text()


def test_one_answer_has_an_sd_where_it_was_calibrated_for_one(tmp_path: Path) -> None:
    made = synthesize(short_study(), calibrated_warm(samples=1), tmp_path / "out", anyway=True)
    assert (tmp_path / "out" / "pet_sd.nii.gz").exists()
    body = torch.from_numpy(body_of(made["ct"]))
    expected = (0.2**2 + (0.1 * made["pet"].data[body]) ** 2).sqrt()
    torch.testing.assert_close(made["pet_sd"].data[body], expected, rtol=1e-4, atol=1e-5)
    assert float(made["pet_sd"].data[~body].max()) == 0
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "follows from its SUV alone" in log
    assert "No uncertainty" not in log


def test_one_answer_has_no_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthesize(study(), Warm(), tmp_path / "out")
    assert not (tmp_path / "out" / "pet_sd.nii.gz").exists()
    assert "No uncertainty" in capsys.readouterr().out


def test_an_untrained_network_answers_nothing_and_nothing_is_written(tmp_path: Path) -> None:
    untrained = UNetPet(channels=(8, 24), fold=4)
    untrained.card = CARD
    with pytest.raises(BadValues, match="no uptake"):
        synthesize(study(), untrained, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_pt_series_in_the_study_of_the_ct(ct_folder: Path, dciodvfy: str, tmp_path: Path) -> None:
    from photopeak.io.ct_source import read_ct_source

    made = synthesize(read_ct_source(ct_folder), Warm().using(samples=2), tmp_path / "out", dicom=ct_folder)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"dicom", "report.html", "log.txt"}
    source = pydicom.dcmread(next(ct_folder.iterdir()))
    series = set()
    for name in ("pet", "pet_sd"):
        folder = tmp_path / "out" / "dicom" / name
        first = next(folder.iterdir())
        told = subprocess.run([dciodvfy, str(first)], capture_output=True, text=True, check=False)
        assert (told.stdout + told.stderr).split() == ["PETImage"]
        again = read_pt(folder, told=Told(attenuation_corrected=True))["pet"]
        assert again.grid.same_as(made[name].grid)
        np.testing.assert_allclose(again.numpy(), made[name].numpy(), atol=1e-4)
        dataset = pydicom.dcmread(first)
        assert dataset.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert dataset.ImageType[0] == "DERIVED"
        assert dataset.SeriesDescription.startswith("AI-PET RESEARCH warm")
        assert dataset.SeriesDescription.endswith("NOT FOR DIAGNOSIS")
        assert "not determined by CT" in dataset.DerivationDescription
        series.add(dataset.SeriesInstanceUID)
    assert len(series) == 2


def test_the_command_from_file_to_files(run: Run, weights: Path, tmp_path: Path) -> None:
    source = write_nifti(torso(), tmp_path / "ct.nii.gz")
    done = run("synthesize", source, "--weights", weights, "--kvp", 120, "--samples", 1, "-o", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
    assert "length along the body: 350 mm" in done.stdout
    assert nibabel.load(tmp_path / "one" / "pet.nii.gz").shape == (96, 88, 70)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        (("unet_pet", None, {}), BadArgument, "no shipped weights"),
        (("concord", None, {}), BadArgument, "PET from CT"),
        (("nothing", None, {}), BadArgument, "nothing"),
        ((None, "weights", {"steps": 5}), BadArgument, "steps"),
        ((None, "bare", {}), BadCheckpoint, "card"),
    ],
)
def test_what_is_no_ready_method_is_refused(
    options: Any, error: type[Exception], told: str, weights: Path, tmp_path: Path
) -> None:
    name, kind, using = options
    UNetPet(channels=(8, 24), fold=4).save(tmp_path / "bare.safetensors")
    files = {"weights": weights, "bare": tmp_path / "bare.safetensors", None: None}
    with pytest.raises(error, match=told):
        ready(name, files[kind], using)


def test_the_method_is_that_of_the_weights(weights: Path) -> None:
    made = ready(None, weights, {"samples": 2, "tv": 0.1})
    assert (made.name, made.samples, made.tv) == ("unet_pet", 2, 0.1)


def test_the_usual_method_ships_and_is_used_as_it_was_calibrated() -> None:
    made = ready(None, None, {"seed": 5})
    assert (made.name, made.steps, made.samples, made.seed) == ("cpdm_pet", 2, 4, 5)
    assert covers(made)
    assert not covers(ready(None, None, {"samples": 1}))


def test_settings_are_those_of_the_calibration_unless_told_and_else_one_answer(weights: Path, tmp_path: Path) -> None:
    assert ready(None, weights, {}).samples == 1
    path = tmp_path / "palette.safetensors"
    method: Any = method_class("palette_pet")(channels=(8, 24))
    method.save(path, card={**CARD, "calibration": {**FITTED, "using": {"samples": 3, "steps": 5, "tv": 0.0}}})
    preset, told = ready(None, path, {}), ready(None, path, {"samples": 2, "seed": 4})
    assert (preset.samples, preset.steps, preset.seed) == (3, 5, 0)
    assert (told.samples, told.steps, told.seed) == (2, 5, 4)
    assert method_class("cpdm_pet").steps == method_class("bbdm_pet").steps == 10


def test_nothing_is_written_where_the_ct_is_too_short_or_oblique_or_out_exists(tmp_path: Path) -> None:
    with pytest.raises(OutOfDomain, match="95 mm"):
        synthesize(short_study(), Warm(), tmp_path / "out")
    matrix = GRID.matrix
    matrix[:3, :3] = matrix[:3, :3] @ np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    turned = Volume(torso().data, Grid(GRID.shape, tuple(map(tuple, matrix))), HU)
    with pytest.raises(GridMismatch, match="oblique"):
        synthesize(study().add({"ct": turned}, Step(("ct",), "turned")), Warm(), tmp_path / "out")
    with pytest.raises(MissingInput):
        synthesize(Study("empty", facts={"kvp": 120.0}), Warm(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    with pytest.raises(BadArgument, match="which exists"):
        synthesize(study(), Warm(), tmp_path / "out")


def test_anyway_answers_and_says_so(tmp_path: Path) -> None:
    synthesize(short_study(), Warm(), tmp_path / "out", anyway=True)
    assert (
        "Beyond a hard limit and answered all the same: length along the body"
        in (tmp_path / "out" / "report.html").read_text()
    )


@pytest.mark.parametrize("name", ["upgan", "ddib", "sdedit"])
def test_methods_of_several_networks_answer_too(name: str, tmp_path: Path) -> None:
    kind: Any = method_class(name)
    torch.manual_seed(0)
    method = kind({"voxel_mm": [5.0, 16.0, 16.0]}, channels=(8, 24))
    method.card = CARD
    with torch.no_grad():
        for weight in method.players.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    ready = method.using(steps=2) if hasattr(method, "steps") else method
    synthesize(short_study(), ready, tmp_path / "out", anyway=True)
    assert (tmp_path / "out" / "pet_sd.nii.gz").exists() == (name == "upgan")


CODE = {"channels": [8, 16], "residual": 1, "codes": 16}
SMALL: dict[str, dict[str, Any]] = {
    "unet_pet": {"channels": (8, 24)},
    "medgan_pet": {"channels": (8, 8, 16), "critic_channels": 8},
    "upgan": {"channels": (8, 24)},
    "pix2pix_pet": {"width": 8, "depth": 4, "critic_width": 8, "critic_layers": 1},
    "palette_pet": {"channels": (8, 24)},
    "sdedit": {"channels": (8, 24)},
    "ldm": {"channels": (8, 24), "code": CODE},
    "bbdm_pet": {"channels": (8, 24), "code": CODE},
    "cpdm_pet": {"channels": (8, 24), "code": CODE},
}


@pytest.mark.parametrize("name", SMALL)
def test_only_what_draws_numbers_is_asked_again(name: str) -> None:
    kind: Any = method_class(name)
    method = kind(**SMALL[name])
    method.use_weights(method.players.state_dict())
    method = method.using(samples=4, seed=3, **({"steps": 2} if hasattr(method, "steps") else {}))
    once = asked_once(method)
    assert method.samples == 4
    assert once.samples == (1 if name in ("unet_pet", "medgan_pet", "upgan") else 4)
    assert {**once.settings(), "samples": 4} == method.settings()


def test_a_method_without_chance_is_computed_once_and_says_so(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    answer = UNetPet.answer

    def counted(self: UNetPet, condition: Batch, generator: torch.Generator) -> Tensor:
        sizes.append(len(condition["given"]))
        return answer(self, condition, generator)

    monkeypatch.setattr(UNetPet, "answer", counted)
    made = synthesize(short_study(), ready(None, weights, {"samples": 4}), tmp_path / "out", anyway=True)
    assert sizes == [1, 19]
    assert made.history[-1].settings["samples"] == 1
    assert "samples: 1" in (tmp_path / "out" / "log.txt").read_text().splitlines()


def test_a_ct_without_frame_of_reference_is_refused_before_anything_is_computed(
    weights: Path, ct_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ct_folder.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.FrameOfReferenceUID
        dataset.save_as(path)
    monkeypatch.setattr(UNetPet, "answer", lambda *_: pytest.fail("it was computed"))
    with pytest.raises(MissingGeometry, match=r"\(0020,0052\)"):
        command(ct_folder, tmp_path / "out", weights=weights, format="dicom")
    assert not (tmp_path / "out").exists()


def test_options_that_contradict_are_refused(weights: Path, ct_folder: Path, tmp_path: Path) -> None:
    nifti, out = write_nifti(torso(), tmp_path / "ct.nii.gz"), tmp_path / "out"
    with pytest.raises(BadArgument, match="no DICOM folder"):
        command(nifti, out, weights=weights, kvp=120, format="dicom")
    with pytest.raises(BadArgument, match="--format png"):
        command(nifti, out, weights=weights, kvp=120, format="png")
    with pytest.raises(BadArgument, match="header knows"):
        command(ct_folder, out, weights=weights, kvp=100)
    assert not out.exists()
    with pytest.raises(BadArgument, match="which exists"):
        command(nifti, weights, weights=weights, kvp=120)
