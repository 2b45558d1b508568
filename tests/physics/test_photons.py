"""The tracker against exact laws, against photons followed without any forcing, and against its frozen results."""

from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core import HU, Grid, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, ShapeMismatch, WrongQuantity
from photopeak.core.projections import TC99M_WINDOW, EnergyWindow
from photopeak.physics import photon_kernels as kernels
from photopeak.physics import photons
from photopeak.physics.cross_sections import CORTICAL_BONE, MUSCLE, WATER, klein_nishina, klein_nishina_total
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.photons import Acceptance, PhotonCounts, mixture, track

FROZEN = Path(__file__).parent / "fixtures" / "photons_chest.npz"
WATER_PER_CM = float(WATER.mu_per_cm(140.5))
COARSE = Grid.regular((12, 20, 20), 15.0)


def _mu(data: np.ndarray, grid: Grid) -> Volume:
    return Volume(torch.from_numpy(np.array(data, dtype=np.float64)), grid, attenuation(140.5))


def _camera(grid: Grid, *angles_deg: float, radius_mm: float = 250.0) -> ParallelHole:
    """Without a collimator's blur."""
    nz, _, nx = grid.shape
    return ParallelHole(angles_deg, (radius_mm,) * len(angles_deg), (nz, nx), grid.spacing_mm[0], None)


