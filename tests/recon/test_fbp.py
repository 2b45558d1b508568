"""Projections are made in closed form here, and projected back by linear interpolation: no camera takes part."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from photopeak.core import SystemOperator
from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.recon.fbp import fbp

SIZE, VOXEL_MM, RADIUS_MM = 48, 4.0, 60.0


class Interpolating(SystemOperator):
    """Each voxel's counts shared between the two nearest bins: an ideal parallel camera as one dense matrix."""

    def __init__(self, angles_deg: Sequence[float], bin_mm: float, bins: int, nz: int = 1) -> None:
        self.angles_deg, self.bin_mm, self.bins, self.nz = tuple(angles_deg), bin_mm, bins, nz
        place = (torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2) * VOXEL_MM
        phi = torch.tensor(self.angles_deg, dtype=torch.float64).deg2rad()[:, None, None]
        s = (place[None, None] * phi.cos() + place[None, :, None] * phi.sin()) / bin_mm + (bins - 1) / 2
        reach = (s.flatten(1)[:, None] - torch.arange(bins, dtype=torch.float64)[None, :, None]).abs()
        self.table = (1 - reach).clamp(min=0)

    @property
    def domain_shape(self) -> tuple[int, ...]:
        return (self.nz, SIZE, SIZE)

    @property
    def range_shape(self) -> tuple[int, ...]:
        return (len(self.angles_deg), self.nz, self.bins)

    def views(self, indices: Sequence[int]) -> "Interpolating":
        return Interpolating([self.angles_deg[i] for i in indices], self.bin_mm, self.bins, self.nz)

    def _forward(self, x: Tensor) -> Tensor:
        return torch.einsum("vcp,bzp->bvzc", self.table.to(x), x.flatten(2))

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.einsum("vcp,bvzc->bzp", self.table.to(y), y).reshape(-1, *self.domain_shape)


def _turn(views: int, arc_deg: float, start_deg: float = -45.0) -> tuple[float, ...]:
    return tuple(start_deg + arc_deg * (v + 0.5) / views for v in range(views))


def _chords(system: Interpolating, x_mm: float = 0.0, y_mm: float = 0.0) -> Tensor:
    """Counts of a disc of 1 count per voxel: chord x bin width / voxel area, averaged over the bin."""
    fine = (torch.arange(system.bins * 9, dtype=torch.float64) + 0.5) / 9 - system.bins / 2
    phi = torch.tensor(system.angles_deg, dtype=torch.float64).deg2rad()[:, None]
    offset = fine * system.bin_mm - x_mm * phi.cos() - y_mm * phi.sin()
    chord = 2 * (RADIUS_MM**2 - offset**2).clamp(min=0).sqrt()
    counts = chord.reshape(-1, system.bins, 9).mean(2) * system.bin_mm / VOXEL_MM**2
    return counts[:, None].expand(system.range_shape).clone()


def _distance(x_mm: float = 0.0, y_mm: float = 0.0) -> Tensor:
    place = (torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2) * VOXEL_MM
    return torch.hypot(place[None] - x_mm, place[:, None] - y_mm)


@pytest.mark.parametrize("arc_deg", [180.0, 360.0, -180.0])
@pytest.mark.parametrize(("bin_mm", "bins"), [(4.0, 48), (3.0, 64), (5.0, 40)])
def test_a_disc_has_its_value_and_nothing_around_it(arc_deg, bin_mm, bins):
    system = Interpolating(_turn(72, arc_deg), bin_mm, bins)
    made = fbp(system, _chords(system), angles_deg=system.angles_deg, bin_mm=bin_mm, voxel_mm=VOXEL_MM)[0]
    distance = _distance()
    assert float(made[distance < 20].mean()) == pytest.approx(1, abs=0.01)
    assert float(made[distance < 45].mean()) == pytest.approx(1, abs=0.01)
    assert float(made[distance < 45].std()) < 0.03
    assert abs(float(made[(distance > 70) & (distance < 90)].mean())) < 0.01


def test_an_eccentric_disc_stands_where_it_is():
    system = Interpolating(_turn(72, 180.0), VOXEL_MM, SIZE)
    made = fbp(system, _chords(system, 15.0, -20.0), angles_deg=system.angles_deg, bin_mm=VOXEL_MM)[0]
    distance = _distance(15.0, -20.0)
    assert float(made[distance < 45].mean()) == pytest.approx(1, abs=0.01)
    assert float(made[_distance(-50.0, 40.0) < 15].mean()) == pytest.approx(0, abs=0.02)


def test_two_heads_and_any_order_of_views_make_the_same_image():
    system = Interpolating(_turn(40, 180.0), VOXEL_MM, SIZE)
    order = [*range(20, 40), *reversed(range(20))]
    counts = _chords(system, 10.0)
    one = fbp(system, counts, angles_deg=system.angles_deg, bin_mm=VOXEL_MM)
    mixed = system.views(order)
    assert torch.allclose(fbp(mixed, counts[order], angles_deg=mixed.angles_deg, bin_mm=VOXEL_MM), one, atol=1e-9)


