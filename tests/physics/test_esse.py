from types import SimpleNamespace

import numpy as np
import pytest
import torch

from photopeak.core import EnergyWindow, Grid, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, WrongQuantity
from photopeak.physics.cross_sections import WATER, compton_energy_kev, klein_nishina, klein_nishina_total
from photopeak.physics.esse import Esse, interpolation, overlap
from photopeak.physics.esse_kernels import (
    SHELL_MM,
    SHIPPED,
    ScatterKernels,
    make_kernels,
    shipped_kernels,
    voxel_kernels,
)
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.photons import Acceptance
from photopeak.physics.response import GE_LEHR
from photopeak.testing import check_operator

GRID = Grid.regular((8, 16, 16), 12.8)
WATER_PER_CM = 0.1536


def _camera(grid: Grid, *angles_deg: float, ideal: bool = False) -> ParallelHole:
    nz, _, nx = grid.shape
    radii = (220.0,) * len(angles_deg)
    return ParallelHole(angles_deg, radii, (nz, nx), grid.spacing_mm[0], None if ideal else GE_LEHR)


def _mu(grid: Grid, per_cm: torch.Tensor | float = WATER_PER_CM) -> Volume:
    return Volume(per_cm * torch.ones(grid.shape, dtype=torch.float64), grid, attenuation(140.5))


def _cylinder(grid: Grid, radius_mm: float) -> torch.Tensor:
    points = torch.from_numpy(grid.points())
    return (torch.hypot(points[..., 0], points[..., 1]) < radius_mm).double()


@pytest.mark.parametrize("ideal", [True, False])
def test_keeps_the_promises_of_an_operator(ideal, generator):
    grid = Grid.regular((3, 7, 7), 9.0)
    mu = _mu(grid, 0.3 * torch.rand(grid.shape, generator=generator, dtype=torch.float64))
    check_operator(Esse(_camera(grid, 0.0, 37.0, ideal=ideal), grid, mu), generator=generator)


def test_some_views_are_rows_of_the_whole_and_join_the_system(generator):
    camera, mu = _camera(GRID, 0.0, 50.0, 130.0), _mu(GRID, WATER_PER_CM * _cylinder(GRID, 80.0))
    scatter, system = Esse(camera, GRID, mu), camera.system(GRID, mu)
    image = torch.rand(GRID.shape, generator=generator, dtype=torch.float64)
    assert torch.allclose(scatter.views([2, 0])(image), scatter(image)[[2, 0]], rtol=1e-12)
    assert torch.allclose((system + scatter)(image), system(image) + scatter(image), rtol=1e-12)
    assert torch.allclose((system + scatter).views([1])(image), (system + scatter)(image)[[1]], rtol=1e-12)


def test_scatter_is_positive_and_without_matter_there_is_none(generator):
    image = torch.rand(GRID.shape, generator=generator, dtype=torch.float64)
    camera = _camera(GRID, 20.0)
    assert float(Esse(camera, GRID, _mu(GRID, WATER_PER_CM * _cylinder(GRID, 80.0)))(image).min()) > -1e-9
    assert torch.equal(Esse(camera, GRID, _mu(GRID, 0.0))(image), torch.zeros(camera.projection_shape).double())


def test_thin_matter_scatters_in_proportion():
    camera, image = _camera(GRID, 20.0), _cylinder(GRID, 60.0)
    thin, thinner = (float(Esse(camera, GRID, _mu(GRID, mu))(image).sum()) for mu in (2e-5, 1e-5))
    assert thin / thinner == pytest.approx(2, rel=1e-3)


def test_a_thicker_cylinder_has_more_scatter_for_its_primary():
    ratios = []
    for radius in (40.0, 60.0, 80.0):
        body, camera = _cylinder(GRID, radius), _camera(GRID, 0.0)
        mu = _mu(GRID, WATER_PER_CM * body)
        ratios.append(float(Esse(camera, GRID, mu)(body).sum() / camera.system(GRID, mu)(body).sum()))
    assert ratios == sorted(ratios)
    assert 0.1 < ratios[0] < ratios[2] < 0.35


