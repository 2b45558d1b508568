import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from photopeak.core import HU, Grid, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, ShapeMismatch, WrongQuantity
from photopeak.physics.pinhole import Pinhole
from photopeak.recon.updates import em_update

DNM = Pinhole.named("dnm_530c")
COARSE = replace(DNM, shape=(8, 8), pixel_mm=9.84)
GRID = Grid.regular((3, 5, 5), 30.0)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PHOTOPEAK_CACHE", str(tmp_path))


def _mu(value: float, grid: Grid = GRID) -> Volume:
    return Volume(torch.full(grid.shape, value), grid, attenuation(140.5))


def test_the_sensitivity_at_the_centre_is_that_of_the_description():
    system = DNM.system(GRID)
    centre = system.T(torch.ones(19, 32, 32, dtype=torch.float64))[1, 2, 2]
    assert float(centre) == pytest.approx(19 * 5.228**2 / (16 * 205**2), rel=1e-3)
    cps_per_mbq = 1e6 * 0.885 * 0.72 * float(centre)
    assert cps_per_mbq == pytest.approx(492, rel=0.01)


def test_views_and_attenuation_share_the_matrix():
    system = COARSE.system(GRID)
    part, dimmed = system.views([4, 1]), system.attenuated(_mu(0.1))
    assert [r is system.rays[m] for r, m in zip(part.rays, [4, 1], strict=True)] == [True, True]
    assert dimmed.rays is system.rays
    assert part.attenuated(_mu(0.1)).rays is part.rays
    image = torch.rand(GRID.shape)
    assert torch.equal(part.attenuated(_mu(0.1))(image), dimmed(image)[[4, 1]])
    assert torch.equal(dimmed.attenuated(None)(image), system(image))


def test_a_smaller_camera_reads_what_the_larger_traced(tmp_path):
    COARSE.system(GRID)
    written = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "pinhole").iterdir()}
    assert len(written) == 19
    COARSE.few(9).system(GRID)
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "pinhole").iterdir()} == written


def test_the_bits_do_not_depend_on_the_threads(generator):
    grid = Grid.regular((9, 11, 10), 12.0)
    system = DNM.system(grid, _mu(0.15, grid))
    image, counts = torch.rand(grid.shape, generator=generator), torch.rand(19, 32, 32, generator=generator)
    threads, results = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            results.append((system(image), system.T(counts)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, results[0][0]) and torch.equal(b, results[0][1]) for a, b in results)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_answer_has_the_type_of_the_question(dtype):
    system = COARSE.system(GRID)
    image = 1e4 * torch.ones(GRID.shape)
    seen = system(image.to(dtype))
    assert seen.dtype == dtype
    assert torch.allclose(seen.float(), system(image), rtol=0.01, atol=1e-4)


def test_a_grid_larger_than_the_room_is_cut_by_the_modules():
    body = Grid.regular((12, 40, 30), 20.0)
    system = DNM.system(body)
    sensitivity = system.T(torch.ones(19, 32, 32))
    assert bool(torch.isfinite(sensitivity).all())
    seen = DNM.sees(body.points())
    alone = system.views([7]).T(torch.ones(1, 32, 32)).numpy()
    # Beyond the edge of the field a disc still touches the detector with less than half of itself.
    assert (alone[seen[7]] > 0).all()
    assert (alone[body.points()[..., 1] < -205] == 0).all()
    assert float(sensitivity.max()) <= 19 / 16


def test_a_body_larger_than_the_field_is_seen_where_the_field_is(generator):
    inner, outer = Grid.regular((8, 12, 12), 10.0), Grid.regular((12, 20, 16), 10.0)
    image = torch.rand(inner.shape, generator=generator, dtype=torch.float64)
    padded = torch.zeros(outer.shape, dtype=torch.float64)
    padded[2:10, 4:16, 2:14] = image
    assert torch.allclose(DNM.system(outer)(padded), DNM.system(inner)(image), rtol=1e-9)


def test_nothing_seen_gives_nothing():
    far = Grid.regular((2, 2, 2), 10.0, centre_mm=(0.0, 0.0, 900.0))
    system = DNM.system(far, _mu(0.1, far))
    assert float(system(torch.ones(2, 2, 2)).sum()) == 0
    assert float(system.T(torch.ones(19, 32, 32)).sum()) == 0


def test_mu_that_cannot_be_mu():
    with pytest.raises(GridMismatch, match='"mu"'):
        COARSE.system(GRID, _mu(0.1, Grid.regular((3, 5, 5), 30.0, centre_mm=(5.0, 0.0, 0.0))))
    with pytest.raises(BadValues, match="1/cm"):
        COARSE.system(GRID, _mu(-0.1))
    with pytest.raises(BadValues, match="1/cm"):
        COARSE.system(GRID, _mu(math.nan))
    with pytest.raises(WrongQuantity, match='"mu"'):
        COARSE.system(GRID, Volume(torch.zeros(GRID.shape), GRID, HU))


def test_a_module_that_is_not_there():
    with pytest.raises(BadArgument, match="of 19"):
        COARSE.system(GRID).views([19])


def test_an_image_of_another_shape():
    with pytest.raises(ShapeMismatch, match=r"\(5, 5, 3\)"):
        COARSE.system(GRID)(torch.zeros(5, 5, 3))


def test_counts_come_back_to_the_voxel_they_came_from():
    grid = Grid.regular((9, 9, 9), 12.0)
    system = DNM.system(grid)
    image = torch.zeros(grid.shape, dtype=torch.float64)
    image[5, 3, 6] = 1
    back = system.T(system(image)) / system.T(torch.ones(system.range_shape, dtype=torch.float64)).clamp(min=1e-12)
    assert np.unravel_index(int(back.argmax()), grid.shape) == (5, 3, 6)


def test_a_start_that_is_zero_outside_the_body_keeps_what_the_field_cuts():
    grid = Grid.regular((30, 45, 55), 8.0)
    points = grid.points()
    body = ((points[..., 0] + 40) / 165) ** 2 + ((points[..., 1] - 35) / 115) ** 2 < 1
    heart = np.linalg.norm(points, axis=-1) < 30
    mu = Volume.from_numpy(0.15 * body, grid, attenuation(140.5))
    system = DNM.system(grid, mu)
    step = em_update(system, system(torch.from_numpy((0.1 * body + 0.9 * heart).astype(np.float32))))
    recovered = {}
    for name, support in (("body", body), ("everywhere", np.ones_like(body))):
        image = torch.from_numpy(support.astype(np.float32))
        for _ in range(20):
            image = step(image)
        recovered[name] = float(image[torch.from_numpy(heart)].mean())
    assert recovered["body"] == pytest.approx(1.0, abs=0.25)
    assert recovered["everywhere"] < 0.8 * recovered["body"]


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_whole_or_complex_numbers_are_refused(dtype):
    system = COARSE.system(GRID)
    for one in (system, system.T):
        with pytest.raises(BadArgument, match="float32 or float64"):
            one(torch.ones(one.domain_shape, dtype=dtype))


def test_an_empty_batch_gives_one():
    system = COARSE.system(GRID)
    for one in (system, system.T):
        assert one(torch.zeros(0, *one.domain_shape)).shape == (0, *one.range_shape)
