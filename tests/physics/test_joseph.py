import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import radon

from photopeak.core import Grid
from photopeak.physics.joseph import JosephLines, rays_per_bin

ANGLES = (0.0, 17.0, 45.0, 60.0, 90.0, 135.0, 171.0, 200.0)


def _image(grid: Grid, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand((1, *grid.shape), generator=generator, dtype=dtype)


@given(
    angle=st.floats(-360.0, 360.0),
    plane=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    spacing=st.tuples(st.floats(1.0, 9.0), st.floats(1.0, 9.0)),
    bin_mm=st.floats(0.5, 12.0),
)
def test_the_adjoint_is_the_transpose_for_any_geometry(angle, plane, spacing, bin_mm):
    grid = Grid.regular((2, *plane), (4.0, *spacing))
    lines = JosephLines.through(grid, (angle, angle + 70.0), bins=7, bin_mm=bin_mm)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((3, *grid.shape), generator=generator, dtype=torch.float64)
    y = torch.randn((3, 2, 2, 7), generator=generator, dtype=torch.float64)
    seen, back = lines.forward(x), lines.adjoint(y)
    scale = float(seen.norm() * y.norm() + back.norm() * x.norm()) + 1e-30
    assert abs(float((seen * y).sum() - (x * back).sum())) <= 1e-12 * scale


@given(
    angle=st.floats(0.0, 360.0), s_bin=st.integers(-6, 6), spacing=st.tuples(st.floats(3.0, 6.0), st.floats(3.0, 6.0))
)
def test_a_line_through_a_uniform_box_is_as_long_as_its_chord(angle, s_bin, spacing):
    grid = Grid.regular((1, 41, 51), (5.0, *spacing))
    phi, s = math.radians(angle), 2.0 * s_bin
    inside = []
    for edge_mm, origin, direction in (
        (spacing[1] * 51 / 2, s * math.cos(phi), math.sin(phi)),
        (spacing[0] * 41 / 2, s * math.sin(phi), -math.cos(phi)),
    ):
        crossings = sorted((edge - origin) / direction for edge in (-edge_mm, edge_mm)) if direction else (-1e9, 1e9)
        inside.append(crossings)
    chord = min(inside[0][1], inside[1][1]) - max(inside[0][0], inside[1][0])
    seen = JosephLines.through(grid, (angle,), bins=13, bin_mm=2.0).forward(torch.ones(1, *grid.shape).double())
    assert float(seen[0, 0, 0, 6 + s_bin]) == pytest.approx(chord, abs=0.55 * sum(spacing))


def test_a_ramp_along_the_rays_is_integrated_exactly():
    """Linear interpolation and equal steps are exact for a linear image, away from the borders."""
    grid = Grid.regular((1, 31, 31), 2.0)
    x, y, _ = torch.from_numpy(grid.points()).unbind(-1)
    lines = JosephLines.through(grid, (0.0, 30.0), bins=5, bin_mm=2.0)
    seen = lines.forward((3.0 + 0.01 * x + 0.02 * y)[None])[0, :, 0]
    s = 2.0 * (torch.arange(5, dtype=torch.float64) - 2)
    for view, phi in enumerate((0.0, math.radians(30.0))):
        # All 31 rows are stepped through, symmetric about the row y = 0, which the ray meets at x = s / cos phi.
        expected = (3.0 + 0.01 * s / math.cos(phi)) * 62.0 / math.cos(phi)
        assert torch.allclose(seen[view], expected, rtol=1e-12)


def test_every_slice_is_on_its_own(generator):
    grid = Grid.regular((4, 9, 11), (5.0, 4.0, 3.0))
    lines = JosephLines.through(grid, ANGLES, bins=10, bin_mm=4.0)
    image = _image(grid, generator)
    whole = lines.forward(image)
    for k in range(4):
        alone = torch.zeros_like(image)
        alone[:, k] = image[:, k]
        seen = lines.forward(alone)
        assert torch.equal(seen[:, :, k], whole[:, :, k])
        assert int(seen.count_nonzero()) == int(seen[:, :, k].count_nonzero())


def test_wide_bins_are_the_mean_of_narrow_ones(generator):
    grid = Grid.regular((2, 12, 12), 4.0)
    image = _image(grid, generator)
    wide = JosephLines.through(grid, ANGLES, bins=4, bin_mm=12.0).forward(image)
    narrow = JosephLines.through(grid, ANGLES, bins=12, bin_mm=4.0).forward(image)
    assert torch.allclose(wide, narrow.unflatten(-1, (4, 3)).mean(-1))


@pytest.mark.parametrize(("bin_mm", "rays"), [(1.0, 1), (3.0, 1), (3.1, 2), (9.0, 3)])
def test_rays_of_a_bin_are_no_further_apart_than_voxels(bin_mm, rays):
    assert rays_per_bin(Grid.regular((1, 4, 4), (9.0, 5.0, 3.0)), bin_mm) == rays


def test_scikit_image_finds_the_same_line_integrals():
    """Its angles turn the other way, and its axis is the middle of an odd image."""
    grid = Grid.regular((1, 65, 65), 8.0)
    x, y, _ = torch.from_numpy(grid.points()).unbind(-1)
    image = torch.exp(-((x - 50) ** 2 + (y + 40) ** 2) / 1800) + torch.exp(-((x + 70) ** 2 + (y - 60) ** 2) / 3000)
    image = image * (torch.hypot(x, y) < 250)
    seen = JosephLines.through(grid, ANGLES, bins=65, bin_mm=8.0).forward(image[None])[0, :, 0] / 8.0
    expected = torch.from_numpy(radon(image[0].numpy(), [-a for a in ANGLES], circle=True).T.copy())
    assert float((seen - expected).norm() / expected.norm()) < 0.002


def test_half_precision_is_computed_in_single(generator):
    grid = Grid.regular((1, 6, 6), 4.0)
    lines, image = JosephLines.through(grid, ANGLES, bins=6, bin_mm=4.0), _image(grid, generator, torch.float32)
    seen = lines.forward(image.bfloat16())
    assert seen.dtype == torch.bfloat16
    assert torch.equal(seen, lines.forward(image.bfloat16().float()).bfloat16())


def test_same_bits_for_any_number_of_threads(generator):
    grid = Grid.regular((40, 64, 60), 4.0)
    lines = JosephLines.through(grid, ANGLES, bins=64, bin_mm=4.0)
    image, threads = _image(grid, generator, torch.float32), torch.get_num_threads()
    made = []
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            seen = lines.forward(image)
            made.append((seen, lines.adjoint(seen)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in made[1:] for a, b in zip(made[0], other, strict=True))
