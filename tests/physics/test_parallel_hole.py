import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core import HU, Grid, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, ShapeMismatch, WrongQuantity
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.parallel_hole_gemm import GemmEngine
from photopeak.physics.response import FWHM_PER_SIGMA, GE_LEHR
from photopeak.testing import check_camera

SMALL = Grid.regular((2, 5, 5), 12.0)
WATER_PER_CM = 0.15


def _mu(grid: Grid, data: torch.Tensor | float) -> Volume:
    return Volume(data * torch.ones(grid.shape, dtype=torch.float64), grid, attenuation(140.5))


def _camera(grid: Grid, *angles_deg: float, radius_mm: float = 250.0, ideal: bool = True) -> ParallelHole:
    nz, _, nx = grid.shape
    collimator = None if ideal else GE_LEHR
    return ParallelHole(angles_deg, (radius_mm,) * len(angles_deg), (nz, nx), grid.spacing_mm[0], collimator)


def _disc(grid: Grid, radius_mm: float) -> torch.Tensor:
    """[z, y, x] share of each voxel inside a cylinder about the middle."""
    _, n, _ = grid.shape
    fine = ((torch.arange(n * 5, dtype=torch.float64) + 0.5) / 5 - n / 2) * grid.spacing_mm[1]
    inside = (torch.hypot(fine[:, None], fine[None, :]) <= radius_mm).double()
    return inside.reshape(n, 5, n, 5).mean((1, 3)).expand(grid.shape).clone()


def _apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _point(grid: Grid, k: int, j: int, i: int) -> torch.Tensor:
    image = torch.zeros(grid.shape, dtype=torch.float64)
    image[k, j, i] = 1
    return image


class ByEngine(ParallelHole):
    """The camera with one engine whatever the device."""

    engine = "auto"

    def system(self, grid, mu=None, **settings):
        return super().system(grid, mu, engine=self.engine, **settings)


class ByGemm(ByEngine):
    engine = "gemm"


class ByCompiled(ByEngine):
    engine = "compiled"


@pytest.mark.parametrize("kind", [ByGemm, ByCompiled])
@pytest.mark.parametrize("ideal", [True, False])
@pytest.mark.parametrize("attenuated", [True, False])
def test_keeps_the_promises_of_a_camera(kind, ideal, attenuated, generator):
    mu = _mu(SMALL, 0.3 * torch.rand(SMALL.shape, generator=generator, dtype=torch.float64)) if attenuated else None
    camera = _camera(SMALL, -45.0, 10.0, 180.0, ideal=ideal)
    check_camera(kind(**{**vars(camera), "radii_mm": (80.0, 120.0, 80.0)}), SMALL, mu)


def test_a_point_at_the_left_is_at_a_larger_column_from_anterior():
    grid = Grid.regular((1, 9, 9), 10.0)
    left, front = _point(grid, 0, 4, 7), _point(grid, 0, 1, 4)
    system = _camera(grid, 0.0, 90.0, 180.0).system(grid)
    assert system(left)[:, 0].argmax(1).tolist() == [7, 4, 1]
    assert system(front)[:, 0].argmax(1).tolist() == [4, 1, 4]


def test_the_side_nearest_the_detector_is_attenuated_least():
    grid = Grid.regular((1, 9, 9), 10.0)
    system = _camera(grid, 0.0, 90.0, 180.0, 270.0).system(grid, _mu(grid, _disc(grid, 45.0) * WATER_PER_CM))
    left, front = (system(point).sum((1, 2)) for point in (_point(grid, 0, 4, 7), _point(grid, 0, 1, 4)))
    assert (int(left.argmax()), int(left.argmin())) == (1, 3)
    assert (int(front.argmax()), int(front.argmin())) == (0, 2)


def test_rows_follow_z():
    grid = Grid.regular((5, 4, 4), 10.0)
    seen = _camera(grid, 33.0).system(grid)(_point(grid, 3, 2, 2))
    assert int(seen[0].sum(1).argmax()) == 3


