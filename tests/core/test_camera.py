import torch

from photopeak.core import Grid
from photopeak.physics.parallel_hole import ParallelHole


def test_the_sum_of_two_systems_is_a_system_and_its_views_are_sums():
    grid = Grid.regular((2, 5, 5), 12.0)
    cameras = [ParallelHole((0.0, 60.0), (radius, radius), (2, 5), 12.0) for radius in (300.0, 60.0)]
    far, near = (camera.system(grid, engine="gemm") for camera in cameras)
    image = torch.rand(grid.shape, dtype=torch.float64)
    both = far + near
    torch.testing.assert_close(both(image), far(image) + near(image))
    torch.testing.assert_close(both.views([1])(image), both(image)[1:])
    torch.testing.assert_close(both.T(both(image)), far.T(both(image)) + near.T(both(image)))
