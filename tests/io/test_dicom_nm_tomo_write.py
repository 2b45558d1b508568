"""Writing raw projections: valid objects from which the same acquisition is read."""

import math
import subprocess
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pydicom
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photopeak.core import COUNTS, EnergyWindow, Grid, Projections, Volume
from photopeak.core.errors import BadArgument, BadValues, PhotopeakError, WrongModality
from photopeak.io.dicom_nm import read_nm
from photopeak.io.dicom_nm_tomo import read_nm_tomo
from photopeak.io.dicom_nm_tomo_write import write_nm_tomo
from photopeak.io.dicom_nm_write import write_nm, write_nm_reconstructed
from photopeak.physics.collimators import named_collimator
from photopeak.physics.parallel_hole import ParallelHole

LOWER = EnergyWindow(112.0, 126.0)


def camera(views: int = 6, start_deg: float = -45.0, step_deg: float = 7.5) -> ParallelHole:
    angles = tuple(start_deg + step_deg * n for n in range(views))
    radii = tuple(200.0 + 3.25 * n for n in range(views))
    return ParallelHole(angles, radii, (4, 5), 6.4, named_collimator("Siemens LEHR"))


def projections(window: EnergyWindow | None = None, *, seed: int = 0, by: ParallelHole | None = None) -> Projections:
    generator = torch.Generator().manual_seed(seed)
    by = by or camera()
    counts = torch.randint(0, 400, by.projection_shape, generator=generator).float()
    return Projections(counts, by, window) if window else Projections(counts, by)


def gates(count: int = 3) -> dict[str, Projections]:
    return {f"gate_{n}": projections(seed=n) for n in range(1, count + 1)}


@given(
    views=st.integers(1, 7),
    heads=st.integers(1, 3),
    start_deg=st.floats(-180, 180),
    step_deg=st.floats(0.5, 16) | st.floats(-16, -0.5),
    radius_mm=st.floats(50, 500),
    circular=st.booleans(),
    pixel_mm=st.floats(0.5, 12),
    lower_kev=st.floats(50, 140),
    upper_kev=st.floats(141, 600),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=30)
def test_what_is_written_is_read(
    views: int,
    heads: int,
    start_deg: float,
    step_deg: float,
    radius_mm: float,
    circular: bool,
    pixel_mm: float,
    lower_kev: float,
    upper_kev: float,
    seed: int,
) -> None:
    count = views * heads
    angles = tuple(start_deg + step_deg * n for n in range(count))
    radii = tuple(radius_mm + (0 if circular else n) for n in range(count))
    by = ParallelHole(angles, radii, (3, 4), pixel_mm)
    given_counts = torch.randint(1, 65536, by.projection_shape, generator=torch.Generator().manual_seed(seed)).float()
    window = EnergyWindow(lower_kev, upper_kev)
    with TemporaryDirectory() as folder:
        shared = heads if views > 1 else 1
        path = write_nm_tomo(Projections(given_counts, by, window), Path(folder) / "a.dcm", patient="1", heads=shared)
        seen = read_nm_tomo(path).projections["raw"]
    assert isinstance(seen.camera, ParallelHole)
    turns = [math.remainder(a - b, 360) for a, b in zip(seen.camera.angles_deg, angles, strict=True)]
    assert turns == pytest.approx([0.0] * count, abs=1e-6)
    assert seen.camera.radii_mm == pytest.approx(radii, rel=1e-9)
    assert torch.equal(seen.counts, given_counts)
    assert seen.camera.pixel_mm == pytest.approx(pixel_mm, rel=1e-9)
    assert (seen.window.lower_kev, seen.window.upper_kev) == pytest.approx((lower_kev, upper_kev), rel=1e-9)
    assert seen.camera.collimator == by.collimator


def test_windows_and_gates_return(tmp_path: Path) -> None:
    seen = {"scatter_lower": projections(LOWER, seed=1), "raw": projections(seed=2)}
    read = read_nm_tomo(write_nm_tomo(seen, tmp_path / "a.dcm", patient="1")).projections
    assert list(read) == ["raw", "window_2"]
    assert torch.equal(read["window_2"].counts, seen["scatter_lower"].counts)
    assert read["window_2"].window == LOWER
    again = read_nm_tomo(write_nm_tomo(read, tmp_path / "b.dcm", patient="1")).projections
    assert torch.equal(again["raw"].counts, seen["raw"].counts)

    gated = read_nm_tomo(write_nm_tomo(gates(), tmp_path / "c.dcm", patient="1")).projections
    again = read_nm_tomo(write_nm_tomo(gated, tmp_path / "d.dcm", patient="1")).projections
    assert list(again) == ["raw", "gate_1", "gate_2", "gate_3"]
    assert all(torch.equal(again[name].counts, one.counts) for name, one in gated.items())
    assert torch.equal(again["raw"].counts, sum(one.counts for one in gates().values()))
    assert again["raw"].camera.to_dict()["collimator"] == camera().to_dict()["collimator"]