def _seed(number: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def _cylinder(grid: Grid, radius_mm: float) -> np.ndarray:
    points = grid.points()
    return np.hypot(points[..., 0], points[..., 1]) < radius_mm


def _in_cylinder(*angles_deg: float, histories: int = 100_000, **settings: object) -> PhotonCounts:
    """Activity and water filling a cylinder about the axis, 20 cm across."""
    inside = _cylinder(COARSE, 100.0)
    source, water = torch.from_numpy(inside.astype(np.float32)), _mu(inside * WATER_PER_CM, COARSE)
    arguments: dict[str, object] = {"histories": histories, "generator": _seed()} | settings
    return track(source, water, _camera(COARSE, *angles_deg), **arguments)  # type: ignore[arg-type]


def _medium(mu_per_cm: np.ndarray, voxel_mm: float, *, energy_kev: float = 140.5) -> kernels.Medium:
    return photons._medium(mu_per_cm, voxel_mm, Acceptance(TC99M_WINDOW, 0.095, energy_kev), coherent=False)


@numba.njit
def _uncollided(n, z, y, x, row, medium, state):
    """Share of a pencil beam along y that leaves without an interaction."""
    passed = 0
    for _ in range(n):
        passed += not kernels.flown(z, y, x, 0.0, 1.0, 0.0, row, medium, state)[4]
    return passed / n


@numba.njit
def _cosines(n, energy_kev, state):
    drawn = np.empty(n)
    for k in range(n):
        drawn[k] = kernels.scatter_cosine(energy_kev, state)
    return drawn


@pytest.mark.parametrize("depth_cm", [2, 5, 10, 20])
def test_a_narrow_beam_through_a_slab_follows_the_exponential(depth_cm):
    medium = _medium(np.full((3, depth_cm, 3), WATER_PER_CM), 10.0)
    passed = _uncollided(500_000, 1.5, 0.0, 1.5, 2047, medium, np.array([depth_cm], np.uint64))
    expected = np.exp(-WATER_PER_CM * depth_cm)
    assert passed == pytest.approx(expected, abs=4 * np.sqrt(expected / 500_000))


def test_a_narrow_beam_of_lower_energy_through_lung_tissue_and_bone():
    layers = np.array([0.044, WATER_PER_CM, float(CORTICAL_BONE.mu_per_cm(140.5)), 0.0])
    medium = _medium(np.broadcast_to(layers[None, :, None], (3, 4, 3)), 20.0)
    energy_kev = medium.floor_kev
    ratio = MUSCLE.mu_per_cm(energy_kev) / MUSCLE.mu_per_cm(140.5)
    expected = np.exp(-2 * ((0.044 + WATER_PER_CM) * ratio + CORTICAL_BONE.mu_per_cm(energy_kev)))
    passed = _uncollided(500_000, 1.5, 0.0, 1.5, 0, medium, np.array([3], np.uint64))
    assert passed == pytest.approx(float(expected), rel=0.01)


@pytest.mark.parametrize("depth_cm", [3, 9, 15])
def test_primaries_from_behind_a_slab_follow_the_exponential(depth_cm):
    grid = Grid.regular((2, 20, 20), 10.0)
    water, source = np.zeros(grid.shape), torch.zeros(grid.shape)
    water[:, 18 - depth_cm : 18], source[:, 18] = WATER_PER_CM, 1
    seen = track(source, _mu(water, grid), _camera(grid, 0.0), histories=20_000, generator=_seed(), orders=0)
    assert float(seen.primary.sum()) == pytest.approx(40 * np.exp(-WATER_PER_CM * depth_cm), rel=1e-4)


@given(angle=st.floats(0, 2 * np.pi), y=st.floats(0, 5.999), x=st.floats(0, 6.999), seed=st.integers(0, 99))
def test_the_way_out_is_the_line_integral(angle, y, x, seed):
    mu = np.random.default_rng(seed).random((1, 6, 7, 2)).astype(np.float32)
    dy, dx = float(np.sin(angle)), float(np.cos(angle))
    step = 1e-3
    along = (np.arange(12_000) + 0.5) * step
    j, i = np.floor(y + along * dy).astype(int), np.floor(x + along * dx).astype(int)
    inside = (j >= 0) & (j < 6) & (i >= 0) & (i < 7)
    expected = mu[0, j[inside], i[inside]].sum(0, dtype=float) * step
    assert kernels.path_out(0.5, y, x, dy, dx, mu) == pytest.approx(expected, abs=0.012)


@given(energy=st.floats(30, 511), cosine=st.floats(-1, 1))
def test_compton_s_relation(energy, cosine):
    after, per_sr = kernels.compton(energy, cosine)
    assert 1 / after - 1 / energy == pytest.approx((1 - cosine) / 510.99895, rel=1e-9, abs=1e-15)
    assert per_sr == pytest.approx(float(klein_nishina(energy, cosine)), rel=1e-12)


@pytest.mark.parametrize("energy_kev", [60.0, 140.5, 511.0])
def test_scatter_angles_follow_klein_nishina(energy_kev):
    n, bins = 200_000, 20
    counted, edges = np.histogram(_cosines(n, energy_kev, np.array([8], np.uint64)), bins, (-1, 1))
    fine = np.linspace(-1, 1, bins * 50 + 1)
    density = 2 * np.pi * klein_nishina(energy_kev, 0.5 * (fine[1:] + fine[:-1])) / klein_nishina_total(energy_kev)
    expected = n * (density * np.diff(fine)).reshape(bins, 50).sum(1)
    assert len(edges) == bins + 1
    assert ((counted - expected) ** 2 / expected).sum() < 45


@given(z=st.floats(-1, 1), azimuth=st.floats(0, 6.3), cosine=st.floats(-1, 1), seed=st.integers(0, 2**60))
def test_a_turn_keeps_its_angle(z, azimuth, cosine, seed):
    flat = np.sqrt(1 - z * z)
    before = np.array([z, flat * np.sin(azimuth), flat * np.cos(azimuth)])
    after = np.array(kernels.turned(*before, cosine, np.array([seed], np.uint64)))
    assert np.linalg.norm(after) == pytest.approx(1, abs=1e-9)
    assert before @ after == pytest.approx(cosine, abs=1e-7)


@pytest.mark.parametrize("filled", [True, False])
def test_forced_detection_agrees_with_photons_that_are_not_forced(filled):
    grid, widest, orders = Grid.regular((24, 32, 32), 8.0), 0.15, 3
    inside = _cylinder(grid, 110.0)
    source = inside if filled else _cylinder(grid, 10.0)
    emitted = torch.from_numpy((source & (np.abs(grid.points()[..., 2]) < 60)).astype(np.float64))
    views = _camera(grid, *np.arange(0, 360, 22.5))
    forced = track(
        emitted, _mu(inside * WATER_PER_CM, grid), views,
        histories=600_000, generator=_seed(), coherent=False, orders=orders,
    )  # fmt: skip
    of_source, body = photons._cropped(emitted.numpy(), inside * WATER_PER_CM)
    free = np.zeros(orders + 1)
    kernels.follow_analogue(np.uint64(9), 2_000_000, orders, of_source, _medium(body.mu, 8.0), widest, free)
    ours = (forced.by_order.mean(0) / emitted.sum()).numpy()
    assert ours[1] == 0
    assert ours[[0, 2]] == pytest.approx(free[:2], rel=0.015)
    assert ours[3] == pytest.approx(free[2], rel=0.04)
    assert float(forced.scatter.sum()) / float(forced.primary.sum()) == pytest.approx(
        free[1:].sum() / free[0], rel=0.02
    )


@pytest.mark.parametrize("ideal", [True, False])
def test_primaries_are_what_the_system_sees(ideal):
    points = COARSE.points()
    body = (points[..., 0] / 130) ** 2 + (points[..., 1] / 90) ** 2 < 1
    source = torch.from_numpy(0.1 * body + (np.linalg.norm(points - [40, -30, 10], axis=-1) < 35))
    mu = _mu(body * 0.15, COARSE)
    camera = _camera(COARSE, 0.0, 90.0, 180.0, -90.0)
    camera = camera if ideal else ParallelHole(camera.angles_deg, camera.radii_mm, camera.shape, camera.pixel_mm)
    seen, expected = (
        track(source, mu, camera, histories=400_000, generator=_seed(), orders=0).primary,
        camera.system(COARSE, mu)(source),
    )
    assert seen.sum((1, 2)).tolist() == pytest.approx(expected.sum((1, 2)).tolist(), rel=0.01)
    assert float((seen - expected).norm() / expected.norm()) < 0.06


def test_scatter_comes_from_the_side_of_the_source():
    inside = _cylinder(COARSE, 120.0)
    source = torch.zeros(COARSE.shape)
    source[9, 10, 14] = 1
    seen = track(
        source, _mu(inside * 0.15, COARSE), _camera(COARSE, 0.0, 90.0, 180.0), histories=60_000, generator=_seed()
    ).scatter
    columns, rows = torch.arange(20), torch.arange(12)
    across = (seen.sum(1) * columns).sum(1) / seen.sum((1, 2))
    along = (seen.sum(2) * rows).sum(1) / seen.sum((1, 2))
    assert across[0] > 11
    assert across[1] == pytest.approx(10, abs=0.5)
    assert across[2] == pytest.approx(19 - float(across[0]), abs=0.2)
    assert (along > 7).all()
    assert seen[1].sum() > seen[0].sum()


def test_opposite_views_of_a_cylinder_agree():
    seen = _in_cylinder(0.0, 180.0, histories=400_000)
    assert float(seen.scatter[0].sum() / seen.scatter[1].sum()) == pytest.approx(1, abs=0.02)


def test_counts_follow_the_activity_and_not_the_number_of_histories():
    inside = _cylinder(COARSE, 100.0)
    water, camera = _mu(inside * WATER_PER_CM, COARSE), _camera(COARSE, 0.0)
    source = torch.from_numpy(inside.astype(np.float32))
    few, twice, many = (
        track(scale * source, water, camera, histories=n, generator=_seed())
        for scale, n in ((1, 50_000), (2, 50_000), (1, 200_000))
    )
    assert torch.allclose(2 * few.scatter, twice.scatter)
    assert float(few.scatter.sum()) == pytest.approx(float(many.scatter.sum()), rel=0.04)
    assert float(many.scatter_variance.sum()) == pytest.approx(float(few.scatter_variance.sum()) / 4, rel=0.1)


def test_the_variance_is_that_between_seeds():
    runs = [_in_cylinder(0.0, histories=4_000, generator=_seed(k)) for k in range(40)]
    between = torch.stack([run.scatter for run in runs]).var(0).sum()
    said = torch.stack([run.scatter_variance for run in runs]).mean(0).sum()
    assert float(between / said) == pytest.approx(1, abs=0.2)


def test_same_seed_same_bits_whatever_the_threads():
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(_in_cylinder(0.0, 40.0, 90.0, histories=5_000))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0].scatter, found[1].scatter)
    assert torch.equal(found[0].primary, found[1].primary)
    assert not torch.equal(found[0].scatter, _in_cylinder(0.0, 40.0, 90.0, histories=5_000, generator=_seed(6)).scatter)


