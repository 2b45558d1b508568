import pytest
import torch

from photopeak.physics.response import FWHM_PER_SIGMA
from photopeak.physics.scatter import broad_scatter

PIXEL_MM = 12.8


def test_the_ratio_is_kept_in_the_middle_of_a_flood():
    scatter = broad_scatter(100 * torch.ones(1, 32, 32, dtype=torch.float64), PIXEL_MM, ratio=0.35)
    assert float(scatter[0, 16, 16]) == pytest.approx(35, rel=1e-6)
    assert float(scatter[0, 0, 0]) < 12


def test_a_point_scatters_far_and_keeps_its_amount():
    point = torch.zeros(1, 33, 33, dtype=torch.float64)
    point[0, 16, 16] = 1
    seen = broad_scatter(point, PIXEL_MM, fwhm_mm=60.0)[0]
    assert float(seen.sum()) == pytest.approx(0.33, rel=1e-6)
    assert torch.allclose(seen, seen.T)
    offset = PIXEL_MM * (torch.arange(33, dtype=torch.float64) - 16)
    spread = float((seen.sum(0) * offset**2).sum() / seen.sum()) ** 0.5
    assert spread == pytest.approx(((60 / FWHM_PER_SIGMA) ** 2 + PIXEL_MM**2 / 12) ** 0.5, rel=1e-3)


def test_views_and_batch_are_blurred_one_by_one(generator):
    primary = torch.rand((2, 3, 5, 7), generator=generator, dtype=torch.float64)
    together = broad_scatter(primary, PIXEL_MM)
    alone = torch.stack([torch.stack([broad_scatter(view, PIXEL_MM) for view in item]) for item in primary])
    assert torch.allclose(together, alone, rtol=1e-12)
    assert float(together.min()) > 0
