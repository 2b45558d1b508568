import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from photopeak.core import COUNTS, FACTOR, SUV, Grid, Volume, attenuation
from photopeak.core.errors import BadValues, ShapeMismatch, WrongQuantity
from photopeak.core.volume import sample_linear

GRID = Grid.regular((5, 6, 7), (6.0, 4.0, 3.0), centre_mm=(10.0, -20.0, 30.0))


@pytest.fixture
def volume(generator: torch.Generator) -> Volume:
    return Volume(torch.rand(GRID.shape, generator=generator, dtype=torch.float64), GRID, COUNTS)


def test_on_its_own_grid_is_itself(volume):
    assert volume.on(GRID) is volume


def test_on_a_crop_is_the_crop(volume):
    found = volume.on(GRID.crop((1, 2, 3), (3, 3, 2)))
    torch.testing.assert_close(found.data, volume.data[1:4, 2:5, 3:5])
    assert found.quantity == COUNTS


def test_on_a_larger_grid_is_padded_with_what_is_outside(volume):
    found = volume.on(GRID.crop((-2, -1, 0), (8, 8, 7)), outside=-3.0)
    torch.testing.assert_close(found.data[2:7, 1:7], volume.data)
    assert float(found.data[:2].max()) == float(found.data[7:].max()) == -3.0


@given(
    slope=st.tuples(*[st.floats(-2, 2)] * 3),
    turn_deg=st.floats(-180, 180),
    shift_mm=st.tuples(*[st.floats(-3, 3)] * 3),
)
def test_linear_functions_are_resampled_exactly(slope, turn_deg, shift_mm):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xz", [turn_deg, 30], degrees=True).as_matrix()
    matrix[:3, 3] = GRID.centre_mm + shift_mm - matrix[:3, :3] @ [1.5, 1.5, 1.5]
    inner = Grid((4, 4, 4), tuple(map(tuple, matrix)))
    line = Volume(torch.from_numpy(GRID.points() @ slope + 5), GRID, COUNTS)
    np.testing.assert_allclose(line.on(inner).data, inner.points() @ slope + 5, atol=1e-9)


def test_sampling_reads_a_point_by_its_place_in_the_patient(volume):
    point_mm = GRID.world([2, 3, 4])
    assert float(sample_linear(volume.data, GRID, point_mm)) == pytest.approx(float(volume.data[2, 3, 4]))
    between = sample_linear(volume.data, GRID, GRID.world([[2, 3, 4.5], [2, 3.5, 4]]))
    assert between.tolist() == pytest.approx(
        [float(volume.data[2, 3, 4:6].mean()), float(volume.data[2, 3:5, 4].mean())]
    )


def test_resampling_is_differentiable(volume):
    data = volume.data.clone().requires_grad_()
    volume.with_data(data).on(GRID.crop((1, 1, 1), (2, 2, 2))).data.sum().backward()
    assert float(data.grad.sum()) == pytest.approx(8)


def test_numpy_is_copied_in_as_float32():
    array = np.ones((2, 3, 4))
    volume = Volume.from_numpy(array, Grid.regular((2, 3, 4), 1.0), SUV)
    array[:] = 7
    assert volume.numpy().dtype == np.float32
    assert volume.numpy().max() == 1


def test_integers_become_float32():
    volume = Volume(torch.ones(GRID.shape, dtype=torch.int16), GRID, COUNTS)
    assert volume.data.dtype == torch.float32


def test_with_data_keeps_grid_and_quantity(volume):
    other = volume.with_data(2 * volume.data)
    assert (other.grid, other.quantity) == (volume.grid, volume.quantity)
    assert volume.with_data(volume.data, FACTOR).quantity == FACTOR


def test_wrong_shape_is_refused():
    with pytest.raises(ShapeMismatch, match=r"\(5, 7, 6\)"):
        Volume(torch.zeros(5, 7, 6), GRID, COUNTS)


def test_quantity_includes_the_energy(volume):
    mu = volume.with_data(volume.data, attenuation(140.5))
    assert mu.require(attenuation(140.5), name="mu") is mu
    with pytest.raises(WrongQuantity, match=r'"mu" holds .*140\.5 keV'):
        mu.require(attenuation(511.0), name="mu")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_holes_in_an_image(volume, value):
    data = volume.data.clone()
    data[1, 1, 1] = value
    with pytest.raises(BadValues, match='"nac" has 1 NaN or infinite voxels'):
        volume.with_data(data).require_image(name="nac")


def test_a_constant_is_no_image(volume):
    assert volume.require_image(name="nac") is volume
    with pytest.raises(BadValues, match="3 everywhere"):
        volume.with_data(torch.full(GRID.shape, 3.0)).require_image(name="nac")


def test_str_tells_quantity_grid_and_range(volume):
    text = str(volume.with_data(torch.arange(210.0).reshape(GRID.shape)))
    assert text == "counts [counts], 5x6x7 at 6 x 4 x 3 mm, 0 to 209"