def test_orders_and_coherent_photons_add_up():
    seen, without, alone = (
        _in_cylinder(0.0, **settings) for settings in ({}, {"coherent": False}, {"coherent": False, "orders": 0})
    )
    assert float(seen.by_order[:, 0].sum()) == pytest.approx(float(seen.primary.sum()), rel=1e-9)
    assert float(seen.by_order[:, 1:].sum()) == pytest.approx(float(seen.scatter.sum()), rel=1e-9)
    assert (seen.by_order[0, 2:-1] > seen.by_order[0, 3:]).all()
    assert seen.scatter.sum() > without.scatter.sum()
    assert float(alone.scatter.sum()) == 0
    assert float(alone.primary.sum()) == pytest.approx(float(seen.primary.sum()), rel=0.01)


def test_the_window_decides_how_much_scatter_is_counted():
    wide, narrow, below = (
        _in_cylinder(0.0, window=EnergyWindow(*limits), histories=50_000)
        for limits in ((119, 162), (134, 147), (90, 124))
    )
    ratios = [float(seen.scatter.sum() / seen.primary.sum()) for seen in (narrow, wide, below)]
    assert ratios[0] < ratios[1] < ratios[2]
    assert float(below.primary.sum()) < 0.01 * float(wide.primary.sum())


def test_acceptance_is_one_at_the_photopeak_and_half_at_the_edge():
    accept = Acceptance(TC99M_WINDOW, 0.095, 140.5)
    assert float(accept(140.5)) == pytest.approx(1)
    assert float(accept(126.45)) == pytest.approx(0.5, rel=0.02)
    assert float(accept(100.0)) < 1e-6