def test_the_scale_follows_the_system():
    system = Interpolating(_turn(40, 180.0), VOXEL_MM, SIZE)
    counts = _chords(system)
    one = fbp(system, counts, angles_deg=system.angles_deg, bin_mm=VOXEL_MM)
    system.table = 3 * system.table
    assert torch.allclose(fbp(system, 3 * counts, angles_deg=system.angles_deg, bin_mm=VOXEL_MM), one, atol=1e-9)


def test_butterworth_passes_what_is_broad_and_calms_noise(generator):
    system = Interpolating(_turn(60, 180.0), VOXEL_MM, SIZE, nz=20)
    noisy = torch.poisson(50 * _chords(system), generator=generator) / 50
    middle = _distance() < 40
    plain, calm = (
        fbp(system, noisy, angles_deg=system.angles_deg, bin_mm=VOXEL_MM, cutoff_per_cm=cutoff)[10][middle]
        for cutoff in (None, 0.5)
    )
    assert float(calm.mean()) == pytest.approx(1, abs=0.02)
    assert float(calm.std()) < 0.6 * float(plain.std())


def test_the_filter_is_that_of_the_image():
    """Radial apodisation of parallel projections is the three-dimensional filter of the image (projection slices)."""
    system = Interpolating(_turn(90, 180.0), VOXEL_MM, SIZE, nz=25)
    point = torch.zeros(system.domain_shape, dtype=torch.float64)
    point[12, 22:26, 22:26] = 1
    made = fbp(system, system(point), angles_deg=system.angles_deg, bin_mm=VOXEL_MM, cutoff_per_cm=0.35)
    along_z, along_x = made[:, 22:26, 22:26].mean((1, 2)), made[12, 22:26].mean(0)
    assert int(along_z.argmax()) == 12
    assert float(along_z[10] / along_z[12]) == pytest.approx(0.55, abs=0.25)
    assert float(along_x[:23].sum()) == pytest.approx(float(along_x[25:].sum()), rel=1e-6)


def test_corners_that_some_views_miss_are_zero():
    system = Interpolating(_turn(60, 180.0), VOXEL_MM, SIZE)
    made = fbp(system, _chords(system), angles_deg=system.angles_deg, bin_mm=VOXEL_MM)[0]
    assert float(made[0, 0].abs()) == float(made[-1, -1].abs()) == 0


def test_a_batch_is_the_stack_of_its_items():
    system = Interpolating(_turn(20, 180.0), VOXEL_MM, SIZE)
    counts = torch.stack([_chords(system, x) for x in (0.0, 10.0)])
    made = fbp(system, counts, angles_deg=system.angles_deg, bin_mm=VOXEL_MM, cutoff_per_cm=0.5)
    for item, one in zip(made, counts, strict=True):
        alone = fbp(system, one, angles_deg=system.angles_deg, bin_mm=VOXEL_MM, cutoff_per_cm=0.5)
        assert torch.allclose(item, alone, atol=1e-12)


@pytest.mark.parametrize("angles", [_turn(20, 170.0), _turn(20, 270.0), (*_turn(19, 180.0), 7.0), (0.0,) * 20])
def test_orbits_with_gaps_are_refused(angles):
    system = Interpolating(angles, VOXEL_MM, SIZE)
    with pytest.raises(BadArgument, match="half or a whole turn"):
        fbp(system, torch.ones(system.range_shape), angles_deg=angles, bin_mm=VOXEL_MM)


@pytest.mark.parametrize(
    "bad",
    [
        {"bin_mm": -4.0},
        {"voxel_mm": 0.0},
        {"row_mm": float("nan")},
        {"cutoff_per_cm": 0.0},
        {"order": -1.0, "cutoff_per_cm": 0.4},
    ],
)
def test_numbers_that_make_no_filter(bad):
    system = Interpolating(_turn(4, 180.0), VOXEL_MM, SIZE)
    with pytest.raises(BadArgument, match="positive"):
        fbp(system, torch.ones(system.range_shape), **{"angles_deg": system.angles_deg, "bin_mm": VOXEL_MM, **bad})


def test_another_number_of_angles():
    system = Interpolating(_turn(4, 180.0), VOXEL_MM, SIZE)
    with pytest.raises(ShapeMismatch, match="3 angles"):
        fbp(system, torch.ones(system.range_shape), angles_deg=system.angles_deg[:3], bin_mm=VOXEL_MM)


def test_counts_that_are_none():
    system = Interpolating(_turn(4, 180.0), VOXEL_MM, SIZE)
    counts = torch.full(system.range_shape, float("nan"))
    with pytest.raises(BadValues, match="counts"):
        fbp(system, counts, angles_deg=system.angles_deg, bin_mm=VOXEL_MM)
