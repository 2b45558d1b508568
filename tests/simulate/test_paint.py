import numpy as np
import pytest

from photopeak.core import Grid
from photopeak.simulate.paint import labels, painted, presence
from photopeak.simulate.shapes import ellipsoid

GRID = Grid.regular((12, 14, 16), (5.0, 4.0, 4.0), centre_mm=(3.0, -2.0, 10.0))


@pytest.mark.parametrize("centre", [(3.0, -2.0, 10.0), (4.7, -1.2, 12.1)])
def test_a_sphere_keeps_its_volume_and_its_place(centre: tuple[float, float, float]) -> None:
    part = presence(ellipsoid(centre, (9.0, 9.0, 9.0)), GRID)
    assert part.sum() * 80 == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.02)
    middle = (GRID.points() * part[..., None]).sum(axis=(0, 1, 2)) / part.sum()
    assert middle == pytest.approx(np.array(centre), abs=0.15)


def test_beyond_the_grid_nothing_is_painted() -> None:
    assert not presence(ellipsoid((500.0, 0.0, 0.0), (9.0, 9.0, 9.0)), GRID).any()


def test_the_last_lies_on_top() -> None:
    full, half = np.ones((1, 1, 1), np.float32), np.full((1, 1, 1), 0.5, np.float32)
    assert painted(np.zeros((1, 1, 1), np.float32), [(full, 4.0), (half, 2.0)]).item() == 3.0


def test_labels_count_from_one_and_the_smallest_has_a_voxel() -> None:
    small = np.zeros(GRID.shape, np.float32)
    small[2, 3, 4] = 0.3
    large = presence(ellipsoid((3.0, -2.0, 10.0), (9.0, 9.0, 9.0)), GRID)
    label = labels([large, small, np.zeros_like(small)], GRID)
    assert set(np.unique(label)) == {0.0, 1.0, 2.0}
    assert label[2, 3, 4] == 2
    assert np.array_equal(label == 1, large >= 0.5)
