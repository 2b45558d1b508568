from typing import Any

import pytest
import torch

from photopeak.core.errors import BadArgument, ShapeMismatch
from photopeak.nets.resvit import ResViT

SMALL: dict[str, Any] = {"size": 16, "channels": 4, "blocks": 3, "shrink": 1, "width": 8, "layers": 1, "heads": 2}


def network(**changes: Any) -> ResViT:
    torch.manual_seed(0)
    return ResViT(3, 2, **{**SMALL, "attending": (1, 3), **changes}).double()


def image(generator: torch.Generator, items: int = 2) -> torch.Tensor:
    return torch.randn((items, 3, 16, 16), generator=generator, dtype=torch.float64)


def test_the_answer_has_the_size_of_the_image(generator):
    assert network()(image(generator)).shape == (2, 2, 16, 16)


def test_it_starts_as_the_residual_network_alone_and_does_not_stay_so(generator):
    net = network()
    features = torch.randn((2, 16, 4, 4), generator=generator, dtype=torch.float64)
    block = net.tokens["1"]
    assert torch.equal(block(features, net.transformer), features)
    (slope,) = torch.autograd.grad(block(features, net.transformer).square().sum(), block.join.weight)
    assert bool((slope[:, 16:].abs().sum(dim=(1, 2, 3)) > 0).all())


def test_transformers_share_their_weights():
    one, two = network(attending=(1,)), network(attending=(1, 3))
    size = {name: p.numel() for name, p in two.named_parameters()}
    added = sum(n for name, n in size.items() if name.startswith("tokens.3."))
    assert sum(size.values()) - sum(p.numel() for p in one.parameters()) == added > 0


def test_tokens_know_their_place(generator):
    # Without places, a transformer commutes with any reordering of its tokens.
    net = network()
    block = net.tokens["1"]
    torch.nn.init.normal_(block.place)
    tokens = torch.randn((1, 4, 8), generator=generator, dtype=torch.float64)
    swapped = net.transformer(tokens.flip(1) + block.place).flip(1)
    assert not torch.allclose(net.transformer(tokens + block.place), swapped, atol=1e-3)
    assert torch.allclose(net.transformer(tokens), net.transformer(tokens.flip(1)).flip(1))


def test_items_do_not_mix(generator):
    net, images = network(), image(generator, 3)
    alone = torch.cat([net(images[n : n + 1]) for n in range(3)])
    assert torch.allclose(net(images), alone, atol=1e-10)


def test_the_gradient_reaches_every_parameter(generator):
    net = network()
    for block in net.tokens.values():
        torch.nn.init.normal_(block.join.weight)
    net(image(generator)).square().sum().backward()
    unmoved = [name for name, p in net.named_parameters() if p.grad is None or not bool(p.grad.abs().max() > 1e-12)]
    # A constant added to a channel before instance norm cancels.
    assert set(unmoved) <= {f"tokens.{n}.from_tokens.0.bias" for n in (1, 3)}


def test_images_of_another_size_are_refused(generator):
    with pytest.raises(ShapeMismatch, match="16, 16"):
        network()(torch.zeros(1, 3, 24, 24, dtype=torch.float64))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 20}, "multiple of 8"),
        ({"size": 8}, "at least twice"),
        ({"attending": (1, 4)}, "among 1 to 3"),
        ({"attending": (0,)}, "among 1 to 3"),
        ({"attending": (2, 2)}, "different"),
        ({"attending": ()}, "different"),
        ({"heads": 3}, "3 heads"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(BadArgument, match=message):
        network(**changes)
