import math

import pytest
import torch

from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.metrics.compat import implied_psnr, slice_scores


@pytest.fixture
def truth(generator: torch.Generator) -> torch.Tensor:
    return 40 * torch.rand(3, 50, 50, generator=generator)


def test_constant_difference_is_its_own_rmse(truth: torch.Tensor) -> None:
    peak = float(truth.max())
    flattened = truth.clamp(max=0.85 * peak)
    flattened[0, 0, 0] = peak
    scores = slice_scores(flattened + 0.1 * peak, flattened, compat="padm")
    assert scores["RMSE"] == pytest.approx(0.1, abs=2e-3)


def test_second_convention_doubles_rmse_and_leaves_psnr(truth: torch.Tensor) -> None:
    estimate = truth.flip(0)
    padm, mst = (slice_scores(estimate, truth, compat=name) for name in ("padm", "mst106"))
    assert mst["RMSE"] == pytest.approx(2 * padm["RMSE"])
    assert mst["PSNR"] == pytest.approx(padm["PSNR"])


def test_scores_do_not_depend_on_the_unit_of_counts(truth: torch.Tensor) -> None:
    estimate = truth.roll(1, dims=2)
    a, b = slice_scores(estimate, truth, compat="padm"), slice_scores(7 * estimate, 7 * truth, compat="padm")
    assert a == pytest.approx(b, rel=1e-5)


def test_the_mean_of_psnr_over_slices_is_above_that_of_the_mean_rmse(truth: torch.Tensor) -> None:
    estimate = truth.clone()
    estimate[0] *= 0.99
    estimate[1] *= 0.9
    estimate[2] *= 0.5
    scores = slice_scores(estimate, truth, compat="padm")
    assert scores["PSNR"] > implied_psnr(scores["RMSE"], "padm") + 1


def test_truth_itself_is_perfect(truth: torch.Tensor) -> None:
    scores = slice_scores(truth, truth, compat="mst106")
    assert scores["RMSE"] == 0
    assert scores["SSIM"] == pytest.approx(1)
    assert math.isinf(scores["PSNR"])


def test_similarity_is_that_of_the_definition(generator: torch.Generator) -> None:
    from numpy.lib.stride_tricks import sliding_window_view

    from photopeak.metrics.compat import flat_similarity

    x, y = torch.rand(2, 1, 12, 13, generator=generator, dtype=torch.float64)
    a, b = (sliding_window_view(one[0].numpy(), (7, 7)).reshape(6, 7, -1) for one in (x, y))
    c1, c2 = 0.01**2, 0.03**2
    ma, mb = a.mean(-1), b.mean(-1)
    cov = ((a - ma[..., None]) * (b - mb[..., None])).sum(-1) / 48
    wanted = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (a.var(-1, ddof=1) + b.var(-1, ddof=1) + c2))
    assert torch.allclose(flat_similarity(x, y, 1.0)[0], torch.from_numpy(wanted), atol=1e-9)


def test_bad_input_is_refused(truth: torch.Tensor) -> None:
    with pytest.raises(BadArgument):
        slice_scores(truth, truth, compat="mine")
    with pytest.raises(ShapeMismatch):
        slice_scores(truth[:2], truth, compat="padm")
    with pytest.raises(BadValues):
        slice_scores(truth, torch.zeros_like(truth), compat="padm")
    with pytest.raises(BadValues):
        slice_scores(truth * math.nan, truth, compat="padm")
