import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core import HU, Grid, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, ShapeMismatch, WrongQuantity
from photopeak.physics.response import FWHM_PER_SIGMA
from photopeak.physics.ring import Ring
from photopeak.recon.iterate import osem
from photopeak.testing import check_camera

SMALL = Grid.regular((3, 6, 7), (5.0, 8.0, 9.0))
SMALL_RING = Ring((0.0, 10.0, 45.0, 100.0, 170.0), bins=8, bin_mm=7.0, planes=3, plane_mm=5.0, radius_mm=100.0)
WATER_PER_CM = 0.096


def _mu(grid: Grid, data: torch.Tensor | float, energy_kev: float = 511.0) -> Volume:
    return Volume(data * torch.ones(grid.shape, dtype=torch.float64), grid, attenuation(energy_kev))


def _ring(grid: Grid, *angles_deg: float, fwhm_mm: float = 0.0) -> Ring:
    """Bins as wide as the voxels, across the whole grid."""
    nz, _, nx = grid.shape
    dz, _, dx = grid.spacing_mm
    return Ring(angles_deg, bins=nx, bin_mm=dx, planes=nz, plane_mm=dz, radius_mm=400.0, fwhm_mm=fwhm_mm)


def _disc(grid: Grid, radius_mm: float) -> torch.Tensor:
    """[z, y, x] share of each voxel inside a cylinder about the middle."""
    _, n, _ = grid.shape
    fine = ((torch.arange(n * 5, dtype=torch.float64) + 0.5) / 5 - n / 2) * grid.spacing_mm[1]
    inside = (torch.hypot(fine[:, None], fine[None, :]) <= radius_mm).double()
    return inside.reshape(n, 5, n, 5).mean((1, 3)).expand(grid.shape).clone()


def _point(grid: Grid, k: int, j: int, i: int) -> torch.Tensor:
    image = torch.zeros(grid.shape, dtype=torch.float64)
    image[k, j, i] = 1
    return image


def _offset(size: int, step: float) -> torch.Tensor:
    return step * (torch.arange(size, dtype=torch.float64) - (size - 1) / 2)


@pytest.mark.parametrize("fwhm_mm", [0.0, 8.0])
@pytest.mark.parametrize("attenuated", [True, False])
def test_keeps_the_promises_of_a_camera(fwhm_mm, attenuated, generator):
    mu = _mu(SMALL, 0.2 * torch.rand(SMALL.shape, generator=generator, dtype=torch.float64)) if attenuated else None
    check_camera(replace(SMALL_RING, fwhm_mm=fwhm_mm), SMALL, mu)


def test_a_point_at_the_left_is_at_a_larger_column_from_anterior():
    grid = Grid.regular((1, 9, 9), 10.0)
    left, front = _point(grid, 0, 4, 7), _point(grid, 0, 1, 4)
    system = _ring(grid, 0.0, 90.0, 180.0).system(grid)
    assert system(left)[:, 0].argmax(1).tolist() == [7, 4, 1]
    assert system(front)[:, 0].argmax(1).tolist() == [4, 1, 4]


def test_rows_follow_z():
    grid = Grid.regular((5, 4, 4), 10.0)
    seen = _ring(grid, 33.0).system(grid)(_point(grid, 3, 2, 2))
    assert seen[0].sum(1).gt(0).tolist() == [False, False, False, True, False]


@given(angle=st.floats(0.0, 360.0), j=st.integers(2, 12), i=st.integers(2, 15))
def test_a_point_draws_a_sine(angle, j, i):
    grid = Grid.regular((1, 15, 18), (5.0, 6.0, 4.0), centre_mm=(30.0, -20.0, 0.0))
    camera = Ring((angle,), bins=241, bin_mm=0.5, planes=1, plane_mm=5.0)
    seen = camera.system(grid)(_point(grid, 0, j, i))[0, 0]
    x, y = 4.0 * (i - 8.5), 6.0 * (j - 7)
    expected = x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))
    assert float((seen * _offset(241, 0.5)).sum() / seen.sum()) == pytest.approx(expected, abs=0.05)
    assert float(seen.sum()) == pytest.approx(1.0, abs=0.02)


