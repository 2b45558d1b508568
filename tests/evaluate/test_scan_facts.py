"""What is measured in a scan, against scans whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import HeartFrame
from photopeak.core import COUNTS, Grid, Study, Volume
from photopeak.evaluate.scan_facts import ScanFacts, heart_bins, heart_in, measure_scan, truth_at_resolution
from photopeak.physics.parallel_hole import ParallelHole

GRID = Grid.regular((40, 40, 40), 5.0)
HEART = FoundHeart(HeartFrame.from_angles((5, -5, 0), azimuth_deg=45, elevation_deg=20), 33.0, 84.0, 1.0)


def shell() -> np.ndarray:
    """A bright shell with a hot organ below it, [z, y, x]."""
    x, y, z = np.moveaxis(GRID.points() - np.array(HEART.frame.centre_mm), -1, 0)
    radius = np.sqrt(x**2 + y**2 + z**2)
    return np.where((radius > 24) & (radius < 34), 100.0, np.where(z < -55, 60.0, 5.0))


def blurred(fwhm_mm: float, factor: float) -> Volume:
    """The shell seen at a resolution, by products of Fourier transforms with periodic ends."""
    frequency = np.meshgrid(*(np.fft.fftfreq(n, 5.0) for n in GRID.shape), indexing="ij")
    sigma = fwhm_mm / 2.354820045
    transfer = np.exp(-2 * np.pi**2 * sigma**2 * sum(f**2 for f in frequency))
    seen = np.fft.ifftn(np.fft.fftn(shell()) * transfer).real
    return Volume.from_numpy(factor * seen, GRID, COUNTS)


@pytest.mark.parametrize(("fwhm_mm", "factor"), [(10.0, 1.0), (14.0, 3.0), (18.0, 0.2)])
def test_the_resolution_of_an_image_is_found_whatever_its_scale(fwhm_mm: float, factor: float) -> None:
    activity = Volume.from_numpy(shell(), GRID, COUNTS)
    truth, found_mm = truth_at_resolution(activity, blurred(fwhm_mm, factor), HEART)
    assert found_mm == pytest.approx(fwhm_mm, abs=0.5)
    expected = blurred(fwhm_mm, 1.0).on(truth.grid).numpy()
    middle = tuple(slice(n // 2 - 8, n // 2 + 8) for n in truth.grid.shape)
    np.testing.assert_allclose(truth.numpy()[middle], expected[middle], rtol=0.03, atol=1.0)


@given(x=st.floats(-60, 60), y=st.floats(-60, 60), z=st.floats(-20, 20))
def test_bins_through_the_heart_are_where_its_photons_arrive(x: float, y: float, z: float) -> None:
    grid = Grid.regular((16, 32, 32), 6.4)
    camera = ParallelHole.circular(views=6, shape=(16, 32), pixel_mm=6.4, collimator=None)
    centre = np.array([x, y, z])
    ball = torch.from_numpy((np.linalg.norm(grid.points() - centre, axis=-1) < 12).astype(np.float32))
    counts = camera.system(grid)(ball).numpy()
    seen = heart_bins(camera, centre, 24.0)
    assert (counts * seen).sum() > 0.97 * counts.sum()
    assert seen.sum(axis=(1, 2)).max() < 60


def test_a_simulated_scan_answers_everything_it_can(patient: Study) -> None:
    facts = measure_scan(patient, person="p", state="stress")
    assert facts.person == "p"
    assert facts.state == "stress"
    assert facts.unmeasured is None
    assert facts.sex == patient.facts["sex"]
    assert facts.bmi == pytest.approx(facts.weight_kg / facts.height_m**2)
    lv = patient["lv"].data > 0.5
    assert facts.factor == pytest.approx(
        float(patient["ac"].data[lv].mean() / patient["nac"].data[lv].mean()), rel=1e-4
    )
    for segments in (facts.nac_segments, facts.ac_segments, facts.clean_segments, facts.truth_segments):
        assert segments is not None
        assert len(segments) == 17
        assert min(segments) > 0
    ratio = np.divide(facts.clean_segments, facts.truth_segments)
    assert np.abs(ratio / ratio.mean() - 1).max() < 0.12
    assert 0.1 < facts.scatter_to_primary < 0.6
    assert 9 < facts.truth_fwhm_mm < 18
    assert ScanFacts.from_dict(facts.to_dict()) == facts


def test_scatter_is_that_of_the_projections(patient: Study) -> None:
    clean = patient.projections["clean"]
    quarter = patient.projections["scatter"].with_counts(0.2 * clean.counts)
    facts = measure_scan(replace(patient, projections={"clean": clean, "scatter": quarter}), person="p")
    assert facts.scatter_to_primary == pytest.approx(0.25, rel=1e-5)


def test_an_imported_scan_is_measured_where_its_heart_was_found(patient: Study) -> None:
    heart = patient.facts["heart"]
    imported = Study("i", {n: patient[n] for n in ("nac", "ac")}, facts={"heart": heart, "sex": "F"})
    facts = measure_scan(imported, person="p")
    assert heart_in(imported) == FoundHeart.from_dict(heart)
    assert facts.nac_segments is not None
    assert (facts.factor, facts.truth_segments, facts.perfusion_segments, facts.scatter_to_primary) == (None,) * 4
    assert facts.territories is None


def test_a_scan_without_a_heart_says_so() -> None:
    noise = torch.rand(GRID.shape, generator=torch.Generator().manual_seed(0))
    facts = measure_scan(Study("n", {"nac": Volume(noise, GRID, COUNTS)}), person="p")
    assert facts.nac_segments is None
    assert facts.unmeasured
