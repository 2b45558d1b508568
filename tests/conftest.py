"""What all tests share: one thread, no deadlines on slow machines, and the DICOM validator."""

import os
import shutil
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from photopeak.cli.simulate import simulate
from photopeak.core import Study

torch.set_num_threads(1)
settings.register_profile("photopeak", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("photopeak")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Pinhole matrices of tests stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHOTOPEAK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def dciodvfy() -> str:
    """Path of the DICOM validator of dicom3tools; without it a test skips, and fails where CI=true."""
    path = shutil.which("dciodvfy")
    if path is None:
        reason = "dciodvfy is not installed (apt-get install dicom3tools)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def patient() -> Study:
    """One simulated patient without defects, with projections, NAC, AC and truth, 40x64x64 at 6.4 mm."""
    return simulate("fixture", seed=22)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(17)