def test_symmetric_bodies_scatter_symmetrically():
    body = _cylinder(GRID, 80.0)
    seen = Esse(_camera(GRID, 0.0, 90.0, 180.0, 270.0), GRID, _mu(GRID, WATER_PER_CM * body))(body)
    assert torch.allclose(seen, seen[:1].expand_as(seen), rtol=1e-9)
    assert torch.allclose(seen, seen.flip(1), rtol=1e-9)
    assert torch.allclose(seen, seen.flip(2), rtol=1e-9)


# Frozen from photons.track of 8 million histories (seed 1), noise 0.06 %: scatter over primary from the front and from
# the left, of a cube of 12.8 mm in the middle of a water cylinder or 51.2 mm in front of it.
@pytest.mark.parametrize(
    ("forward_voxels", "radius_mm", "expected"),
    [(0, 100.0, [0.635, 0.634]), (8, 100.0, [0.314, 0.519]), (0, 150.0, [0.915, 0.914])],
)
def test_a_point_in_water_agrees_with_monte_carlo(forward_voxels, radius_mm, expected):
    grid = Grid.regular((40, 64, 64), 6.4)
    mu, camera = _mu(grid, WATER_PER_CM * _cylinder(grid, radius_mm)), _camera(grid, 0.0, 90.0)
    point = torch.zeros(grid.shape)
    point[19:21, 31 - forward_voxels : 33 - forward_voxels, 31:33] = 1
    scatter, primary = Esse(camera, grid, mu)(point).sum((1, 2)), camera.system(grid, mu)(point).sum((1, 2))
    assert (scatter / primary).tolist() == pytest.approx(expected, rel=0.02)


def test_lung_around_lets_photons_go_further():
    body, camera = _cylinder(GRID, 90.0), _camera(GRID, 0.0)
    water, lung = (_mu(GRID, share * WATER_PER_CM * body) for share in (1.0, 0.5))
    dense, thin = (
        float(Esse(camera, GRID, mu)(body).sum() / Esse(camera, GRID, mu, around_mm=None)(body).sum())
        for mu in (water, lung)
    )
    assert dense == pytest.approx(1, abs=0.01)
    assert thin > 1.1


