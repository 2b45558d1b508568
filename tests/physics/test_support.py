import pytest
import torch

from photopeak.core import Grid, Volume, attenuation
from photopeak.core.errors import BadValues, ShapeMismatch
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.support import Within, body_of
from photopeak.recon.iterate import mlem
from photopeak.testing import check_operator

GRID = Grid.regular((2, 7, 7), 10.0)
MASK = torch.zeros(GRID.shape)
MASK[:, 2:5, 2:6] = 1


def _system():
    return ParallelHole((0.0, 50.0, 90.0), (90.0,) * 3, (2, 7), 10.0).system(GRID, engine="gemm")


def test_is_an_operator(generator):
    check_operator(Within(_system(), MASK), generator=generator)


def test_views_are_rows_of_the_whole(generator):
    image, inside = torch.rand(GRID.shape, generator=generator), Within(_system(), MASK)
    assert torch.allclose(inside.views([2, 0])(image), inside(image)[[2, 0]])


def test_nothing_is_reconstructed_outside(generator):
    truth = torch.rand(GRID.shape, generator=generator) * MASK
    found = mlem(Within(_system(), MASK), _system()(truth), iterations=200)
    assert not bool((found * (1 - MASK)).any())
    assert float((found - truth).norm() / truth.norm()) < 0.25


def test_the_body_is_what_attenuates_and_a_margin():
    mu = torch.zeros(GRID.shape)
    mu[1, 3, 3] = 0.04
    body = body_of(Volume(mu, GRID, attenuation(140.5)), margin_mm=10.0)
    assert body[:, 2:5, 2:5].all()
    assert int(body.sum()) == 2 * 3 * 3


@pytest.mark.parametrize(
    ("mask", "error"), [(torch.ones(2, 7, 6), ShapeMismatch), (torch.zeros(GRID.shape), BadValues)]
)
def test_masks_that_cannot_be(mask, error):
    with pytest.raises(error, match="mask"):
        Within(_system(), mask)
