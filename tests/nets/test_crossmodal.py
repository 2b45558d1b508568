import pytest
import torch

from photopeak.nets.crossmodal import CrossModal


@pytest.fixture
def fuse() -> CrossModal:
    torch.manual_seed(0)
    return CrossModal(3, 5, width=16, heads=4).double()


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (6, 10)])
def test_the_answer_has_the_shape_of_the_image_that_asks(fuse, generator, rows, columns):
    asking = torch.randn((2, 3, rows, columns), generator=generator, dtype=torch.float64)
    asked = torch.randn((2, 5, rows, columns), generator=generator, dtype=torch.float64)
    answer = fuse(asking, asked)
    assert answer.shape == asking.shape
    assert torch.isfinite(answer).all()


def test_it_is_residual(fuse, generator):
    asking, asked = (torch.randn((1, n, 4, 4), generator=generator, dtype=torch.float64) for n in (3, 5))
    torch.nn.init.zeros_(fuse.back[-1].weight)
    torch.nn.init.zeros_(fuse.back[-1].bias)
    assert torch.equal(fuse(asking, asked), asking)


def test_every_place_of_the_asked_image_counts_everywhere(fuse, generator):
    asking = torch.randn((1, 3, 8, 8), generator=generator, dtype=torch.float64)
    asked = torch.randn((1, 5, 8, 8), generator=generator, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(fuse(asking, asked)[0, 0, 0, 0], asked)
    assert bool((slope[0].abs().sum(0) > 0).all())


def test_items_do_not_mix(fuse, generator):
    asking, asked = (torch.randn((3, n, 4, 4), generator=generator, dtype=torch.float64) for n in (3, 5))
    alone = torch.cat([fuse(asking[n : n + 1], asked[n : n + 1]) for n in range(3)])
    assert torch.allclose(fuse(asking, asked), alone, atol=1e-12)


def test_the_gradient_reaches_every_parameter(fuse, generator):
    asking, asked = (torch.randn((2, n, 4, 4), generator=generator, dtype=torch.float64) for n in (3, 5))
    fuse(asking, asked).square().sum().backward()
    unmoved = [name for name, p in fuse.named_parameters() if p.grad is None or not bool(p.grad.abs().max() > 1e-9)]
    # A constant added to all keys cancels in the softmax.
    assert unmoved == ["key.bias"]
