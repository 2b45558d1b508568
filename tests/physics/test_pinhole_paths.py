import math

import numpy as np
import pytest
import torch

from photopeak.core import Grid, Volume, attenuation
from photopeak.core.errors import BadArgument
from photopeak.physics.pinhole import Pinhole

WATER_PER_CM = 0.15
DNM = Pinhole.named("dnm_530c")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PHOTOPEAK_CACHE", str(tmp_path))


def _mu(grid: Grid, inside: np.ndarray | float) -> Volume:
    return Volume(torch.tensor(inside * WATER_PER_CM * np.ones(grid.shape)), grid, attenuation(140.5))


def _pinholes() -> np.ndarray:
    return np.stack([m.h_mm * m.axes[0] for m in DNM.modules])


def _points(grid: Grid) -> torch.Tensor:
    """A batch with every voxel alone."""
    voxels = math.prod(grid.shape)
    return torch.eye(voxels, dtype=torch.float64).reshape(voxels, *grid.shape)


def _kept(grid: Grid, mu: Volume) -> np.ndarray:
    """[voxel, module] share of the photons that attenuation leaves; NaN where a module does not see a voxel."""
    system, images = DNM.system(grid), _points(grid)
    free, dimmed = system(images).sum((2, 3)), system.attenuated(mu)(images).sum((2, 3))
    return np.where(free > 0, dimmed / free, np.nan)


def test_a_point_in_a_uniform_box_follows_its_way_out():
    grid = Grid.regular((4, 6, 6), 20.0, centre_mm=(3.0, 5.0, -7.0))
    points = grid.points().reshape(-1, 1, 3)
    low, high = (np.array(corner) for corner in ((-57.0, -55.0, -47.0), (63.0, 65.0, 33.0)))
    ray = _pinholes() - points
    share = np.where(ray > 0, high - points, low - points) / np.where(ray == 0, np.nan, ray)
    length_cm = np.nanmin(share, axis=-1) * np.linalg.norm(ray, axis=-1) / 10
    kept = _kept(grid, _mu(grid, 1.0))
    assert np.isfinite(kept).all()
    assert kept == pytest.approx(np.exp(-WATER_PER_CM * length_cm), rel=1e-5)


def test_the_centre_of_a_ball_is_seen_alike_by_every_module():
    grid = Grid.regular((31, 31, 31), 5.0)
    share_inside = ((70 - np.linalg.norm(grid.points(), axis=-1)) / 5 + 0.5).clip(0, 1)
    mu = _mu(grid, share_inside)
    image = torch.zeros(grid.shape, dtype=torch.float64)
    image[15, 15, 15] = 1
    system = DNM.system(grid)
    kept = (system.attenuated(mu)(image).sum((1, 2)) / system(image).sum((1, 2))).numpy()
    assert kept == pytest.approx(math.exp(-WATER_PER_CM * 7), rel=0.01)


def test_layers_count_only_along_the_ray():
    grid = Grid.regular((1, 10, 3), 10.0)
    layers = np.where(grid.points()[..., 1] < 0, 1.0, 0.0)
    anterior = [m.name for m in DNM.modules].index("C3")
    kept = _kept(grid, _mu(grid, layers)).reshape(10, 3, 19)[:, 1, anterior]
    depth_cm = np.minimum(np.arange(10) + 0.5, 5.0)
    assert kept == pytest.approx(np.exp(-WATER_PER_CM * depth_cm), rel=1e-5)


def test_a_path_ends_at_the_pinhole():
    grid = Grid.regular((1, 50, 1), 10.0)
    beyond = np.where(grid.points()[..., 1] < -300, 1.0, 0.0)
    anterior = [m.name for m in DNM.modules].index("C3")
    kept = _kept(grid, _mu(grid, beyond))[:, anterior]
    assert len(kept[np.isfinite(kept)]) == 45
    assert (kept[np.isfinite(kept)] == 1).all()


@pytest.mark.parametrize(
    "place", [(0.0, -200.0, 0.0), (30.0, -230.0, 30.0), (0.0, -285.0, 0.0), (125.0, -125.0, 102.0), (205.0, 0.0, 0.0)]
)
def test_a_body_that_reaches_a_module(place):
    grid = Grid.regular((40, 70, 60), 10.0)
    inside = np.linalg.norm(grid.points() - place, axis=-1) < 15
    with pytest.raises(BadArgument, match="inside the body"):
        DNM.system(grid, _mu(grid, inside))


def test_a_wide_body_between_the_modules_and_air_around_them_are_no_obstacle():
    grid = Grid.regular((40, 70, 60), 10.0)
    x, y, _ = np.moveaxis(grid.points(), -1, 0)
    body = (x + 40) ** 2 / 190**2 + (y - 30) ** 2 / 130**2 < 1
    air = 0.001 * np.ones(grid.shape)
    kept = DNM.views([0]).system(grid, _mu(grid, np.where(body, 1.0, air)))(torch.ones(grid.shape))
    assert float(kept.sum()) > 0
