import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.core.errors import BadArgument, ShapeMismatch
from photopeak.nets.registration import Registration, roughness, warp


def _blobs(items: int = 2, rows: int = 16, columns: int = 20) -> Tensor:
    noise = torch.randn(items, 1, rows, columns, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return F.avg_pool2d(noise, 5, stride=1, padding=2)


def _constant(row: float, column: float, image: Tensor) -> Tensor:
    flow = torch.tensor([row, column], dtype=image.dtype)[None, :, None, None]
    return flow.expand(len(image), 2, *image.shape[-2:])


def test_no_flow_is_the_identity() -> None:
    image = _blobs()
    torch.testing.assert_close(warp(image, _constant(0, 0, image)), image)


def test_flow_is_in_pixels_along_row_and_column() -> None:
    image = _blobs()
    moved = warp(image, _constant(2, -3, image))
    torch.testing.assert_close(moved[..., :-2, 3:], image[..., 2:, :-3])


def test_half_a_pixel_is_the_mean_of_two() -> None:
    image = _blobs()
    moved = warp(image, _constant(0, 0.5, image))
    torch.testing.assert_close(moved[..., :-1], (image[..., 1:] + image[..., :-1]) / 2)
    torch.testing.assert_close(moved[..., -1], image[..., -1])


def test_roughness_of_a_ramp_and_of_a_constant() -> None:
    ramp = torch.zeros(1, 2, 8, 8)
    ramp[:, 0] = 0.5 * torch.arange(8)
    assert float(roughness(ramp)) == pytest.approx(0.25 / 2)
    assert float(roughness(torch.full((1, 2, 8, 8), 7.0))) == 0


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (10, 15)])
def test_the_flow_is_zero_at_the_start_and_learns_from_the_first_step(rows: int, columns: int) -> None:
    torch.manual_seed(0)
    net = Registration(channels=(4, 8, 8), blocks=1).double()
    moving, fixed = _blobs(2, rows, columns), _blobs(2, rows, columns).flip(-1)
    flow = net(moving, fixed)
    assert flow.shape == (2, 2, rows, columns)
    assert float(flow.detach().abs().max()) == 0
    F.l1_loss(warp(moving, flow), fixed).backward()
    assert float(net.flow.weight.grad.abs().max()) > 0


def test_it_finds_a_shift() -> None:
    torch.manual_seed(0)
    net = Registration(channels=(8, 16), blocks=1)
    moving = 5 * _blobs(4, 16, 16).float()
    fixed = warp(moving, _constant(1.0, 0.0, moving))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    before = float(F.l1_loss(moving, fixed))
    for _ in range(30):
        flow = net(moving, fixed)
        loss = F.l1_loss(warp(moving, flow), fixed) + 0.1 * roughness(flow)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    flow = net(moving, fixed).detach()
    assert float(F.l1_loss(warp(moving, flow), fixed)) < 0.5 * before
    assert float(flow[:, 0].median()) == pytest.approx(1, abs=0.3)
    assert abs(float(flow[:, 1].median())) < 0.3


def test_images_of_two_sizes_are_refused() -> None:
    with pytest.raises(ShapeMismatch, match="grid"):
        Registration(channels=(4, 8))(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 10))


def test_a_flow_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeMismatch, match="flow"):
        warp(torch.zeros(1, 1, 8, 8), torch.zeros(1, 2, 8, 10))


def test_one_level_is_refused() -> None:
    with pytest.raises(BadArgument, match="two levels"):
        Registration(channels=(8,))
