import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core.errors import BadArgument
from photopeak.recon.priors import Green, RelativeDifference

PRIORS = st.one_of(
    st.builds(
        Green,
        st.floats(0.1, 5),
        voxel_mm=st.tuples(*[st.floats(1, 8)] * 3),
        neighbours=st.sampled_from([6, 26]),
    ),
    st.builds(
        RelativeDifference,
        st.floats(0, 5),
        voxel_mm=st.tuples(*[st.floats(1, 8)] * 3),
        neighbours=st.sampled_from([6, 26]),
    ),
)
SHAPES = st.tuples(*[st.integers(1, 4)] * 3)


def _image(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


@given(PRIORS, SHAPES, st.integers(0, 10_000))
def test_the_gradient_is_the_derivative_of_the_value(prior, shape, seed):
    image = _image(seed, shape).requires_grad_()
    (derivative,) = torch.autograd.grad(prior.value(image), image, allow_unused=True)
    expected = torch.zeros_like(image) if derivative is None else derivative
    assert torch.allclose(prior.gradient(image.detach()), expected, atol=1e-10)


@given(PRIORS, SHAPES, st.integers(0, 10_000))
def test_the_gradient_is_a_difference_quotient(prior, shape, seed):
    image, direction = _image(seed, shape), _image(seed + 1, shape) - 0.5
    step = 1e-6 * direction
    quotient = float(prior.value(image + step) - prior.value(image - step)) / 2e-6
    assert float((prior.gradient(image) * direction).sum()) == pytest.approx(quotient, abs=1e-6)


@given(PRIORS, st.floats(0, 100))
def test_what_is_uniform_costs_nothing(prior, level):
    image = torch.full((3, 4, 5), level, dtype=torch.float64)
    assert float(prior.value(image)) == pytest.approx(0, abs=1e-12)
    assert float(prior.gradient(image).abs().max()) == pytest.approx(0, abs=1e-12)


@given(PRIORS, st.integers(0, 10_000))
def test_a_batch_is_the_stack_of_its_items(prior, seed):
    images = _image(seed, (2, 3, 2, 3, 4))
    values, gradients = prior.value(images), prior.gradient(images)
    assert values.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            assert float(values[i, j]) == pytest.approx(float(prior.value(images[i, j])))
            assert torch.equal(gradients[i, j], prior.gradient(images[i, j]))


def test_green_by_hand():
    image = torch.tensor([1.0, 4.0], dtype=torch.float64).reshape(1, 1, 2)
    prior = Green(2.0, neighbours=6)
    assert float(prior.value(image)) == pytest.approx(2 * math.log(math.cosh(1.5)) / 6)
    assert prior.gradient(image).flatten().tolist() == pytest.approx([-math.tanh(1.5) / 6, math.tanh(1.5) / 6])


def test_green_does_not_overflow():
    image = torch.tensor([0.0, 1e30]).reshape(1, 1, 2)
    assert float(Green(1e-3, neighbours=6).value(image)) == pytest.approx(1e30 / 6, rel=1e-5)


def test_relative_difference_by_hand():
    image = torch.tensor([1.0, 4.0], dtype=torch.float64).reshape(1, 1, 2)
    assert float(RelativeDifference(2.0, neighbours=6).value(image)) == pytest.approx(9 / (5 + 2 * 3) / 6)


@given(st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_relative_difference_grows_with_the_counts(scale, seed):
    prior, image = RelativeDifference(), _image(seed, (3, 3, 3))
    assert float(prior.value(scale * image)) == pytest.approx(scale * float(prior.value(image)))
    assert torch.allclose(prior.gradient(scale * image), prior.gradient(image), atol=1e-12)


def test_empty_voxels_have_no_slope_of_their_own():
    assert torch.equal(RelativeDifference().gradient(torch.zeros(3, 3, 3)), torch.zeros(3, 3, 3))


@pytest.mark.parametrize("neighbours", [6, 26])
@pytest.mark.parametrize("voxel_mm", [(1.0, 1.0, 1.0), (6.4, 3.2, 3.2)])
def test_the_pull_on_a_lone_hot_voxel_is_the_weight_of_all_its_neighbours(neighbours, voxel_mm):
    point = torch.zeros(5, 5, 5, dtype=torch.float64)
    point[2, 2, 2] = 1e6
    pull = Green(1.0, neighbours=neighbours, voxel_mm=voxel_mm).gradient(point)
    assert float(pull[2, 2, 2]) == pytest.approx(1)
    assert int((pull < 0).sum()) == neighbours


def test_a_neighbour_twice_as_far_weighs_half():
    point = torch.zeros(3, 3, 3, dtype=torch.float64)
    point[1, 1, 1] = 1e6
    pull = Green(1.0, voxel_mm=(8.0, 4.0, 4.0)).gradient(point)
    assert float(pull[0, 1, 1] / pull[1, 0, 1]) == pytest.approx(0.5)
    assert float(pull[1, 0, 0] / pull[1, 0, 1]) == pytest.approx(1 / math.sqrt(2))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Green(0.0), "delta"),
        (lambda: Green(float("nan")), "delta"),
        (lambda: RelativeDifference(-1.0), "gamma"),
        (lambda: Green(1.0, neighbours=18), "neighbours"),
        (lambda: Green(1.0, voxel_mm=(1.0, 0.0, 1.0)), "voxel_mm"),
        (lambda: RelativeDifference(voxel_mm=(1.0, 1.0)), "voxel_mm"),
    ],
)
def test_priors_that_make_no_sense(make, name):
    with pytest.raises(BadArgument, match=name):
        make()
