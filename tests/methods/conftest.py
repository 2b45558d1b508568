from typing import Any

import pytest
import torch

from photopeak.methods.padm import PADM, PADMTeacher

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
