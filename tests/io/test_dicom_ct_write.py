"""CT series as written: whole HU, in place, and only such as 16 bits hold."""

from pathlib import Path

import pytest
import torch

from photopeak.core import COUNTS, HU, Grid, Volume
from photopeak.core.errors import BadArgument, BadValues, WrongQuantity
from photopeak.io.dicom_ct import read_ct
from photopeak.io.dicom_ct_write import write_ct
from photopeak.io.dicom_scan import SimulatedScan

SCAN = SimulatedScan("0007", "rest", "ab" * 32, {"sex": "F"})
WORDS = {"description": "REST CT AC", "kvp": 120, "series_number": 40, "origin": "test"}


def ramp(low: float, high: float, grid: Grid) -> Volume:
    return Volume(torch.linspace(low, high, 60).reshape(grid.shape), grid, HU)


@pytest.mark.parametrize("spacing", [(5.0, 0.9765625, 0.9765625), 1 / 3])
def test_hu_and_place_come_back(tmp_path: Path, spacing):
    ct = ramp(-1024, 3071, Grid.regular((3, 4, 5), spacing, centre_mm=(1.5, -200.123456, 1234.5678)))
    files = write_ct(ct, tmp_path / "ct", SCAN, **WORDS)
    assert [f.name for f in files] == ["0001.dcm", "0002.dcm", "0003.dcm"]
    read = read_ct(tmp_path / "ct")
    assert torch.equal(read["ct"].data, ct.data.round())
    assert read["ct"].grid.same_as(ct.grid, 1e-4)
    assert read.facts["kvp"] == 120
    assert read.facts["sex"] == "F"


def test_unfit_volumes_leave_nothing(tmp_path: Path):
    grid = Grid.regular((3, 4, 5), 2.0)
    sheared = grid.matrix
    sheared[0, 1] += 0.5
    for volume, error in (
        (ramp(-2000, 100, grid), BadValues),
        (ramp(-1000, 70000, grid), BadValues),
        (Volume(ramp(0, 1, grid).data, grid, COUNTS), WrongQuantity),
        (ramp(-1000, 100, Grid(grid.shape, tuple(map(tuple, sheared)))), BadArgument),
    ):
        with pytest.raises(error):
            write_ct(volume, tmp_path / "ct", SCAN, **WORDS)
    assert list(tmp_path.iterdir()) == []
