"""The adapter against a plain numpy module in parallelproj's place, one line at a time in three dimensions."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from photopeak.core import Grid, Volume, attenuation
from photopeak.core.errors import MissingPackage
from photopeak.physics.ring import Ring

GRID = Grid.regular((3, 9, 7), (5.0, 6.0, 8.0), centre_mm=(11.0, -7.0, 3.0))
RING = Ring((0.0, 20.0, 80.0, 100.0, 160.0), bins=6, bin_mm=11.0, planes=3, plane_mm=5.0, radius_mm=80.0, fwhm_mm=7.0)


def _weights(start, end, shape, origin, voxel):
    """(voxel index, weight in mm) of one line, Joseph's way, in three dimensions."""
    direction = (end - start) / np.linalg.norm(end - start)
    axis = int(np.argmax(np.abs(direction)))
    others = [a for a in range(3) if a != axis]
    step = voxel[axis] / abs(direction[axis])
    for row in range(shape[axis]):
        point = start + direction * ((origin[axis] + row * voxel[axis] - start[axis]) / direction[axis])
        place = (point - origin) / voxel
        low = np.floor(place + 1e-4).astype(int)
        for corner in np.ndindex(2, 2):
            index, weight = [0, 0, 0], step
            index[axis] = row
            for other, up in zip(others, corner, strict=True):
                index[other] = low[other] + up
                weight *= max(1 - abs(place[other] - index[other]), 0.0)
            if weight > 0 and all(0 <= i < n for i, n in zip(index, shape, strict=True)):
                yield tuple(index), weight


def _lines(*arrays):
    return [np.asarray(a, dtype=np.float64) for a in arrays]


def joseph3d_fwd(xstart, xend, img, img_origin, voxsize):
    start, end, image, origin, voxel = _lines(xstart, xend, img, img_origin, voxsize)
    seen = np.zeros(start.shape[:-1], dtype=np.float32)
    for line in np.ndindex(seen.shape):
        seen[line] = sum(w * image[i] for i, w in _weights(start[line], end[line], image.shape, origin, voxel))
    return torch.from_numpy(seen)


def joseph3d_back(xstart, xend, img_shape, img_origin, voxsize, img_fwd):
    start, end, values, origin, voxel = _lines(xstart, xend, img_fwd, img_origin, voxsize)
    image = np.zeros(img_shape, dtype=np.float32)
    for line in np.ndindex(values.shape):
        for index, weight in _weights(start[line], end[line], img_shape, origin, voxel):
            image[index] += weight * values[line]
    return torch.from_numpy(image)


@pytest.fixture
def stand_in(monkeypatch) -> ModuleType:
    package = ModuleType("parallelproj")
    package.joseph3d_fwd, package.joseph3d_back = joseph3d_fwd, joseph3d_back
    monkeypatch.setitem(sys.modules, "parallelproj", package)
    return package


def test_both_engines_see_the_same(stand_in, generator):
    mu = Volume(0.1 * torch.rand(GRID.shape, generator=generator), GRID, attenuation(511.0))
    ours, theirs = RING.system(GRID, mu), RING.system(GRID, mu, engine="parallelproj")
    x, y = torch.rand(GRID.shape, generator=generator), torch.rand(ours.range_shape, generator=generator)
    assert torch.allclose(theirs(x), ours(x), rtol=1e-4, atol=1e-5)
    assert torch.allclose(theirs.T(y), ours.T(y), rtol=1e-4, atol=1e-5)
    assert torch.allclose(theirs.views([3, 1])(x), ours(x)[[3, 1]], rtol=1e-4, atol=1e-5)


def test_batches_and_dtype_are_kept(stand_in, generator):
    system = RING.views([0, 2]).system(GRID, engine="parallelproj")
    x = torch.rand((2, *GRID.shape), generator=generator, dtype=torch.float64)
    seen = system(x)
    assert seen.dtype == torch.float64
    assert torch.equal(seen[1], system(x[1]))


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "parallelproj", None)
    with pytest.raises(MissingPackage, match="conda install"):
        RING.system(GRID, engine="parallelproj")


def test_a_package_of_another_generation(monkeypatch):
    package = ModuleType("parallelproj")
    package.__version__ = "2.0.1"
    monkeypatch.setitem(sys.modules, "parallelproj", package)
    with pytest.raises(MissingPackage, match=r"parallelproj 2\.0\.1 without joseph3d_fwd"):
        RING.system(GRID, engine="parallelproj")
