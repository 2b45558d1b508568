from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core import EnergyWindow, Projections
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.windows import dual_energy_window, triple_energy_window

CAMERA = ParallelHole((0.0, 90.0), (200.0, 200.0), (6, 8), 6.4)
LOWER, PEAK, UPPER = EnergyWindow(114.0, 126.0), EnergyWindow(126.0, 154.0), EnergyWindow(154.0, 160.0)
SHAPE = CAMERA.projection_shape


def _seen(window: EnergyWindow, counts: torch.Tensor | float = 1.0) -> Projections:
    return Projections(counts * torch.ones(SHAPE, dtype=torch.float64), CAMERA, window)


def _line_integral(window: EnergyWindow, at_140: float, slope: float) -> float:
    middle = (window.lower_kev + window.upper_kev) / 2
    return (at_140 + slope * (middle - 140)) * (window.upper_kev - window.lower_kev)


@given(at_140=st.floats(1.0, 50.0), slope=st.floats(-0.03, 0.03), width=st.floats(2.0, 12.0), gap=st.floats(0.0, 5.0))
def test_a_linear_spectrum_is_found_exactly(at_140, slope, width, gap):
    slope *= at_140
    below = EnergyWindow(PEAK.lower_kev - gap - width, PEAK.lower_kev - gap)
    above = EnergyWindow(PEAK.upper_kev + gap, PEAK.upper_kev + gap + width)
    side = [_seen(window, _line_integral(window, at_140, slope)) for window in (below, above)]
    estimate = triple_energy_window(side[0], _seen(PEAK, 1e4), side[1])
    assert torch.allclose(
        estimate.counts, torch.full(SHAPE, _line_integral(PEAK, at_140, slope), dtype=torch.float64), rtol=1e-9
    )
    assert estimate.window == PEAK
    assert estimate.camera is CAMERA


def test_without_an_upper_window_it_is_a_triangle(generator):
    counts = 100 * torch.rand(SHAPE, generator=generator, dtype=torch.float64)
    estimate = triple_energy_window(_seen(LOWER, counts), _seen(PEAK, 500.0))
    assert torch.allclose(estimate.counts, counts * 28 / 12 / 2)


def test_two_windows_of_two_widths_weigh_by_kev():
    estimate = triple_energy_window(_seen(LOWER, 24.0), _seen(PEAK), _seen(UPPER, 6.0))
    assert torch.allclose(estimate.counts, torch.full(SHAPE, (2.0 + 1.0) * 14).double())


def test_two_windows_by_jaszczak(generator):
    counts = 100 * torch.rand(SHAPE, generator=generator, dtype=torch.float64)
    assert torch.equal(dual_energy_window(_seen(LOWER, counts), _seen(PEAK)).counts, 0.5 * counts)
    assert torch.equal(dual_energy_window(_seen(LOWER, counts), _seen(PEAK), k=0.3).counts, 0.3 * counts)


@pytest.mark.parametrize("fwhm_px", [0.7, 3.0, 20.0])
def test_smoothing_keeps_counts_and_takes_noise_away(fwhm_px, generator):
    noisy = _seen(LOWER, torch.poisson(torch.full(SHAPE, 5.0), generator=generator))
    rough, smooth = (triple_energy_window(noisy, _seen(PEAK), smooth_fwhm_px=f).counts for f in (0.0, fwhm_px))
    assert torch.allclose(rough.sum((1, 2)), smooth.sum((1, 2)))
    assert float(smooth.std()) < float(rough.std())
    assert float(smooth.min()) >= 0


def test_noise_is_that_of_the_formula(generator):
    many = [torch.poisson(torch.full((2, *SHAPE), 40.0), generator=generator) for _ in range(40)]
    made = [triple_energy_window(_seen(LOWER, a), _seen(PEAK), _seen(UPPER, b)).counts for a, b in many]
    assert float(torch.stack(made).var()) == pytest.approx(14**2 * (40 / 12**2 + 40 / 6**2), rel=0.1)


@pytest.mark.parametrize("estimate", [triple_energy_window, dual_energy_window])
@pytest.mark.parametrize(
    "lower",
    [EnergyWindow(114.0, 127.0), EnergyWindow(154.0, 160.0), EnergyWindow(130.0, 140.0), EnergyWindow(120, 110)],
)
def test_a_lower_window_that_is_none(lower, estimate):
    with pytest.raises(BadArgument, match='"lower"'):
        estimate(_seen(lower), _seen(PEAK))


@pytest.mark.parametrize("upper", [EnergyWindow(150.0, 160.0), EnergyWindow(114.0, 126.0), EnergyWindow(170, 160)])
def test_an_upper_window_that_is_none(upper):
    with pytest.raises(BadArgument, match='"upper"'):
        triple_energy_window(_seen(LOWER), _seen(PEAK), _seen(upper))


@pytest.mark.parametrize("estimate", [triple_energy_window, dual_energy_window])
def test_no_lower_window(estimate):
    with pytest.raises(MissingInput, match='"lower"'):
        estimate(None, _seen(PEAK))


def test_windows_of_two_orbits():
    other = replace(_seen(LOWER), camera=replace(CAMERA, radii_mm=(200.0, 210.0)))
    with pytest.raises(BadArgument, match="two cameras"):
        triple_energy_window(other, _seen(PEAK))


@pytest.mark.parametrize("arguments", [{"k": -0.1}, {"k": float("nan")}, {"smooth_fwhm_px": -1.0}])
def test_numbers_that_mean_nothing(arguments):
    with pytest.raises(BadArgument, match=next(iter(arguments))):
        dual_energy_window(_seen(LOWER), _seen(PEAK), **arguments)


def test_counts_of_a_whole_type_are_smoothed_as_numbers(generator):
    counts = torch.poisson(torch.full(SHAPE, 20.0), generator=generator)
    whole, real = (Projections(c, CAMERA, LOWER) for c in (counts.int(), counts))
    estimates = (triple_energy_window(one, _seen(PEAK), smooth_fwhm_px=3.0).counts for one in (whole, real))
    assert torch.equal(*estimates)