def test_a_uniform_disc_gives_its_chords_and_keeps_its_counts():
    grid, radius = Grid.regular((1, 48, 48), 5.0), 100.0
    disc = _disc(grid, radius)
    seen = _ring(grid, 0.0, 30.0, 90.0, 151.0).system(grid)(disc)[:, 0]
    s = _offset(48, 5.0)
    inner = s.abs() < 0.9 * radius
    chords = 2 * (radius**2 - s[inner] ** 2).sqrt() / 5.0
    assert torch.allclose(seen[:, inner], chords.expand(4, -1), rtol=0.015)
    assert torch.allclose(seen.sum(1), disc.sum().expand(4), rtol=2e-3)


@pytest.mark.parametrize("bin_mm", [2.5, 5.0, 12.0])
def test_counts_are_kept_for_any_bin_and_voxel(bin_mm):
    grid = Grid.regular((2, 60, 40), (5.0, 4.0, 6.0))
    x, y, _ = torch.from_numpy(grid.points()).unbind(-1)
    image = torch.exp(-(x**2 + y**2) / (2 * 25.0**2))
    camera = Ring((0.0, 20.0, 45.0, 77.0, 140.0), bins=int(240 / bin_mm), bin_mm=bin_mm, planes=2, plane_mm=5.0)
    assert torch.allclose(camera.system(grid)(image).sum((1, 2)), image.sum().expand(5), rtol=1e-4)


def test_attenuation_is_that_of_the_whole_chord():
    grid, radius = Grid.regular((1, 48, 48), 5.0), 100.0
    disc = _disc(grid, radius)
    camera = _ring(grid, 0.0, 37.0, 90.0)
    s = _offset(48, 5.0)
    inner = s.abs() < 0.9 * radius
    chord_cm = 2 * (radius**2 - s[inner] ** 2).sqrt() / 10
    factor = (camera.system(grid, _mu(grid, disc * WATER_PER_CM))(disc) / camera.system(grid)(disc))[:, 0, inner]
    assert torch.allclose(factor, torch.exp(-WATER_PER_CM * chord_cm).expand(3, -1), rtol=0.02)


def test_attenuation_does_not_depend_on_depth():
    grid = Grid.regular((1, 9, 9), 10.0)
    system = _ring(grid, 0.0, 90.0).system(grid, _mu(grid, WATER_PER_CM))
    factor = math.exp(-WATER_PER_CM * 9.0)
    for depth in range(9):
        assert float(system(_point(grid, 0, depth, 3))[0].sum()) == pytest.approx(factor, rel=1e-12)
        assert float(system(_point(grid, 0, 3, depth))[1].sum()) == pytest.approx(factor, rel=1e-12)


def test_planes_are_independent_without_blur_and_not_with_it():
    grid = Grid.regular((7, 9, 9), 4.0)
    camera, image = _ring(grid, 0.0, 50.0), _point(grid, 3, 4, 4)
    sharp, blurred = camera.system(grid)(image), replace(camera, fwhm_mm=6.0).system(grid)(image)
    assert float(sharp[:, [0, 1, 2, 4, 5, 6]].abs().max()) == 0
    assert bool((blurred[:, 2].sum(-1) > 0.05).all())


def test_blur_has_its_variance_in_all_directions():
    grid = Grid.regular((25, 41, 41), (4.0, 3.0, 3.0))
    seen = _ring(grid, 0.0, 90.0, fwhm_mm=12.0).system(grid)(_point(grid, 12, 20, 20))
    variance = (12.0 / FWHM_PER_SIGMA) ** 2
    for view in seen:
        assert float(view.sum()) == pytest.approx(1, rel=1e-4)
        assert float((view.sum(0) * _offset(41, 3.0) ** 2).sum()) == pytest.approx(variance + 3.0**2 / 12, rel=1e-3)
        assert float((view.sum(1) * _offset(25, 4.0) ** 2).sum()) == pytest.approx(variance + 4.0**2 / 12, rel=1e-3)


def test_osem_finds_the_activity_of_a_cylinder():
    grid = Grid.regular((2, 32, 32), 6.0)
    activity, mu = 5.0 * _disc(grid, 60.0), _mu(grid, WATER_PER_CM * _disc(grid, 75.0))
    camera = Ring.half_turn(views=18, bins=32, bin_mm=6.0, planes=2, plane_mm=6.0, fwhm_mm=4.0)
    system = camera.system(grid, mu)
    found = osem(system, system(activity) + 2.0, iterations=6, subsets=6, background=torch.full((18, 2, 32), 2.0))
    inside = _disc(grid, 48.0) == 1
    assert float(found[inside].mean()) == pytest.approx(5.0, rel=0.01)
    assert float(found[inside].std()) < 0.15
    assert float(found[_disc(grid, 72.0) == 0].mean()) < 0.02
    uncorrected = osem(camera.system(grid), system(activity), iterations=2, subsets=6)
    assert float(uncorrected[inside].mean()) < 2.0


