import numpy as np
import pytest
import torch

from photopeak.core import Grid
from photopeak.core.errors import BadArgument, BadValues
from photopeak.learn.volume_feed import VolumeFeed

FEED = VolumeFeed((6, 10, 13), 4.0, level_radius_mm=9.0, peak=2.0)


def _image() -> torch.Tensor:
    return torch.rand(FEED.shape, generator=torch.Generator().manual_seed(1))


def test_planes_are_filled_up_and_cut_back() -> None:
    assert FEED.plane == (16, 16)
    assert VolumeFeed().plane == (72, 72)
    padded = FEED.padded(_image())
    assert padded.shape == (6, 16, 16)
    assert torch.equal(FEED.cropped(padded), _image())
    assert float(padded.sum()) == pytest.approx(float(_image().sum()))


def test_slices_come_with_neighbours_and_the_ends_repeat() -> None:
    stacks = FEED.slices(_image(), [0, 3, 5], neighbours=1)
    padded = FEED.padded(_image())
    for stack, numbers in zip(stacks, [(0, 0, 1), (2, 3, 4), (4, 5, 5)], strict=True):
        assert torch.equal(stack, padded[list(numbers)])
    assert torch.equal(FEED.slices(_image(), [2])[:, 0], padded[2:3])


def test_far_slices_are_fainter() -> None:
    weighted = FEED.weighted(torch.ones(FEED.shape), [0, 4])
    assert weighted.shape == (2, 6, 16, 16)
    np.testing.assert_allclose(weighted[0, :, 0, 0], 1 - np.arange(6) / 6, rtol=1e-6)
    assert float(weighted[1, 4, 0, 0]) == 1
    assert float(weighted[1, 1, 0, 0]) == pytest.approx(0.5)


def test_the_level_is_linear_and_does_not_mind_noise() -> None:
    feed = VolumeFeed((20, 30, 30), 4.0, level_radius_mm=40.0, peak=4.0)
    image = torch.full(feed.shape, 10.0)
    assert feed.level(image) == pytest.approx(40.0)
    assert feed.level(0.01 * image) == pytest.approx(0.4)
    noisy = torch.poisson(0.01 * image, generator=torch.Generator().manual_seed(2))
    assert feed.level(noisy) == pytest.approx(0.4, rel=0.1)


def test_the_level_looks_at_the_middle() -> None:
    image = torch.zeros(FEED.shape)
    image[0, 0, 0] = 100.0
    with pytest.raises(BadValues, match="middle"):
        FEED.level(image)
    image[2:4, 4:6, 6] = 1.0
    inside = 4 * 1.0
    axes = [(np.arange(n) - (n - 1) / 2) * 4.0 for n in FEED.shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    assert FEED.level(image) == pytest.approx(2 * inside / int((z**2 + y**2 + x**2 <= 81).sum()))


def test_its_grid_fits() -> None:
    assert FEED.fits(Grid.regular((6, 10, 13), 4.0, centre_mm=(3.0, -7.0, 100.0)))
    assert not FEED.fits(Grid.regular((6, 10, 14), 4.0))
    assert not FEED.fits(Grid.regular((6, 10, 13), 4.1))


@pytest.mark.parametrize("arguments", [{"voxel_mm": 0.0}, {"shape": (6, 10)}, {"peak": float("nan")}])
def test_feeds_that_cannot_be(arguments: dict[str, object]) -> None:
    with pytest.raises(BadArgument):
        VolumeFeed(**arguments)  # type: ignore[arg-type]


def test_its_range_is_from_nothing_to_the_brightest() -> None:
    assert VolumeFeed(brightest=2.5).clip == (-1.0, 4.0)
