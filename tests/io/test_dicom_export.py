"""A simulated study as a DICOM study: valid, whole, and the same when it is read back."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import ORIENTATIONS
from photopeak.cardiac.reslice import reslice
from photopeak.core import COUNTS, HU, EnergyWindow, Grid, Projections, Step, Study, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues, MissingInput, WrongQuantity
from photopeak.io.dicom_ct import read_ct
from photopeak.io.dicom_export import CT, MU, RAW, ct_before, export_study
from photopeak.io.dicom_nm import read_nm
from photopeak.io.dicom_nm_mu import read_nm_mu
from photopeak.io.dicom_nm_tomo import read_nm_tomo
from photopeak.physics.mumap import mu_from_ct
from photopeak.physics.parallel_hole import ParallelHole

TRANSAXIAL = {"nac": ("IRNC", None), "ac": ("IRACSC", ["ATTN", "SCAT"]), "ac_nosc": ("IRAC", ["ATTN"])}
SLICES = [(name, side) for name in ("nac", "ac") for side in ORIENTATIONS]


GRID = Grid.regular((20, 32, 32), 10.0)
HEART = {"centre_mm": [40, -30, 5], "long_axis": [0.7, -0.6, -0.4]}


@pytest.fixture(scope="module")
def study() -> Study:
    """A small patient at stress: a hollow heart, water around it, and random counts."""
    generator = torch.Generator().manual_seed(5)
    away = np.linalg.norm(GRID.points() - np.array(HEART["centre_mm"]), axis=-1)
    nac = Volume.from_numpy(50 * np.exp(-(((away - 35) / 15) ** 2)), GRID, COUNTS)
    body = np.linalg.norm(GRID.points()[..., :2], axis=-1) < 140
    camera = ParallelHole.circular(shape=(20, 32), pixel_mm=10.0, views=8)
    counts = torch.poisson(torch.full(camera.projection_shape, 40.0), generator=generator)
    found = {**HEART, "outer_radius_mm": 40.0, "length_mm": 80.0, "confidence": 0.9}
    truth = {"heart_centre_mm": HEART["centre_mm"], "long_axis": HEART["long_axis"]}
    return Study(
        "patient_0001_stress",
        {
            "nac": nac,
            "ac": nac.with_data(3.2 * nac.data),
            "ac_nosc": nac.with_data(3.9 * nac.data),
            "mu": Volume.from_numpy(np.where(body, 0.15 - 0.0003 * away.clip(max=300), 0), GRID, attenuation(140.5)),
        },
        {"raw": Projections(counts, camera, EnergyWindow(130.0, 151.0))},
        {"simulated": True, "person": "patient_0001", "state": "stress", "heart": found, "truth": truth, "sex": "F"},
        (Step(("ac",), "osem", ("raw", "mu"), {"iterations": 4, "subsets": 10}),),
    )


@pytest.fixture(scope="module")
def exported(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "stress"
    export_study(study, folder)
    return folder


def header(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True)


def test_every_file_is_valid(exported: Path, dciodvfy: str):
    for path in sorted(exported.rglob("*.dcm")):
        told = subprocess.run([dciodvfy, path], capture_output=True, text=True, errors="replace", check=False)
        lines = (told.stdout + told.stderr).splitlines()
        assert [line for line in lines if line.startswith(("Error", "Warning"))] == [], path.name


def test_what_a_hospital_would_have_is_there(exported: Path, study: Study):
    names = {RAW, MU, *(f"{n}.dcm" for n in TRANSAXIAL), *(f"{n}_{side}.dcm" for n, side in SLICES)}
    assert {p.name for p in exported.iterdir()} == names | {CT}
    assert len(list((exported / CT).iterdir())) == study["mu"].grid.shape[0]
    titles = {header(p).SeriesDescription for p in exported.rglob("*.dcm")}
    assert titles == {
        "STRESS RAW TOMO", "STRESS MU MAP", "STRESS CT AC",
        *(f"STRESS {title} TRANSAXIAL" for title, _ in TRANSAXIAL.values()),
        *(f"STRESS {TRANSAXIAL[name][0]} {side.upper()}" for name, side in SLICES),
    }  # fmt: skip


def test_one_study_one_patient_one_frame_of_reference_and_a_series_each(exported: Path):
    headers = [header(p) for p in exported.rglob("*.dcm")]
    for keyword in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID", "StudyDescription", "StudyDate"):
        assert len({str(h[keyword].value) for h in headers}) == 1, keyword
    assert headers[0].StudyDescription == "MPI STRESS"
    assert str(headers[0].PatientName) == "SIMULATED^patient_0001"
    assert len({h.SOPInstanceUID for h in headers}) == len(headers)
    assert len({h.SeriesInstanceUID for h in headers}) == len({h.SeriesDescription for h in headers})
    assert len({h.SeriesNumber for h in headers}) == len({h.SeriesDescription for h in headers})


def test_everything_says_that_it_is_simulated_and_for_research(exported: Path):
    for path in exported.rglob("*.dcm"):
        assert "nobody was scanned" in header(path).ImageComments
        assert "Research use only" in header(path).ImageComments
        if path.name != RAW:
            assert "Research use only" in header(path).DerivationDescription
    assert "iterations=4" in header(exported / "ac.dcm").DerivationDescription
    source = header(exported / "nac_sa.dcm").SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == header(exported / RAW).SOPInstanceUID


@pytest.mark.parametrize("name", TRANSAXIAL)
def test_reconstructions_come_back(exported: Path, study: Study, name: str):
    written = pydicom.dcmread(exported / f"{name}.dcm")
    read = read_nm(exported / f"{name}.dcm")
    volume = read[name.removesuffix("_nosc")]
    assert read.facts["window_kev"] == [130, 151]
    assert read.facts.get("corrected") == TRANSAXIAL[name][1]
    assert "orientation" not in read.facts
    slope = written.RealWorldValueMappingSequence[0].RealWorldValueSlope
    assert np.array_equal(volume.numpy(), (written.pixel_array * slope).astype(np.float32))
    assert float((volume.data - study[name].data).abs().max()) <= 0.51 * slope
    np.testing.assert_allclose(volume.grid.matrix, study[name].grid.matrix, atol=1e-4)


@pytest.mark.parametrize(("name", "side"), SLICES)
def test_heart_slices_come_back_on_their_oblique_grid(exported: Path, study: Study, name: str, side):
    read = read_nm(exported / f"{name}_{side}.dcm")
    frame = FoundHeart.from_dict(study.facts["heart"]).frame
    cut = reslice(study[name], frame, side, slices=25)
    assert read.facts["orientation"] == side
    assert read[name].grid.same_as(cut.grid, 1e-4)
    slope = header(exported / f"{name}_{side}.dcm").RealWorldValueMappingSequence[0].RealWorldValueSlope
    assert float((read[name].data - cut.data).abs().max()) <= 0.51 * slope


def test_projections_attenuation_and_ct_come_back(exported: Path, study: Study):
    raw = read_nm_tomo(exported / RAW).projections["raw"]
    assert torch.equal(raw.counts, study.projections["raw"].counts)
    np.testing.assert_allclose(raw.camera.angles_deg, study.projections["raw"].camera.angles_deg, atol=1e-6)
    mu = read_nm_mu(exported / MU)["mu"]
    assert mu.grid.same_as(study["mu"].grid, 1e-4)
    assert float((mu.data - study["mu"].data).abs().max()) < float(study["mu"].data.max()) / 65535
    ct = read_ct(exported / CT)
    assert ct["ct"].grid.same_as(study["mu"].grid, 1e-4)
    again = mu_from_ct(ct["ct"], kvp=ct.facts["kvp"])
    assert float((again.data - study["mu"].data).abs().max()) < 1e-4
    assert (
        ct.facts["dicom"]["frame_of_reference_sha256"]
        == read_nm(exported / "ac.dcm").facts["dicom"]["frame_of_reference_sha256"]
    )


def test_stress_and_rest_are_two_studies_of_one_patient(exported: Path, study: Study, tmp_path: Path):
    rest = study.with_facts(state="rest").only("nac")
    files = export_study(rest, tmp_path / "rest")
    assert [f.name for f in files] == ["nac.dcm", "nac_hla.dcm", "nac_sa.dcm", "nac_vla.dcm"]
    one, other = header(exported / "nac.dcm"), header(files[0])
    assert one.PatientID == other.PatientID
    assert one.StudyInstanceUID != other.StudyInstanceUID
    assert one.FrameOfReferenceUID != other.FrameOfReferenceUID
    assert other.StudyDescription == "MPI REST"
    assert other.SeriesDescription == "REST IRNC TRANSAXIAL"


def test_the_same_again_changes_no_byte_and_other_counts_are_another_study(exported: Path, study: Study, tmp_path):
    again = export_study(study, tmp_path / "again")
    assert all(f.read_bytes() == (exported / f.relative_to(tmp_path / "again")).read_bytes() for f in again)
    assert export_study(study, tmp_path / "again") == again
    raw = study.projections["raw"]
    other = replace(study.only("nac"), projections={"raw": raw.with_counts(raw.counts + 1)})
    files = export_study(other, tmp_path / "other")
    assert header(files[0]).StudyInstanceUID != header(again[0]).StudyInstanceUID
    assert header(files[0]).SOPInstanceUID != header(again[0]).SOPInstanceUID


def test_slices_and_ct_that_are_there_are_used(study: Study, tmp_path: Path):
    frame = FoundHeart.from_dict(study.facts["heart"]).frame
    own = reslice(study["nac"], frame, "sa", slices=5, size=8)
    ct = Volume(torch.linspace(-900, 900, 60).reshape(3, 4, 5), Grid.regular((3, 4, 5), 2.0), HU)
    some = study.only("nac").add({"nac_sa": own, "ct": ct}, Step(("nac_sa", "ct"), "test"))
    export_study(some, tmp_path / "out")
    assert read_nm(tmp_path / "out" / "nac_sa.dcm")["nac"].grid.same_as(own.grid, 1e-4)
    assert float((read_ct(tmp_path / "out" / CT)["ct"].data - ct.data).abs().max()) <= 0.5


def test_the_truth_places_a_heart_that_was_not_found(study: Study, tmp_path: Path):
    facts = {k: v for k, v in study.facts.items() if k != "heart"}
    export_study(replace(study.only("nac"), facts=facts), tmp_path / "out")
    centre = read_nm(tmp_path / "out" / "nac_vla.dcm")["nac"].grid.centre_mm
    np.testing.assert_allclose(centre, facts["truth"]["heart_centre_mm"], atol=1e-3)


def test_ct_is_the_one_that_attenuation_comes_from():
    grid = Grid.regular((1, 1, 5), 1.0)
    mu = Volume(torch.tensor([[[0.0, 0.04, 0.1538, 0.2, 0.4]]]), grid, attenuation(140.5))
    ct = ct_before(mu)
    assert ct.data[0, 0, 0] == -1000
    assert ct.data[0, 0, 2] == pytest.approx(0, abs=0.1)
    assert torch.allclose(mu_from_ct(ct, kvp=120).data, mu.data, atol=1e-6)
    with pytest.raises(WrongQuantity):
        ct_before(Volume(mu.data, grid, attenuation(511.0)))


def test_what_cannot_be_exported_leaves_nothing(study: Study, tmp_path: Path):
    real = replace(study, facts={k: v for k, v in study.facts.items() if k != "simulated"})
    with pytest.raises(BadArgument, match="real patient"):
        export_study(real, tmp_path / "out")
    with pytest.raises(MissingInput, match='no "nac"'):
        export_study(study.only("ac"), tmp_path / "out")
    with pytest.raises(BadArgument, match="state 'sleep'"):
        export_study(study.with_facts(state="sleep"), tmp_path / "out")
    in_pet = Volume(study["mu"].data, study["mu"].grid, attenuation(511.0))
    with pytest.raises(WrongQuantity):
        export_study(study.add({"mu": in_pet}, Step(("mu",), "test")), tmp_path / "out")
    negative = study.add({"nac": Volume(study["nac"].data - 1, study["nac"].grid, COUNTS)}, Step(("nac",), "test"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(BadArgument, match="holds thesis"):
        export_study(study, tmp_path / "mine")
    with pytest.raises(BadValues, match="at least zero"):
        export_study(negative, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
