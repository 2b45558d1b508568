from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from photopeak.core import COUNTS, Grid, Projections, Study, Volume, attenuation
from photopeak.core.random import stream
from photopeak.methods.padm import PADM, PADMTeacher
from photopeak.physics.pinhole import Pinhole
from photopeak.simulate.dose import poisson, thinned

SMALL: dict[str, Any] = {
    "feed": {"size": 24, "depth": 14, "neighbours": 1},
    "channels": (8, 16, 24),
    "paths": 4,
    "bridge_steps": 50,
}


def shaken(method: Any) -> Any:
    """A method whose weights are off their zeros, so that its answers depend on everything they read."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in method.players.parameters():
            weight += 0.03 * torch.randn(weight.shape, generator=generator)
    return method


@pytest.fixture
def student() -> PADM:
    torch.manual_seed(1)
    return shaken(PADM(**SMALL))


@pytest.fixture
def teacher() -> PADMTeacher:
    torch.manual_seed(2)
    return shaken(PADMTeacher(**SMALL))


@pytest.fixture(scope="session")
def hot_ball() -> Callable[..., Study]:
    """Makes a patient by number and count fraction: a hot ball in water before 3 modules; "ac" is the truth of all."""
    grid, points = Grid.regular((8, 16, 16), 12.0), Grid.regular((8, 16, 16), 12.0).points()
    camera = replace(Pinhole.named("dnm_530c").few(3), shape=(12, 12), pixel_mm=6.56)
    body = np.hypot(points[..., 0], points[..., 1]) < 80
    mu = Volume.from_numpy(0.15 * body, grid, attenuation(140.5))

    def make(number: int = 0, fraction: float = 1.0) -> Study:
        hot = np.linalg.norm(points - np.random.default_rng(number).uniform(-14, 14, 3), axis=-1) < 30
        image = torch.from_numpy(0.2 * body + 1.0 * hot).float()
        expected = camera.system(grid, mu)(image)
        scale = 1e6 / float(expected.sum())
        raw = thinned(poisson(Projections(scale * expected, camera), stream(0, number)), fraction, stream(1, number))
        study = Study(f"ball_{number}", {"mu": mu, "ac": Volume(scale * image, grid, COUNTS)}, {"raw": raw})
        return study.with_facts(dose={"fraction": fraction, "full_views": 3})

    return make
