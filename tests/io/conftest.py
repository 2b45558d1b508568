"""Small DICOM objects to read, break and compare."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
import torch

from photopeak.core import COUNTS, Grid, Volume
from photopeak.io.dicom_nm_write import write_nm

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "nm_cardiac"


@pytest.fixture
def image() -> Volume:
    """Random counts on a small axial grid."""
    generator = torch.Generator().manual_seed(3)
    return Volume(torch.rand(4, 5, 6, generator=generator) * 900, Grid.regular((4, 5, 6), (4.0, 3.0, 2.0)), COUNTS)


@pytest.fixture
def nm_file(tmp_path: Path, image: Volume) -> Callable[..., Path]:
    """Writes the image as NM, edits the object with a function, and gives the path."""

    def make(edit: Callable[[pydicom.Dataset], Any] | None = None, **arguments: Any) -> Path:
        path = write_nm(image, tmp_path / "nm.dcm", patient="0007", **arguments)
        if edit is not None:
            dataset = pydicom.dcmread(path)
            edit(dataset)
            dataset.save_as(path)
        return path

    return make


@pytest.fixture(params=["mps_0", "mps_1", "mps_2", "mps_with_mask"])
def real_nm(request: pytest.FixtureRequest) -> Path:
    """Each of the four real cardiac series."""
    path = REAL / f"{request.param}.dcm"
    if not path.exists():
        pytest.skip("the real NM series are not beside the repository")
    return path
