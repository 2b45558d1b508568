from dataclasses import replace

import pytest
import torch

from photopeak.core import Grid, Volume, attenuation
from photopeak.core.errors import BadArgument, ShapeMismatch
from photopeak.physics.pinhole import Pinhole
from photopeak.physics.pinhole_abreast import Abreast
from photopeak.physics.pinhole_system import PinholeSystem
from photopeak.physics.support import Within
from photopeak.testing import check_operator

CAMERA = replace(Pinhole.named("dnm_530c"), shape=(8, 6), pixel_mm=9.84)
GRID = Grid.regular((4, 6, 5), 24.0)


@pytest.fixture(scope="module")
def systems() -> list[PinholeSystem]:
    bare = CAMERA.system(GRID)
    thin, thick = (Volume(torch.full(GRID.shape, mu), GRID, attenuation(140.5)) for mu in (0.04, 0.15))
    return [bare, bare.attenuated(thin), bare.attenuated(thick)]


@pytest.fixture(scope="module")
def supports() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(GRID.shape, generator=generator) < share for share in (1.0, 0.5, 0.2)]


def test_it_is_what_each_does_alone(systems, supports, generator):
    abreast = Abreast.of(systems, supports)
    alone = [Within(system, support) for system, support in zip(systems, supports, strict=True)]
    images = torch.rand(2, *abreast.domain_shape, generator=generator)
    counts = torch.rand(2, *abreast.range_shape, generator=generator)
    for n, one in enumerate(alone):
        assert torch.allclose(abreast(images)[:, n], one(images[:, n]), rtol=1e-5, atol=1e-10)
        assert torch.allclose(abreast.T(counts)[:, n], one.T(counts[:, n]), rtol=1e-5, atol=1e-10)


def test_it_is_a_proper_operator(systems, supports, generator):
    check_operator(Abreast.of(systems, supports), generator=generator)


def test_nothing_shines_outside_a_support(systems, supports, generator):
    abreast = Abreast.of(systems, supports)
    back = abreast.T(torch.rand(abreast.range_shape, generator=generator))
    for image, support in zip(back, supports, strict=True):
        assert not image[~support].any()
        assert image[support].any()


def test_systems_of_two_matrices(systems, supports):
    with pytest.raises(BadArgument, match="one matrix"):
        Abreast.of([*systems[:2], CAMERA.system(GRID)], supports)
    with pytest.raises(BadArgument, match="3 systems"):
        Abreast.of(systems[:2], supports[:2])


def test_a_support_on_another_grid(systems, supports):
    with pytest.raises(ShapeMismatch, match="supports"):
        Abreast.of(systems, [*supports[:2], torch.ones(2, 2, 2, dtype=torch.bool)])
    with pytest.raises(ShapeMismatch, match="supports"):
        Abreast.of(systems, supports[:2])
