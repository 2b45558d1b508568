"""Saliency finds what a correction looked at, and nothing where it looked at nothing."""

import numpy as np
import pytest
import torch

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import HeartFrame
from photopeak.core import COUNTS, Grid, Volume
from photopeak.core.errors import BadArgument, ShapeMismatch
from photopeak.evaluate.saliency import elasticity, saliency_figure

GRID = Grid.regular((24, 24, 24), 10.0)
POINTS = GRID.points()
LIVER = np.linalg.norm(POINTS - np.array([-72.0, 0, -36]), axis=-1) < 25
WALL = torch.from_numpy(np.linalg.norm(POINTS, axis=-1) < 30)
NAC = Volume.from_numpy(10.0 + 40 * LIVER, GRID, COUNTS)


def fixed(nac: Volume) -> Volume:
    return nac.with_data(nac.data * torch.linspace(2, 4, 24))


def by_the_liver(nac: Volume) -> Volume:
    return nac.with_data(nac.data * (1 + nac.data[torch.from_numpy(LIVER)].mean() / 50))


def test_a_fixed_factor_depends_on_nothing() -> None:
    assert float(elasticity(fixed, NAC, WALL, reach_mm=80.0).data.max()) < 1e-4


def test_what_the_correction_looks_at_is_found() -> None:
    found = elasticity(by_the_liver, NAC, WALL, reach_mm=90.0)
    peak = POINTS[np.unravel_index(int(found.data.argmax()), GRID.shape)]
    assert np.linalg.norm(peak - [-72, 0, -36]) < 20
    expected = 0.5 * 0.42
    assert float(found.data.max()) == pytest.approx(expected, rel=0.15), "half of the factor, 42 % in the block"
    far = np.linalg.norm(POINTS - np.array([72, 36, 36]), axis=-1) < 20
    assert float(found.data[torch.from_numpy(far)].max()) < 0.01


def test_the_figure_is_a_png() -> None:
    heart = FoundHeart(HeartFrame.from_angles((0, 0, 0), azimuth_deg=48, elevation_deg=24), 33.0, 84.0, 0.83)
    assert saliency_figure(NAC, elasticity(by_the_liver, NAC, WALL, reach_mm=80.0), heart).startswith(b"\x89PNG")


def test_bad_input_is_named() -> None:
    with pytest.raises(ShapeMismatch, match="wall"):
        elasticity(fixed, NAC, WALL[:5])
    with pytest.raises(BadArgument, match="0 voxels"):
        elasticity(fixed, NAC, WALL & False)
    with pytest.raises(BadArgument, match="dimming"):
        elasticity(fixed, NAC, WALL, dimming=1.5)