def test_a_uniform_disc_gives_its_chords():
    grid, radius = Grid.regular((1, 48, 48), 5.0), 100.0
    seen = _camera(grid, 0.0, 30.0, 90.0, 201.0).system(grid)(_disc(grid, radius))[:, 0]
    offset = 5.0 * (torch.arange(48, dtype=torch.float64) - 23.5)
    inner = offset.abs() < 0.9 * radius
    chords = 2 * (radius**2 - offset[inner] ** 2).sqrt() / 5.0
    assert torch.allclose(seen[:, inner], chords.expand(4, -1), rtol=0.015)
    assert torch.allclose(seen.sum(1), _disc(grid, radius).sum().expand(4), rtol=2e-3)


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, -90.0])
@pytest.mark.parametrize("depth", [0, 3, 8])
def test_an_attenuated_point_follows_its_depth(angle, depth):
    grid = Grid.regular((1, 9, 9), 10.0)
    place = {0.0: (depth, 4), 90.0: (4, 8 - depth), 180.0: (8 - depth, 4), -90.0: (4, depth)}[angle]
    system = _camera(grid, angle).system(grid, _mu(grid, WATER_PER_CM))
    expected = torch.tensor(-WATER_PER_CM * (depth + 0.5), dtype=torch.float64).exp()
    assert float(system(_point(grid, 0, *place)).sum()) == pytest.approx(float(expected), rel=1e-9)


def test_an_attenuated_disc_follows_the_integral():
    grid, radius = Grid.regular((1, 48, 48), 5.0), 100.0
    disc = _disc(grid, radius)
    seen = _camera(grid, 0.0, 37.0).system(grid, _mu(grid, disc * WATER_PER_CM))(disc)[:, 0]
    offset = 5.0 * (torch.arange(48, dtype=torch.float64) - 23.5)
    inner = offset.abs() < 0.9 * radius
    chord_cm = 2 * (radius**2 - offset[inner] ** 2).sqrt() / 10
    path = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None] * chord_cm
    expected = torch.trapezoid(torch.exp(-WATER_PER_CM * path), path, dim=0) / 0.5
    assert torch.allclose(seen[:, inner], expected.expand(2, -1), rtol=0.02)


@pytest.mark.parametrize("radius_mm", [100.0, 200.0])
def test_a_point_is_blurred_by_its_distance(radius_mm):
    grid = Grid.regular((41, 41, 41), 3.0)
    seen = _camera(grid, 0.0, radius_mm=radius_mm, ideal=False).system(grid)(_point(grid, 20, 30, 20))[0]
    offset = 3.0 * (torch.arange(41, dtype=torch.float64) - 20)
    fwhm = GE_LEHR.fwhm_mm(torch.tensor(radius_mm + 30.0, dtype=torch.float64))
    expected = float((fwhm / FWHM_PER_SIGMA) ** 2 + 3.0**2 / 12)
    assert float(seen.sum()) == pytest.approx(1, rel=1e-3)
    for profile in (seen.sum(0), seen.sum(1)):
        assert float((profile * offset**2).sum()) == pytest.approx(expected, rel=0.01)


def test_circular_orbit_has_views_in_the_middle_of_each_step():
    camera = ParallelHole.circular(views=4, arc_deg=180.0, start_deg=-45.0, shape=(3, 6), pixel_mm=12.0)
    assert camera.angles_deg == (-22.5, 22.5, 67.5, 112.5)
    assert camera.radii_mm == (250.0,) * 4
    assert camera.projection_shape == (4, 3, 6)


