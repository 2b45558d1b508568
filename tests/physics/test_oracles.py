"""Closed forms that every engine of the parallel-hole camera has to meet: exponentials and circles, no other code."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photopeak.core import Grid, Volume, attenuation
from photopeak.physics.attenuation import correction_factor
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.response import FWHM_PER_SIGMA, GE_LEHR

WATER_PER_CM = 0.154
ENGINES = ("gemm", "compiled")
RADIUS_MM = 100.0
THIN = Grid.regular((3, 60, 60), 4.0)
every_engine = pytest.mark.parametrize("engine", ENGINES)


@dataclass(frozen=True)
class Cylinder:
    """Water of radius 100 mm about the rotation axis."""

    grid: Grid = THIN

    @property
    def shares(self) -> torch.Tensor:
        """[z, y, x] share of each voxel inside."""
        _, n, _ = self.grid.shape
        fine = ((torch.arange(n * 8, dtype=torch.float64) + 0.5) / 8 - n / 2) * self.grid.spacing_mm[1]
        inside = (torch.hypot(fine[:, None], fine[None, :]) <= RADIUS_MM).double()
        return inside.reshape(n, 8, n, 8).mean((1, 3)).expand(self.grid.shape).clone()

    def seen(self, image: torch.Tensor, angle_deg: float, engine: str, *, response: bool = False) -> torch.Tensor:
        """Counts [row, column] of one view through the water."""
        rows, _, columns = self.grid.shape
        collimator = GE_LEHR if response else None
        camera = ParallelHole((angle_deg,), (180.0,), (rows, columns), self.grid.spacing_mm[0], collimator)
        mu = Volume(self.shares * WATER_PER_CM, self.grid, attenuation(140.5))
        return camera.system(self.grid, mu, engine=engine)(image)[0]


def _to_the_border_cm(x_mm: float, y_mm: float, angle_deg: float) -> float:
    """Water between a point and the detector; the detector stands toward (sin phi, -cos phi)."""
    phi = np.radians(angle_deg)
    toward = x_mm * np.sin(phi) - y_mm * np.cos(phi)
    across = x_mm * np.cos(phi) + y_mm * np.sin(phi)
    return float(np.sqrt(RADIUS_MM**2 - across**2) - toward) / 10


@every_engine
@given(index=st.tuples(st.integers(16, 43), st.integers(16, 43)), angle=st.floats(-180, 180))
@settings(max_examples=15, deadline=None)
def test_a_point_in_water_is_weakened_by_the_water_before_it(engine, index, angle):
    water = Cylinder()
    image = torch.zeros(water.grid.shape, dtype=torch.float64)
    image[1, index[0], index[1]] = 1
    x, y, _ = water.grid.world((1, *index))
    expected = np.exp(-WATER_PER_CM * _to_the_border_cm(x, y, angle))
    plain = float(_unattenuated(water, image, angle, engine).sum())
    assert float(water.seen(image, angle, engine).sum()) == pytest.approx(plain * expected, rel=0.02)


def _unattenuated(water: Cylinder, image: torch.Tensor, angle_deg: float, engine: str) -> torch.Tensor:
    rows, _, columns = water.grid.shape
    camera = ParallelHole((angle_deg,), (180.0,), (rows, columns), water.grid.spacing_mm[0], None)
    return camera.system(water.grid, engine=engine)(image)[0]


@every_engine
@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, 270.0])
def test_a_line_along_z_has_the_response_of_its_depth(engine, angle):
    """Weakened by the water before it, in place, and as wide as the collimator says and a pixel of 1/12 adds."""
    water = Cylinder(Grid.regular((41, 60, 60), 4.0))
    image = torch.zeros(water.grid.shape, dtype=torch.float64)
    image[:, 20, 38] = 1
    x, y, _ = water.grid.world((0, 20, 38))
    row = water.seen(image, angle, engine, response=True)[20]

    phi = np.radians(angle)
    offset = 4.0 * (torch.arange(60, dtype=torch.float64) - 29.5)
    centre = float((row * offset).sum() / row.sum())
    fwhm = GE_LEHR.fwhm_mm(torch.tensor(180 - (x * np.sin(phi) - y * np.cos(phi)), dtype=torch.float64))
    spread = float((row * (offset - centre) ** 2).sum() / row.sum())
    assert float(row.sum()) == pytest.approx(np.exp(-WATER_PER_CM * _to_the_border_cm(x, y, angle)), rel=0.01)
    assert centre == pytest.approx(x * np.cos(phi) + y * np.sin(phi), abs=0.05)
    assert spread == pytest.approx(float(fwhm / FWHM_PER_SIGMA) ** 2 + 4.0**2 / 12, rel=0.01)


@every_engine
@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, 270.0])
def test_a_line_along_depth_gives_the_integral_of_its_survival(engine, angle):
    """``(1 - exp(-mu L)) / mu`` for a line from border to border through the axis."""
    water = Cylinder(Grid.regular((3, 61, 61), 4.0))
    image = torch.zeros(water.grid.shape, dtype=torch.float64)
    middle = water.shares[1, 30]
    if angle in (0.0, 180.0):
        image[1, :, 30] = middle
    else:
        image[1, 30, :] = middle
    expected = (1 - np.exp(-WATER_PER_CM * 2 * RADIUS_MM / 10)) / WATER_PER_CM / 0.4
    assert float(water.seen(image, angle, engine).sum()) == pytest.approx(expected, rel=0.005)


@every_engine
@pytest.mark.parametrize("angle", [0.0, 37.0])
def test_response_takes_no_counts_from_an_attenuated_disc(engine, angle):
    """All columns together: the integral over chords c of ``(1 - exp(-mu c)) / mu``, whatever the response."""
    water = Cylinder(Grid.regular((61, 60, 60), 4.0))
    across = np.linspace(-RADIUS_MM, RADIUS_MM, 20001)
    chords_cm = 2 * np.sqrt(RADIUS_MM**2 - across**2) / 10
    expected = np.trapezoid((1 - np.exp(-WATER_PER_CM * chords_cm)) / WATER_PER_CM, across / 10) / 0.4**2
    assert float(water.seen(water.shares, angle, engine, response=True)[30].sum()) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("radius_mm", [150.0, 100.0])
def test_chang_at_the_centre_of_a_disc_is_the_exponential_of_its_radius(radius_mm):
    n, voxel_mm = 81, 4.0
    fine = ((torch.arange(n * 8, dtype=torch.float64) + 0.5) / 8 - n / 2) * voxel_mm
    inside = (torch.hypot(fine[:, None], fine[None, :]) <= radius_mm).double()
    mu = WATER_PER_CM * inside.reshape(n, 8, n, 8).mean((1, 3))[None]
    centre = float(correction_factor(mu, voxel_mm)[0, n // 2, n // 2])
    assert centre == pytest.approx(np.exp(WATER_PER_CM * radius_mm / 10), rel=0.01)