@given(st.floats(0, 1))
def test_a_mixture_keeps_its_attenuation(mu_per_cm):
    soft, bone = (float(part) for part in mixture(np.array(mu_per_cm)))
    assert soft + bone == pytest.approx(mu_per_cm)
    assert soft >= 0
    assert (bone > 0) == (mu_per_cm > float(MUSCLE.mu_per_cm(140.5)))


def test_the_frozen_chest_has_not_changed():
    frozen = np.load(FROZEN)
    grid = Grid.regular(frozen["tissue"].shape, float(frozen["voxel_mm"]))
    rows, _, columns = grid.shape
    angles = tuple(frozen["angles_deg"].tolist())
    camera = ParallelHole(angles, (float(frozen["radius_mm"]),) * len(angles), (rows, columns), grid.spacing_mm[0])
    source = torch.from_numpy(frozen["activity"][frozen["uptake"]])
    mu = _mu(frozen["mu_per_cm"][frozen["tissue"]], grid)
    seen = track(source, mu, camera, histories=1_200_000, generator=_seed())
    for ours, theirs in ((seen.primary, frozen["primary"]), (seen.scatter, frozen["scatter"])):
        assert ours.sum((1, 2)).tolist() == pytest.approx(theirs.sum((1, 2)).tolist(), rel=0.025)
    off = (seen.scatter - torch.from_numpy(frozen["scatter"])) ** 2
    noise = seen.scatter_variance + torch.from_numpy(frozen["scatter_sd"].astype(float) ** 2)
    assert float(off.sum() / noise.sum()) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"histories": 0}, "histories"),
        ({"histories": 1}, "histories"),
        ({"window": EnergyWindow(154, 126)}, "window"),
        ({"window": EnergyWindow(-5, 126)}, "window"),
        ({"window": EnergyWindow(float("nan"), 126)}, "window"),
        ({"energy_kev": 20.0}, "energy_kev"),
        ({"energy_kev": 662.0}, "energy_kev"),
        ({"energy_resolution": 0.0}, "energy_resolution"),
        ({"energy_resolution": 9.5}, "energy_resolution"),
        ({"orders": -1}, "orders"),
    ],
)
def test_settings_that_mean_nothing(settings, named):
    with pytest.raises(BadArgument, match=named):
        _in_cylinder(0.0, 90.0, **settings)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_activity_that_cannot_be(value):
    source = torch.ones(COARSE.shape)
    source[1, 2, 3] = value
    with pytest.raises(BadValues, match="activity"):
        track(source, _mu(np.zeros(COARSE.shape), COARSE), _camera(COARSE, 0.0), histories=9, generator=_seed())


def test_no_activity():
    with pytest.raises(BadValues, match="activity"):
        track(
            torch.zeros(COARSE.shape), _mu(np.zeros(COARSE.shape), COARSE), _camera(COARSE, 0.0),
            histories=9, generator=_seed(),
        )  # fmt: skip


def test_activity_of_another_shape():
    with pytest.raises(ShapeMismatch, match="activity"):
        track(
            torch.ones(12, 20, 21), _mu(np.zeros(COARSE.shape), COARSE), _camera(COARSE, 0.0),
            histories=9, generator=_seed(),
        )  # fmt: skip


def test_mu_that_the_camera_cannot_use():
    source, camera = torch.ones(COARSE.shape), _camera(COARSE, 0.0)
    mu = _mu(np.full(COARSE.shape, 0.1), COARSE)
    for wrong, error in (
        (replace(mu, quantity=HU), WrongQuantity),
        (mu.with_data(-mu.data), BadValues),
        (_mu(mu.numpy(), Grid.regular(COARSE.shape, (15.0, 15.0, 10.0))), GridMismatch),
    ):
        with pytest.raises(error):
            track(source, wrong, camera, histories=9, generator=_seed())
    with pytest.raises(ShapeMismatch):
        track(source, mu, replace(camera, shape=(12, 19)), histories=9, generator=_seed())
