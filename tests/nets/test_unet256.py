import pytest
import torch

from photopeak.core.errors import BadArgument, ShapeMismatch
from photopeak.nets.unet256 import UNet256


@pytest.fixture
def net() -> UNet256:
    torch.manual_seed(0)
    return UNet256(3, 2, width=4, depth=3).double()


def _images(items: int, rows: int, columns: int) -> torch.Tensor:
    return torch.randn(items, 3, rows, columns, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (10, 13), (24, 17)])
def test_any_size_comes_back(net: UNet256, rows: int, columns: int) -> None:
    assert net(_images(2, rows, columns)).shape == (2, 2, rows, columns)


def test_depth_eight_at_256_pixels_is_the_papers_network() -> None:
    net = UNet256(3, 3)
    assert [down[-2].out_channels if n else 64 for n, down in enumerate(net.down) if n < 7] == [
        64, 128, 256, 512, 512, 512, 512,
    ]  # fmt: skip
    assert net.noisy == [512, 512, 512]
    image = torch.zeros(1, 3, 256, 256)
    assert [m.shape[-1] for m in net.masks(image, torch.Generator())] == [2, 4, 8]


def test_depth_that_ends_at_one_pixel_works() -> None:
    torch.manual_seed(0)
    assert torch.isfinite(UNet256(3, 1, width=4, depth=4)(_images(1, 16, 16).float())).all()


def test_items_do_not_mix(net: UNet256) -> None:
    images = _images(3, 16, 16)
    alone = torch.cat([net(one[None]) for one in images])
    torch.testing.assert_close(net(images), alone)


def test_padding_reflects_and_crops_where_it_padded() -> None:
    torch.manual_seed(0)
    net = UNet256(3, 2, width=4, depth=3).double()
    small = _images(1, 10, 12)
    by_hand = torch.nn.functional.pad(small, (2, 2, 3, 3), mode="reflect")
    torch.testing.assert_close(net(small), net(by_hand)[..., 3:13, 2:14])


def test_the_gradient_reaches_every_weight_before_a_norm_cancels_it(net: UNet256) -> None:
    net(_images(2, 16, 16)).square().sum().backward()
    still = [n for n, p in net.named_parameters() if p.grad is None or not float(p.grad.abs().max()) > 1e-9]
    # A constant added before an instance norm is taken away by it.
    assert all(name.endswith(".1.bias") for name in still), still


def test_masks_drop_the_asked_share_and_keep_the_mean() -> None:
    net = UNet256(3, 1, width=16, depth=3, dropout=0.3)
    (mask,) = net.masks(torch.zeros(50, 3, 10, 16), torch.Generator().manual_seed(2))
    assert mask.shape == (50, 32, 4, 4)
    assert set(mask.unique().tolist()) == {0.0, mask.max().item()}
    assert float((mask == 0).double().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(mask.mean()) == pytest.approx(1, abs=0.02)


def test_masks_of_ones_change_nothing_and_drawn_ones_do(net: UNet256) -> None:
    images = _images(2, 16, 16)
    masks = net.masks(images, torch.Generator().manual_seed(3))
    ones = [torch.ones_like(m) for m in masks]
    torch.testing.assert_close(net(images, ones), net(images))
    assert not torch.allclose(net(images, masks), net(images), atol=1e-3)


def test_one_level_is_refused() -> None:
    with pytest.raises(BadArgument, match="depth=1"):
        UNet256(3, 1, depth=1)


def test_an_image_too_small_to_reflect_is_refused() -> None:
    with pytest.raises(ShapeMismatch, match="smaller depth"):
        UNet256(3, 1, width=4, depth=5)(torch.zeros(1, 3, 10, 10))
