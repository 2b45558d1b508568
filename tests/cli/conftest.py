import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from photopeak.core import Study
from photopeak.io import save
from photopeak.methods.padm import PADM

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run() -> Run:
    """The command line in a process of its own, as a user runs it."""

    def photopeak(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "photopeak", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return photopeak


@pytest.fixture(scope="session")
def saved(patient: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixture patient as a saved study."""
    return save(patient, tmp_path_factory.mktemp("saved") / "study")


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained student with a card, for tests of everything around the network."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "padm.safetensors"
    domain = {"camera_models": ["SIMULATED"], "voxel_mm": 6.4, "isotope": "Tc-99m", "description": "a test"}
    PADM({"size": 40, "depth": 26, "neighbours": 0}, channels=(8, 8, 24), paths=2, bridge_steps=20).save(
        path, card={"domain": domain, "training": {"studies": 0, "seconds": 0}}
    )
    return path
