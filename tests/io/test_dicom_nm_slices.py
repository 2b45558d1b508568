"""Heart slices are read in display order, whichever way they are stored."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

from photopeak.cardiac.orientation import ORIENTATIONS, HeartFrame
from photopeak.core import COUNTS, Volume
from photopeak.io.dicom_nm import read_nm
from photopeak.io.dicom_nm_slices import image_grid, orientation_of, set_orientation
from photopeak.io.dicom_nm_write import write_nm, write_nm_derived

AGAINST = {"sa": "BASE_TO_APEX", "hla": "ANT_TO_INF", "vla": "WALL_TO_SEPTUM"}
OBLIQUE = HeartFrame.from_angles((30, -40, 5), azimuth_deg=48, elevation_deg=22)
STRAIGHT = HeartFrame.from_angles((0, 0, 0), azimuth_deg=0, elevation_deg=0)


def heart_slices(out: Path, frame: HeartFrame, side, word: str | None = None) -> tuple[Path, Volume]:
    """An NM file of random heart slices, and what was written; stored backward under another `word`."""
    grid = frame.grid((5, 6, 7), 4.0, side)
    values = torch.rand(5, 6, 7, generator=torch.Generator().manual_seed(1)) * 100
    volume = Volume(values, grid, COUNTS)
    matrix = grid.matrix
    if word is not None:
        matrix[:3, 3] = grid.world([4, 0, 0])
        matrix[:3, 0] *= -1
        values = values.flip(0)
    stored = Volume(values, type(grid)(grid.shape, tuple(map(tuple, matrix))), COUNTS)
    dataset = pydicom.dcmread(write_nm(stored, out, patient="1", series_description="IRNC"))
    set_orientation(dataset, side)
    if word is not None:
        dataset.SliceProgressionDirection = word
    dataset.save_as(out)
    return out, volume


@pytest.mark.parametrize("frame", [OBLIQUE, STRAIGHT])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("side", ORIENTATIONS)
def test_slices_come_in_display_order_on_their_own_grid(tmp_path: Path, frame, backward, side):
    path, written = heart_slices(tmp_path / "slices.dcm", frame, side, AGAINST[side] if backward else None)
    read = read_nm(path)
    assert read.facts["orientation"] == side
    assert read["nac"].grid.same_as(written.grid, 1e-4)
    assert torch.allclose(read["nac"].data, written.data, atol=100 / 65535)


def test_a_series_derived_from_slices_overlays_them(tmp_path: Path):
    path, written = heart_slices(tmp_path / "slices.dcm", OBLIQUE, "sa", "BASE_TO_APEX")
    image = read_nm(path)["nac"]
    words = {"series_description": "AI-AC RESEARCH", "derivation": "test", "contributing": {"method": "test"}}
    derived = write_nm_derived(image.with_data(2 * image.data), path, tmp_path / "derived.dcm", **words)
    again = read_nm(derived)
    assert again.facts["orientation"] == "sa"
    assert again["ac"].grid.same_as(written.grid, 1e-4)
    assert torch.allclose(again["ac"].data, 2 * written.data, atol=400 / 65535)


def test_transaxial_and_unknown_words_say_nothing_of_the_heart(tmp_path: Path):
    path, _ = heart_slices(tmp_path / "slices.dcm", STRAIGHT, "hla")
    dataset = pydicom.dcmread(path)
    dataset.SliceProgressionDirection = "SIDEWAYS"
    assert orientation_of(dataset) is None
    stored = STRAIGHT.grid((5, 6, 7), 4.0, "hla")
    assert image_grid(dataset, stored).is_axial
    set_orientation(dataset, None)
    assert dataset.DetectorInformationSequence[0].ViewCodeSequence[0].CodeMeaning == "Transverse"
    np.testing.assert_allclose(image_grid(dataset, stored).centre_mm, stored.centre_mm)