def test_fine_and_coarse_voxels_agree():
    grid = Grid.regular((16, 32, 32), 6.4)
    body, camera = _cylinder(grid, 80.0), _camera(grid, 30.0)
    mu = _mu(grid, WATER_PER_CM * body)
    coarse, fine = (Esse(camera, grid, mu, voxel_mm=size)(body) for size in (12.8, 6.4))
    assert float((coarse - fine)[:, 3:-3].norm() / fine[:, 3:-3].norm()) < 0.05
    assert float(coarse.sum() / fine.sum()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("slices", [8, 10, 12, 13])
def test_empty_slices_around_a_body_change_nothing(slices):
    # 8 slices and their reach are 15, a length that an FFT is quick at and that is odd.
    def inner(nz: int) -> torch.Tensor:
        grid, spare = Grid.regular((nz, 16, 16), 12.8), (nz - slices) // 2
        body = torch.zeros(grid.shape, dtype=torch.float64)
        body[spare : spare + slices] = _cylinder(Grid.regular((slices, 16, 16), 12.8), 70.0)
        seen = Esse(_camera(grid, 0.0, 50.0), grid, _mu(grid, WATER_PER_CM * body), around_mm=None)(body)
        return seen[:, spare : spare + slices]

    assert torch.allclose(inner(slices), inner(slices + 6), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_whole_or_complex_numbers_are_refused(dtype):
    scatter = Esse(_camera(GRID, 0.0), GRID, _mu(GRID))
    for one in (scatter, scatter.T):
        with pytest.raises(BadArgument, match="float32 or float64"):
            one(torch.ones(one.domain_shape, dtype=dtype))


def test_close_to_the_source_the_kernel_is_the_klein_nishina_law():
    kernels = shipped_kernels()
    accept = Acceptance(kernels.window, kernels.energy_resolution, kernels.energy_kev)
    cosine = np.linspace(-1, 1, 20001)
    law = klein_nishina(140.5, cosine) * accept(compton_energy_kev(140.5, cosine)) / klein_nishina_total(140.5)
    expected = float(WATER.incoherent_per_cm(140.5)) * 2 * np.pi * np.trapezoid(law, cosine)
    found = float(kernels.moments[0, 0].sum()) / (SHELL_MM / 10)
    assert found == pytest.approx(expected + float(WATER.coherent_per_cm(140.5)), rel=0.05)
    assert kernels.moments[0, 0, 32:].sum() > 0.8 * kernels.moments[0, 0].sum()


def test_voxels_keep_the_kernels_counts_and_favour_forward_scatter():
    kernels = shipped_kernels()
    made = voxel_kernels(kernels, 20.0, (21, 21, 21))
    assert np.allclose(made.sum((1, 2, 3)), kernels.moments.sum((1, 2)), rtol=1e-5)
    assert made[0, :21].sum() > 4 * made[0, 22:].sum()
    assert made[0].min() >= 0


def test_kernels_are_the_same_on_any_number_of_threads_and_survive_the_disk(tmp_path):
    threads = torch.get_num_threads()
    made = []
    for number in (1, 2):
        torch.set_num_threads(number)
        made.append(make_kernels(histories=6400, seed=3))
    torch.set_num_threads(threads)
    assert np.array_equal(made[0].moments, made[1].moments)
    made[0].save(tmp_path / "k.safetensors")
    back = ScatterKernels.load(tmp_path / "k.safetensors")
    assert np.array_equal(back.moments, made[0].moments)
    assert (back.window, back.histories, back.seed) == (made[0].window, 6400, 3)


def test_shipped_kernels_can_be_made_again():
    shipped = shipped_kernels()
    again = make_kernels(shipped.window, energy_resolution=shipped.energy_resolution, histories=200_000, seed=5)
    assert np.allclose(again.moments.sum((1, 2)), shipped.moments.sum((1, 2)), rtol=0.02)
    assert SHIPPED.stat().st_size < 300_000


def test_a_wider_window_lets_more_scatter_in():
    wide, narrow = (make_kernels(EnergyWindow(low, 155.0), histories=20_000).moments[0].sum() for low in (110, 130))
    assert wide > 1.5 * narrow


@pytest.mark.parametrize(
    "arguments",
    [
        {"window": EnergyWindow(150.0, 130.0)},
        {"energy_kev": 700.0},
        {"energy_resolution": 0.0},
        {"energy_resolution": 9.5},
        {"histories": 0},
    ],
)
def test_kernels_that_cannot_be(arguments):
    with pytest.raises(BadArgument, match="keV"):
        make_kernels(**arguments)


def test_another_camera():
    with pytest.raises(BadArgument, match="pinhole"):
        Esse(SimpleNamespace(kind="pinhole"), GRID, _mu(GRID))


@pytest.mark.parametrize("length", ["voxel_mm", "around_mm"])
def test_lengths_that_are_none(length):
    with pytest.raises(BadArgument, match=f"{length}=0"):
        Esse(_camera(GRID, 0.0), GRID, _mu(GRID), **{length: 0.0})


def test_mu_that_cannot_be_used():
    camera, elsewhere = _camera(GRID, 0.0), Grid.regular(GRID.shape, 12.8, centre_mm=(3.0, 0.0, 0.0))
    with pytest.raises(GridMismatch, match='"mu"'):
        Esse(camera, GRID, _mu(elsewhere))
    with pytest.raises(BadValues, match="1/cm"):
        Esse(camera, GRID, _mu(GRID, -0.1))
    with pytest.raises(WrongQuantity, match='"mu"'):
        Esse(camera, GRID, Volume(torch.zeros(GRID.shape), GRID, attenuation(511.0)))


@pytest.mark.parametrize(("fine", "coarse", "ratio"), [(64, 32, 2.0), (7, 5, 12.8 / 9), (5, 5, 1.0)])
def test_coarse_cells_keep_what_fine_ones_hold(fine, coarse, ratio):
    shares = overlap(fine, coarse, ratio)
    assert torch.allclose(shares.sum(0), torch.ones(fine, dtype=torch.float64))
    level = interpolation(fine, coarse, ratio) @ torch.full((coarse,), ratio, dtype=torch.float64)
    assert torch.allclose(level, torch.ones(fine, dtype=torch.float64))
