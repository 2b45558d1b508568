import math

import pytest
import torch

from photopeak.core.errors import BadArgument
from photopeak.recon.butterworth import butterworth

VOXEL_MM = 6.4
SIZE = 36
MIDDLE = slice(SIZE // 2 - 4, SIZE // 2 + 4)


def _gain(period_voxels: int, axis: int, **filtering: float) -> float:
    """Amplitude of a cosine in the middle of a large bright volume, after over before."""
    wave = torch.cos(2 * math.pi * torch.arange(SIZE, dtype=torch.float64) / period_voxels)
    shape = [1, 1, 1]
    shape[axis] = SIZE
    wave = wave.reshape(shape).expand(SIZE, SIZE, SIZE)
    flat = torch.full((SIZE, SIZE, SIZE), 3.0, dtype=torch.float64)
    change = butterworth(flat + wave, VOXEL_MM, **filtering) - butterworth(flat, VOXEL_MM, **filtering)
    core = (MIDDLE, MIDDLE, MIDDLE)
    return float((change[core] * wave[core]).sum() / wave[core].square().sum())


def test_what_is_constant_stays():
    made = butterworth(torch.full((SIZE, SIZE, SIZE), 7.0, dtype=torch.float64), VOXEL_MM)
    assert torch.allclose(made[MIDDLE, MIDDLE, MIDDLE], torch.tensor(7.0, dtype=torch.float64), rtol=0.01)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_half_the_power_passes_at_the_cutoff(axis):
    assert _gain(4, axis, cutoff_per_cm=1 / (4 * VOXEL_MM / 10)) == pytest.approx(1 / math.sqrt(2), abs=0.02)


@pytest.mark.parametrize("period", [2, 8])
@pytest.mark.parametrize("order", [2.0, 5.0])
def test_the_gain_is_the_formula(period, order):
    expected = 1 / math.sqrt(1 + (4 / period) ** (2 * order))
    assert _gain(period, 2, cutoff_per_cm=1 / (4 * VOXEL_MM / 10), order=order) == pytest.approx(expected, abs=0.02)


def test_ringing_is_cut_at_zero_and_a_point_keeps_its_counts():
    point = torch.zeros(15, 15, 15, dtype=torch.float64)
    point[7, 7, 7] = 1
    made = butterworth(point, VOXEL_MM)
    assert float(made.min()) == 0
    assert int(made.argmax()) == int(point.argmax())
    assert float(made.sum()) >= 1 - 1e-3


def test_nothing_wraps_around_the_edge():
    image = torch.zeros(9, 9, 9, dtype=torch.float64)
    image[0] = 1
    assert float(butterworth(image, VOXEL_MM)[-1].max()) < 0.02


def test_a_batch_is_the_stack_of_its_items(generator):
    images = torch.rand((2, 3, 5, 6, 7), generator=generator, dtype=torch.float64)
    together = butterworth(images, VOXEL_MM)
    assert together.shape == images.shape
    for row, items in zip(together, images, strict=True):
        for one, item in zip(row, items, strict=True):
            assert torch.allclose(one, butterworth(item, VOXEL_MM), atol=1e-12)


def test_every_axis_has_its_own_voxel_size(generator):
    image = torch.rand((9, 10, 11), generator=generator, dtype=torch.float64)
    assert torch.equal(butterworth(image, (VOXEL_MM,) * 3), butterworth(image, VOXEL_MM))
    point = torch.zeros(31, 31, 31, dtype=torch.float64)
    point[15, 15, 15] = 1
    wide = butterworth(point, (2.0, 4.0, 4.0))[15 - 8 : 15 + 9 : 2, 15, 15]
    narrow = butterworth(point, (2.0, 4.0, 4.0))[15, 15 - 4 : 15 + 5, 15]
    assert torch.allclose(wide, narrow, atol=0.02 * float(narrow.max()))


@pytest.mark.parametrize("bad", [{"cutoff_per_cm": 0.0}, {"cutoff_per_cm": -0.4}, {"order": 0.0}])
def test_a_filter_that_is_none(bad):
    with pytest.raises(BadArgument, match="Butterworth"):
        butterworth(torch.ones(5, 5, 5), VOXEL_MM, **bad)