def _torso(grid: Grid) -> tuple[Volume, torch.Tensor]:
    """A body that leaves the field at both ends, with a hot column off the axis."""
    _, n, _ = grid.shape
    width = n * grid.spacing_mm[1]
    body, hot = _disc(grid, 0.35 * width), torch.roll(_disc(grid, 0.1 * width), n // 6, dims=2)
    return _mu(grid, body * WATER_PER_CM), body + 5 * hot


@pytest.mark.parametrize("ideal", [True, False])
@pytest.mark.parametrize("kernel", ["integrated", "sampled"])
@pytest.mark.parametrize("voxel_mm", [3.2, 6.4])
def test_engines_agree(ideal, kernel, voxel_mm):
    grid = Grid.regular((8, 48, 48), voxel_mm)
    mu, image = _torso(grid)
    camera = _camera(grid, -45.0, 17.0, 90.0, radius_mm=200.0, ideal=ideal)
    compiled, gemm = (camera.system(grid, mu, engine=engine, kernel=kernel) for engine in ("compiled", "gemm"))
    tolerance = 1e-12 if ideal else 1e-3
    assert _apart(compiled(image), gemm(image)) < tolerance
    counts = gemm(image)
    assert _apart(compiled.T(counts), gemm.T(counts)) < tolerance


def test_views_in_one_product_are_the_views_one_by_one():
    grid = Grid.regular((3, 9, 9), 10.0)
    mu, image = _torso(grid)
    camera = replace(_camera(grid, 0.0, 20.0, 50.0, 90.0, 100.0, ideal=False), radii_mm=(90.0, 90.0, 90.0, 80.0, 90.0))
    one_by_one = camera.system(grid, mu, engine="gemm")
    response, columns = camera.response(9), mu.data.permute(1, 2, 0).contiguous()
    together = GemmEngine(camera.angles_deg, response, columns, (9, 3), 10.0, memory_mb=1.0, at_once=3)
    torch.testing.assert_close(together.forward(image[None])[0], one_by_one(image))
    counts = one_by_one(image)
    torch.testing.assert_close(together.adjoint(counts[None])[0], one_by_one.T(counts))


def test_little_memory_gives_the_same_numbers():
    grid = Grid.regular((3, 9, 9), 10.0)
    mu, image = _torso(grid)
    camera = _camera(grid, 0.0, 20.0, 50.0, radius_mm=90.0, ideal=False)
    some, none = (camera.system(grid, mu, engine="gemm", memory_mb=mb) for mb in (100.0, 0.0))
    assert torch.equal(some(image), none(image))


def test_a_sampled_kernel_is_narrower_by_the_pixel():
    grid = Grid.regular((41, 41, 41), 6.4)
    camera, point = _camera(grid, 0.0, radius_mm=350.0, ideal=False), _point(grid, 20, 20, 20)
    offset = torch.arange(41, dtype=torch.float64) - 20
    for engine in ("gemm", "compiled"):
        integrated, sampled = (
            float((camera.system(grid, engine=engine, kernel=kernel)(point)[0].sum(0) * offset**2).sum())
            for kernel in ("integrated", "sampled")
        )
        assert integrated - sampled == pytest.approx(1 / 12, rel=0.05)


def test_l_mode_is_the_half_circle_seen_by_two_heads():
    heads, whole = ParallelHole.l_mode(views=6), ParallelHole.circular(views=6)
    assert sorted(heads.angles_deg) == pytest.approx(whole.angles_deg)
    assert heads.angles_deg[:3] == pytest.approx([a - 90 for a in heads.angles_deg[3:]])
    with pytest.raises(BadArgument, match="even"):
        ParallelHole.l_mode(views=5)


@given(st.floats(-180, 180), st.floats(20, 60), st.floats(20, 60))
def test_a_contour_orbit_keeps_its_gap(angle, half_width, half_depth):
    grid = Grid.regular((1, 64, 64), 2.0)
    points = grid.points()
    ellipse = (points[..., 0] / half_width) ** 2 + (points[..., 1] / half_depth) ** 2 < 1
    mu = _mu(grid, torch.from_numpy(ellipse * WATER_PER_CM))
    (radius,) = _camera(grid, angle).around(mu, gap_mm=15.0).radii_mm
    phi = math.radians(angle)
    assert radius - 15.0 == pytest.approx(math.hypot(half_width * math.sin(phi), half_depth * math.cos(phi)), abs=2.5)


def test_a_body_that_reaches_through_the_collimator():
    grid = Grid.regular((1, 33, 33), 10.0)
    mu = _mu(grid, _disc(grid, 120.0) * WATER_PER_CM)
    _camera(grid, 0.0, 90.0, radius_mm=125.0).system(grid, mu)
    with pytest.raises(BadArgument, match="radius 110 mm of view 0"):
        _camera(grid, 0.0, 90.0, radius_mm=110.0).system(grid, mu)


@pytest.mark.parametrize("settings", [{"engine": "fortran"}, {"kernel": "boxcar"}])
def test_an_engine_or_kernel_that_there_is_not(settings):
    with pytest.raises(BadArgument, match="gemm"):
        _camera(SMALL, 0.0).system(SMALL, **settings)


def test_half_precision_is_refused():
    with pytest.raises(BadArgument, match="float16"):
        _camera(SMALL, 0.0).system(SMALL)(torch.zeros(SMALL.shape, dtype=torch.float16))


def test_mu_elsewhere():
    other = Grid.regular((2, 5, 5), 12.0, centre_mm=(5.0, 0.0, 0.0))
    with pytest.raises(GridMismatch, match='"mu"'):
        _camera(SMALL, 0.0).system(SMALL, _mu(other, 0.1))


@pytest.mark.parametrize("value", [-0.01, 40.0, float("nan")])
def test_mu_that_cannot_be_mu(value):
    data = 0.1 * torch.ones(SMALL.shape, dtype=torch.float64)
    data[0, 0, 0] = value
    with pytest.raises(BadValues, match="1/cm"):
        _camera(SMALL, 0.0).system(SMALL, _mu(SMALL, data))


@pytest.mark.parametrize("quantity", [HU, attenuation(511.0)])
def test_mu_of_another_quantity(quantity):
    with pytest.raises(WrongQuantity, match='"mu"'):
        _camera(SMALL, 0.0).system(SMALL, Volume(torch.zeros(SMALL.shape), SMALL, quantity))


@pytest.mark.parametrize(
    "change",
    [
        {"radii_mm": (0.0,)},
        {"radii_mm": (-10.0,)},
        {"radii_mm": (math.nan,)},
        {"radii_mm": (math.inf,)},
        {"radii_mm": ()},
        {"pixel_mm": 0.0},
        {"pixel_mm": math.nan},
        {"angles_deg": ()},
        {"angles_deg": (math.nan,)},
        {"angles_deg": (math.inf,)},
    ],
)
def test_a_camera_that_cannot_be(change):
    with pytest.raises(BadArgument, match=r"radi"):
        replace(_camera(SMALL, 0.0), **change)


@pytest.mark.parametrize(
    "grid", [Grid.regular((2, 5, 6), 12.0), Grid.regular((2, 5, 5), (10.0, 12.0, 12.0)), Grid.regular((2, 5, 5), 6.0)]
)
def test_a_grid_that_cannot_be_turned(grid):
    with pytest.raises(GridMismatch, match="square transaxial"):
        _camera(SMALL, 0.0).system(grid)


def test_a_detector_of_another_shape():
    with pytest.raises(ShapeMismatch, match=r"\(4, 5\)"):
        replace(_camera(SMALL, 0.0), shape=(4, 5)).system(SMALL)


def test_an_image_of_another_shape():
    with pytest.raises(ShapeMismatch, match=r"\(5, 5, 2\)"):
        _camera(SMALL, 0.0).system(SMALL)(torch.zeros(5, 5, 2))


@pytest.mark.parametrize("indices", [[-1], [2], [0, 99], []])
def test_a_view_that_is_not_there(indices):
    camera = _camera(SMALL, 0.0, 90.0)
    for views in (camera.views, camera.system(SMALL).views):
        with pytest.raises(BadArgument, match=r"views \["):
            views(indices)


@pytest.mark.parametrize("views", [0, -1])
def test_an_orbit_without_views(views):
    with pytest.raises(BadArgument, match=f"views={views}"):
        ParallelHole.circular(views=views)


def test_an_orbit_around_what_is_not_mu():
    with pytest.raises(WrongQuantity, match='"mu"'):
        _camera(SMALL, 0.0).around(Volume(torch.zeros(SMALL.shape), SMALL, HU))


@pytest.mark.parametrize("engine", ["gemm", "compiled"])
def test_an_empty_batch_gives_one(engine):
    system = _camera(SMALL, 0.0, 30.0, ideal=False).system(SMALL, engine=engine)
    for one in (system, system.T):
        assert one(torch.zeros(0, *one.domain_shape)).shape == (0, *one.range_shape)
