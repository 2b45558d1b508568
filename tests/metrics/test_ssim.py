import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from photopeak.core import COUNTS, Grid, Volume
from photopeak.core.errors import BadArgument
from photopeak.metrics.ssim import ssim


def pair(shape: tuple[int, int, int], generator: torch.Generator) -> tuple[Volume, Volume]:
    """A smooth truth of about 100 counts, and the same with noise."""
    grid = Grid.regular(shape, 4.0)
    truth = 100 * np.exp(-((grid.points() / 30) ** 2).sum(-1))
    noise = 10 * torch.randn(shape, generator=generator, dtype=torch.float64)
    data = torch.from_numpy(truth)
    return Volume(data + noise, grid, COUNTS), Volume(data, grid, COUNTS)


def reference(estimate: Volume, truth: Volume, data_range: float) -> tuple[float, np.ndarray]:
    return structural_similarity(
        np.squeeze(truth.data.numpy()),
        np.squeeze(estimate.data.numpy()),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=data_range,
        full=True,
    )


@pytest.mark.parametrize("shape", [(16, 20, 18), (1, 24, 20), (24, 1, 20)])
@pytest.mark.parametrize("data_range", [None, 250.0])
def test_equals_scikit_image(shape, data_range, generator):
    estimate, truth = pair(shape, generator)
    expected, _ = reference(estimate, truth, data_range or float(truth.data.max()))
    assert 0.1 < expected < 0.99
    assert ssim(estimate, truth, data_range=data_range) == pytest.approx(expected, abs=1e-6)


def test_mean_over_the_mask_with_the_maximum_within_it(generator):
    estimate, truth = pair((16, 20, 18), generator)
    mask = (truth.data > 20) & (truth.data < 60)
    _, everywhere = reference(estimate, truth, float(truth.data[mask].max()))
    assert ssim(estimate, truth, mask) == pytest.approx(everywhere[mask.numpy()].mean(), abs=1e-6)


def test_identical_volumes_score_one(generator):
    _, truth = pair((12, 12, 12), generator)
    assert ssim(truth, truth) == pytest.approx(1, abs=1e-12)


def test_thin_volumes_need_a_mask(generator):
    estimate, truth = pair((6, 20, 18), generator)
    with pytest.raises(BadArgument, match="11 voxels"):
        ssim(estimate, truth)
    assert 0 < ssim(estimate, truth, truth.data > 20) < 1
