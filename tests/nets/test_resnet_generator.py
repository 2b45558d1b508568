import pytest
import torch

from photopeak.core.errors import ShapeMismatch
from photopeak.nets.resnet_generator import ResNetGenerator


@pytest.fixture
def net() -> ResNetGenerator:
    torch.manual_seed(0)
    return ResNetGenerator(3, 2, width=4, blocks=2).double()


def _images(items: int, rows: int, columns: int) -> torch.Tensor:
    return torch.randn(items, 3, rows, columns, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (12, 20)])
def test_it_keeps_rows_and_columns(net: ResNetGenerator, rows: int, columns: int) -> None:
    assert net(_images(2, rows, columns)).shape == (2, 2, rows, columns)


def test_the_papers_size() -> None:
    """11.378 M parameters: the figure that goes with 9 blocks and width 64 for colour images."""
    assert sum(p.numel() for p in ResNetGenerator(3, 3).parameters()) == 11_378_179


def test_items_do_not_mix(net: ResNetGenerator) -> None:
    images = _images(3, 16, 16)
    torch.testing.assert_close(net(images), torch.cat([net(one[None]) for one in images]))


def test_the_last_layer_has_no_bounds(net: ResNetGenerator) -> None:
    with torch.no_grad():
        for weight in net.net[-1].parameters():
            weight *= 100
    assert float(net(_images(1, 16, 16)).detach().abs().max()) > 2


def test_an_odd_size_is_refused(net: ResNetGenerator) -> None:
    with pytest.raises(ShapeMismatch, match="16x18"):
        net(_images(1, 16, 18))
