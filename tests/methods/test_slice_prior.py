import pytest
import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.diffusion.gaussian import GaussianDiffusion
from photopeak.methods.slice_prior import Prediction, SlicePrior

DIFFUSION = GaussianDiffusion(50)


def _prior(predicts: Prediction) -> SlicePrior:
    torch.manual_seed(0)
    prior = SlicePrior(1, DIFFUSION, channels=(8, 24), predicts=predicts)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in prior.parameters():
            weight += 0.03 * torch.randn(weight.shape, generator=generator)
    return prior


def _slices(count: int) -> Tensor:
    return torch.randn(count, 1, 8, 12, generator=stream(2, 0))


def test_a_new_network_loses_the_variance_of_what_it_predicts() -> None:
    torch.manual_seed(0)
    prior = SlicePrior(1, DIFFUSION, channels=(8, 24), predicts="noise")
    assert float(prior.loss(_slices(40), torch.zeros(40, 1), stream(1, 0)).detach()) == pytest.approx(1, abs=0.1)
    prior.predicts = "image"
    images = 3 + 0 * _slices(40)
    assert float(prior.loss(images, torch.zeros(40, 1), stream(1, 0)).detach()) == pytest.approx(9, rel=1e-5)


def test_estimates_are_of_the_image_whatever_is_predicted() -> None:
    x_t, place, times = _slices(3), torch.tensor([[-1.0], [0.0], [1.0]]), torch.full((3,), 30)
    with torch.no_grad():
        noise, image = (_prior(predicts).estimates(place)(x_t, 30) for predicts in ("noise", "image"))
        answer = _prior("image")(x_t, place, times)
    torch.testing.assert_close(image, answer)
    torch.testing.assert_close(noise, DIFFUSION.clean(x_t, answer, 30))


def test_it_knows_where_a_slice_is_and_no_slice_knows_another() -> None:
    prior, x_t = _prior("image"), _slices(15)
    with torch.no_grad():
        low, high = (prior.estimates(torch.full((15, 1), where))(x_t, 10) for where in (-1.0, 1.0))
        alone = prior.estimates(torch.full((1, 1), -1.0))(x_t[4:5], 10)
    assert not torch.equal(low, high)
    assert torch.equal(alone[0], low[4])


def test_predictions_that_cannot_be() -> None:
    with pytest.raises(BadArgument, match="predicts='velocity'"):
        SlicePrior(1, DIFFUSION, channels=(8, 24), predicts="velocity")  # type: ignore[arg-type]
