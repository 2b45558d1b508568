from typing import Any

import pytest
import torch
from torch import nn

from photopeak.core.errors import BadArgument
from photopeak.nets.unet import slice_unet, watched


@pytest.fixture
def unet() -> nn.Module:
    """A small U-Net whose weights are all random: as made, the last layers are zero and hide the others."""
    network = slice_unet(3, 2, (16, 24)).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network


def _input(items: int = 2, size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    images = torch.randn((items, 3, size, size), generator=generator, dtype=torch.float64)
    return images, torch.arange(items) * 100


@pytest.mark.parametrize("channels", [(8, 24), (8, 16, 24)])
def test_it_keeps_rows_and_columns(channels):
    answer = slice_unet(3, 2, channels).double()(*_input())
    assert answer.shape == (2, 2, 8, 8)


def test_items_do_not_mix_and_each_has_its_time(unet):
    images, times = _input()
    together = unet(images, times)
    alone = torch.cat([unet(images[n : n + 1], times[n : n + 1]) for n in range(2)])
    assert torch.allclose(together, alone, atol=1e-9)
    assert not torch.allclose(unet(images, times + 50), together, atol=1e-3)


def test_the_gradient_reaches_every_parameter(unet):
    unet(*_input()).square().sum().backward()
    unmoved = [name for name, p in unet.named_parameters() if p.grad is None or not bool(p.grad.abs().max() > 1e-9)]
    # A constant added to all keys cancels in the softmax.
    assert all(name.endswith("to_k.bias") for name in unmoved), unmoved


def test_watching_collects_one_feature_of_each_block(unet):
    images, times = _input()
    blocks: Any = unet
    with watched(unet) as features:
        answer = unet(images, times)
    assert len(features) == len(blocks.down_blocks) + 1 + len(blocks.up_blocks) == 5
    assert all(f.ndim == 4 and len(f) == 2 and f.requires_grad for f in features)
    assert torch.equal(answer, unet(images, times))


def test_hooks_are_gone_afterwards_even_after_an_error(unet):
    hooks = [module._forward_hooks for module in unet.modules()]
    with watched(unet) as features:
        assert any(hooks)
        unet(*_input())
    collected = len(features)
    unet(*_input())
    assert len(features) == collected
    with pytest.raises(ZeroDivisionError), watched(unet):
        raise ZeroDivisionError
    assert not any(hooks)


def test_a_folded_network_sees_blocks_and_keeps_rows_and_columns() -> None:
    torch.manual_seed(0)
    folded, flat = slice_unet(3, 2, (16, 24), fold=2).double(), slice_unet(12, 8, (16, 24)).double()
    for network in (folded.unet, flat):
        network.out[-1].conv.weight.data.normal_()
    flat.load_state_dict(folded.unet.state_dict())
    images, times = _input(size=16)
    answer = folded(images, times)
    assert answer.shape == (2, 2, 16, 16)
    blocks = flat(torch.nn.functional.pixel_unshuffle(images, 2), times)
    torch.testing.assert_close(answer[:, 1, 1::2, ::2], blocks[:, 4 + 2])


def test_a_folded_network_can_be_watched() -> None:
    folded = slice_unet(3, 2, (16, 24), fold=2).double()
    with watched(folded) as features:
        folded(*_input(size=16))
    with watched(folded.unet) as inner:
        folded(*_input(size=16))
    assert len(features) == len(inner) > 3


@pytest.mark.parametrize("channels", [(), (8, 20), (12, 24), (8, 16), (-8, 24)])
def test_channels_that_no_level_can_have(channels):
    with pytest.raises(BadArgument, match="multiples of 8"):
        slice_unet(1, 1, channels)