def test_half_turn_starts_at_anterior():
    camera = Ring.half_turn(views=4, bins=6, bin_mm=5.0, planes=3, plane_mm=4.0)
    assert camera.angles_deg == (0.0, 45.0, 90.0, 135.0)
    assert camera.projection_shape == (4, 3, 6)


@pytest.mark.parametrize(
    "change",
    [
        {"angles_deg": ()},
        {"angles_deg": (float("nan"),)},
        {"bins": 0},
        {"planes": -1},
        {"bin_mm": 0.0},
        {"plane_mm": -3.0},
        {"radius_mm": float("nan")},
        {"fwhm_mm": -1.0},
        {"fwhm_mm": float("inf")},
        {"radius_mm": 27.0},
    ],
)
def test_a_ring_that_cannot_be(change):
    with pytest.raises(BadArgument, match=next(iter(change)).split("_")[0]):
        replace(SMALL_RING, **change)


@pytest.mark.parametrize(
    ("grid", "error"),
    [
        (Grid.regular((3, 6, 7), (4.0, 8.0, 9.0)), GridMismatch),
        (Grid((3, 6, 7), ((0, 0, 9.0, 0), (0, 8.0, 0, 0), (-5.0, 0, 0, 0), (0, 0, 0, 1))), GridMismatch),
        (Grid.regular((4, 6, 7), (5.0, 8.0, 9.0)), ShapeMismatch),
    ],
)
def test_slices_that_are_not_the_planes(grid, error):
    with pytest.raises(error, match="plane"):
        SMALL_RING.system(grid)


def test_a_body_outside_the_ring():
    data = torch.zeros(SMALL.shape, dtype=torch.float64)
    data[1, 3, 0] = WATER_PER_CM
    ring = replace(SMALL_RING, bins=4, bin_mm=5.0, radius_mm=20.0)
    with pytest.raises(BadArgument, match="radius_mm 20 with mu above"):
        ring.system(SMALL, _mu(SMALL, data))
    data[1, 3, 0] = 0.01
    assert ring.system(SMALL, _mu(SMALL, data)).range_shape == ring.projection_shape


def test_mu_elsewhere():
    other = Grid.regular(SMALL.shape, SMALL.spacing_mm, centre_mm=(5.0, 0.0, 0.0))
    with pytest.raises(GridMismatch, match='"mu"'):
        SMALL_RING.system(SMALL, _mu(other, 0.1))


@pytest.mark.parametrize("quantity", [HU, attenuation(140.5)])
def test_mu_of_another_quantity_or_energy(quantity):
    with pytest.raises(WrongQuantity, match="511 keV"):
        SMALL_RING.system(SMALL, Volume(torch.zeros(SMALL.shape), SMALL, quantity))


@pytest.mark.parametrize("value", [-0.01, 40.0, float("nan")])
def test_mu_that_cannot_be_mu(value):
    data = 0.1 * torch.ones(SMALL.shape, dtype=torch.float64)
    data[0, 0, 0] = value
    with pytest.raises(BadValues, match="1/cm"):
        SMALL_RING.system(SMALL, _mu(SMALL, data))


def test_an_unknown_engine():
    with pytest.raises(BadArgument, match="joseph or parallelproj"):
        SMALL_RING.system(SMALL, engine="siddon")


@pytest.mark.parametrize("indices", [[-1], [99], []])
def test_a_view_that_is_not_there(indices):
    grid = Grid.regular((SMALL_RING.planes, 6, 7), (SMALL_RING.plane_mm, 8.0, 9.0))
    for views in (SMALL_RING.views, SMALL_RING.system(grid).views):
        with pytest.raises(BadArgument, match="views"):
            views(indices)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_whole_numbers_are_refused(dtype):
    system = SMALL_RING.system(Grid.regular((SMALL_RING.planes, 6, 7), (SMALL_RING.plane_mm, 8.0, 9.0)))
    for one in (system, system.T):
        with pytest.raises(BadArgument, match="float32 or float64"):
            one(torch.ones(one.domain_shape, dtype=dtype))
