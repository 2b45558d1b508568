import pytest
import torch

from photopeak.core.errors import BadArgument
from photopeak.nets.casnet import CasNet, UBlock


@pytest.fixture
def cascade() -> CasNet:
    torch.manual_seed(0)
    return CasNet(3, 1, blocks=3, channels=(4, 8, 12)).double()


@pytest.mark.parametrize("channels", [(4,), (4, 8), (4, 8, 8)])
def test_a_block_keeps_the_size(generator, channels):
    assert UBlock(3, 2, channels)(torch.randn((2, 3, 16, 24), generator=generator)).shape == (2, 2, 16, 24)


def test_blocks_hand_on_images(cascade, generator):
    image = torch.randn((2, 3, 16, 16), generator=generator, dtype=torch.float64)
    answer = cascade(image)
    for block in cascade.blocks:
        image = block(image)
        assert image.shape == (2, 1, 16, 16)
    assert torch.equal(answer, image)


def test_skips_carry_what_the_bottom_loses(generator):
    torch.manual_seed(0)
    block = UBlock(1, 1, (4, 8)).double()
    for weight in block.up.parameters():
        torch.nn.init.zeros_(weight)
    one, other = torch.randn((2, 1, 1, 8, 8), generator=generator, dtype=torch.float64)
    assert not torch.allclose(block(one), block(other), atol=1e-3)


def test_items_do_not_mix(cascade, generator):
    images = torch.randn((3, 3, 16, 16), generator=generator, dtype=torch.float64)
    alone = torch.cat([cascade(images[n : n + 1]) for n in range(3)])
    assert torch.allclose(cascade(images), alone, atol=1e-10)


def test_the_gradient_reaches_every_parameter(cascade, generator):
    cascade(torch.randn((2, 3, 16, 16), generator=generator, dtype=torch.float64)).square().sum().backward()
    assert [n for n, p in cascade.named_parameters() if p.grad is None or not bool(p.grad.abs().max() > 1e-12)] == []


def test_what_cannot_be_is_refused():
    with pytest.raises(BadArgument, match="blocks=0"):
        CasNet(1, 1, blocks=0)
    with pytest.raises(BadArgument, match="no channels"):
        UBlock(1, 1, ())