@pytest.mark.parametrize("what", ["one", "windows", "gates", "ideal"])
def test_valid(dciodvfy: str, tmp_path: Path, what: str) -> None:
    seen: Any = {
        "one": projections(),
        "windows": {"raw": projections(), "lower": projections(LOWER)},
        "gates": gates(),
        "ideal": projections(by=replace(camera(), collimator=None)),
    }[what]
    path = write_nm_tomo(seen, tmp_path / "a.dcm", patient="1", heads=2, facts={"sex": "F", "height_m": 1.6})
    told = subprocess.run([dciodvfy, path], capture_output=True, text=True, check=False)
    assert [line for line in (told.stdout + told.stderr).splitlines() if line.startswith(("Error", "Warning"))] == []


def test_header_says_that_nobody_was_scanned(tmp_path: Path) -> None:
    facts = {"sex": "M", "isotope": "Tc-99m", "patient_position": "HFS"}
    written = pydicom.dcmread(write_nm_tomo(projections(), tmp_path / "a.dcm", patient="0007", facts=facts))
    assert str(written.PatientName) == "SIMULATED^0007"
    assert written.SeriesDescription == "SIMULATED TOMO"
    assert written.ImageType == ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]
    assert (written.RotationInformationSequence[0].StartAngle, written.AngularViewVector[0]) == (225, 1)
    known = read_nm_tomo(tmp_path / "a.dcm").facts
    assert {name: known[name] for name in facts} == facts


def test_same_content_same_file(tmp_path: Path) -> None:
    one, two = (write_nm_tomo(projections(), tmp_path / f"{n}.dcm", patient="1").read_bytes() for n in range(2))
    assert one == two
    other = write_nm_tomo(projections(seed=9), tmp_path / "3.dcm", patient="1")
    assert pydicom.dcmread(other).SOPInstanceUID != pydicom.dcmread(tmp_path / "1.dcm").SOPInstanceUID


@pytest.mark.parametrize(
    ("seen", "error", "words"),
    [
        (projections().with_counts(projections().counts + 0.5), BadValues, "fractions"),
        (projections().with_counts(projections().counts + 65500), BadValues, "65535"),
        (projections(by=camera().views([0, 1, 3])), BadArgument, "equal steps"),
        ({"raw": projections(), "lower": projections(LOWER, by=camera(step_deg=3))}, BadArgument, "2 cameras"),
        ({"lower": projections(LOWER)}, BadArgument, "lower"),
        ({}, BadArgument, "none"),
        ({"gate_1": projections(), "gate_3": projections()}, BadArgument, "gate_3"),
        ({**gates(), "raw": projections(seed=8)}, BadArgument, "sum"),
        ({**gates(), "gate_4": projections(LOWER)}, BadArgument, "one window"),
    ],
)
def test_unfit_projections_leave_nothing(tmp_path: Path, seen: Any, error: type[PhotopeakError], words: str) -> None:
    with pytest.raises(error, match=words):
        write_nm_tomo(seen, tmp_path / "a.dcm", patient="1")
    assert list(tmp_path.iterdir()) == []


def test_heads_that_do_not_share_the_views_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="4 heads"):
        write_nm_tomo(projections(), tmp_path / "a.dcm", patient="1", heads=4)


def image() -> Volume:
    generator = torch.Generator().manual_seed(4)
    return Volume(torch.rand(4, 5, 5, generator=generator) * 90, Grid.regular((4, 5, 5), 6.4), COUNTS)


@pytest.mark.parametrize("corrected", [(), ("ATTN", "SCAT")])
def test_reconstruction_joins_its_source_s_study(dciodvfy: str, tmp_path: Path, corrected: tuple[str, ...]) -> None:
    source = write_nm_tomo(gates(), tmp_path / "a.dcm", patient="1")
    out = write_nm_reconstructed(
        image(),
        source,
        tmp_path / "b.dcm",
        series_description="RESEARCH OSEM NAC",
        derivation="Reconstruction by osem",
        contributing={"method": "osem"},
        corrected=corrected,
    )
    told = subprocess.run([dciodvfy, out], capture_output=True, text=True, check=False)
    assert [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")] == []
    original, derived = pydicom.dcmread(source), pydicom.dcmread(out)
    assert derived.StudyInstanceUID == original.StudyInstanceUID
    assert derived.PatientID == original.PatientID
    assert derived.FrameOfReferenceUID != original.FrameOfReferenceUID
    assert derived.SourceImageSequence[0].ReferencedSOPInstanceUID == original.SOPInstanceUID
    assert derived.DetectorInformationSequence[0].CollimatorGridName == "Siemens LEHR"
    study = read_nm(out)
    name = "ac" if corrected else "nac"
    assert study[name].grid.same_as(image().grid)
    assert torch.allclose(study[name].data, image().data, atol=0.01)


def test_reconstruction_of_an_image_or_without_its_words_is_refused(tmp_path: Path) -> None:
    source = write_nm(image(), tmp_path / "a.dcm", patient="1")
    words: dict[str, Any] = {"derivation": "x", "contributing": {"method": "x"}}
    with pytest.raises(WrongModality, match=r"\(0008,0008\)"):
        write_nm_reconstructed(image(), source, tmp_path / "b.dcm", series_description="RESEARCH X", **words)
    with pytest.raises(BadArgument, match="RESEARCH"):
        write_nm_reconstructed(image(), source, tmp_path / "b.dcm", series_description="OSEM", **words)
    with pytest.raises(BadArgument, match="source itself"):
        write_nm_reconstructed(image(), source, source, series_description="RESEARCH X", **words)
