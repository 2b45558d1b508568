from typing import Any

import pytest
import torch

from photopeak.core.errors import BadArgument
from photopeak.nets.unet3 import UNet3


@pytest.mark.parametrize("arguments", [{"fold": 1}, {"fold": 2}, {"channels": (8,)}, {"channels": (8, 12, 16)}])
def test_any_size_keeps_its_size_and_every_weight_learns(arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = UNet3(2, 1, **{"channels": (8, 12), **arguments})
    volume = torch.randn(2, 2, 9, 11, 14)
    assert net(volume).shape == (2, 1, 9, 11, 14)
    assert not bool(net(volume).any())
    with torch.no_grad():
        net.last.weight += 0.1
    net(volume).square().sum().backward()
    silent = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert silent == [name for name in silent if name.endswith("conv.bias")], "a bias before a norm changes nothing"


def test_a_block_of_voxels_goes_back_to_its_place() -> None:
    """With the answer of each block its own voxels, the volume comes out as it went in."""
    net = UNet3(1, 1, channels=(8,), fold=2)
    net.first = torch.nn.Sequential()
    with torch.no_grad():
        net.last.weight.copy_(torch.eye(8)[:, :, None, None, None])
    volume = torch.randn(1, 1, 5, 6, 7)
    torch.testing.assert_close(net(volume), volume)


@pytest.mark.parametrize("arguments", [{"channels": ()}, {"channels": (8, 9)}, {"fold": 0}])
def test_arguments_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        UNet3(1, 1, **arguments)
