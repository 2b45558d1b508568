import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photopeak.core.errors import BadArgument
from photopeak.recon.tv import total_variation, tv_update

AXES = st.sampled_from(["z", "y", "x", "yx", "zyx"])


def _image(seed: int, shape: tuple[int, ...] = (5, 4, 3)) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(AXES, st.floats(0, 100), st.floats(0, 10))
def test_what_is_uniform_has_no_variation_and_stays(axis, level, strength):
    image = torch.full((3, 4, 5), level, dtype=torch.float64)
    assert float(total_variation(image, axis=axis)) == 0
    assert torch.allclose(tv_update(strength=strength, axis=axis)(image), image)


@given(AXES, st.integers(0, 10_000), st.floats(0, 5))
def test_the_mean_is_kept(axis, seed, strength):
    image = _image(seed)
    made = tv_update(strength=strength, axis=axis, iterations=7)(image)
    assert float(made.mean()) == pytest.approx(float(image.mean()), abs=1e-12)


@given(st.integers(0, 10_000), st.floats(0.01, 1))
def test_along_z_each_column_keeps_its_own_counts(seed, strength):
    image = _image(seed)
    assert torch.allclose(tv_update(strength=strength, axis="z")(image).sum(0), image.sum(0), rtol=1e-12)


@settings(max_examples=12)
@given(AXES, st.integers(0, 10_000), st.floats(0.01, 1), st.integers(0, 10_000))
def test_nothing_nearby_has_a_lower_cost(axis, seed, strength, other):
    image = _image(seed)
    made = tv_update(strength=strength, axis=axis, iterations=600)(image)

    def cost(u: torch.Tensor) -> float:
        return float((u - image).square().sum() / 2 + strength * total_variation(u, axis=axis))

    nudge = 0.01 * (_image(other) - 0.5)
    assert cost(made) <= cost(made + nudge) + 1e-6
    assert cost(made) <= cost(image)
    assert float(made.min()) >= float(image.min()) - 1e-3


def test_a_step_is_lowered_by_the_strength_on_each_side():
    image = torch.tensor([0.0, 0, 0, 0, 6, 6], dtype=torch.float64).reshape(6, 1, 1)
    made = tv_update(strength=2.0, axis="z", iterations=2000)(image).flatten()
    assert torch.allclose(made, torch.tensor([0.5, 0.5, 0.5, 0.5, 5.0, 5.0], dtype=torch.float64), atol=1e-5)
    merged = tv_update(strength=20.0, axis="z", iterations=2000)(image).flatten()
    assert torch.allclose(merged, torch.full((6,), 2.0, dtype=torch.float64), atol=1e-5)


def test_voxel_size_is_the_distance_over_which_counts_differ():
    image = torch.tensor([0.0, 0, 6, 6], dtype=torch.float64).reshape(4, 1, 1)
    far = tv_update(strength=2.0, axis="z", voxel_mm=(4.0, 1.0, 1.0), iterations=2000)(image)
    near = tv_update(strength=0.5, axis="z", iterations=2000)(image)
    assert torch.allclose(far, near, atol=1e-6)
    assert float(total_variation(image, axis="z", voxel_mm=(4.0, 1.0, 1.0))) == pytest.approx(1.5)


def test_variation_over_axes_is_euclidean():
    image = torch.zeros(1, 2, 2, dtype=torch.float64)
    image[0, 0, 1], image[0, 1, 0] = 3.0, 4.0
    assert float(total_variation(image, axis="yx")) == pytest.approx(5 + 3 + 4)


def test_a_batch_is_the_stack_of_its_items():
    images, update = _image(3, (2, 3, 4, 3, 2)), tv_update(strength=0.3)
    made = update(images)
    for i in range(2):
        for j in range(3):
            assert torch.allclose(made[i, j], update(images[i, j]), rtol=1e-12)


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        ({"axis": "t"}, "axis"),
        ({"axis": ""}, "axis"),
        ({"axis": "zz"}, "axis"),
        ({"strength": -1.0}, "strength"),
        ({"strength": float("nan")}, "strength"),
        ({"iterations": 0}, "iterations"),
        ({"voxel_mm": (1.0, 0.0, 1.0)}, "voxel_mm"),
    ],
)
def test_updates_that_make_no_sense(bad, name):
    with pytest.raises(BadArgument, match=name):
        tv_update(**{"strength": 1.0, **bad})
