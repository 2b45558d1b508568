"""The CT to estimate a PET from: what is read, what decides the tube voltage, and every refusal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from photopeak.core import HU, Grid, Volume
from photopeak.core.errors import (
    BadArgument,
    BadValues,
    GridMismatch,
    MissingGeometry,
    MissingInput,
    PhotopeakError,
    UnreadableFile,
    WrongModality,
)
from photopeak.io import ct_source
from photopeak.io.ct_source import in_voxels, read_ct_source
from photopeak.io.nifti import write_nifti

Make = Callable[..., Path]
GRID = Grid.regular((30, 40, 50), (3.0, 2.0, 2.0), centre_mm=(7.0, -5.0, 30.0))


@pytest.fixture
def hounsfield() -> np.ndarray:
    return np.random.default_rng(2).integers(-1000, 900, (12, 9, 8)).astype(float)


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    random = np.random.default_rng(4).uniform(-1000, 900, GRID.shape)
    return write_nifti(Volume.from_numpy(random, GRID, HU), tmp_path / "ct.nii.gz")


def each(**tags: Any) -> Callable[[list[Dataset]], Any]:
    return lambda slices: [setattr(s, k, v) for s in slices for k, v in tags.items()]


def test_a_series_tells_its_voltage(ct_series: Make, hounsfield: np.ndarray) -> None:
    folder = ct_series(hounsfield, each(KVP="100"))
    study = read_ct_source(folder)
    assert study.facts["kvp"] == 100
    np.testing.assert_array_equal(study["ct"].numpy(), hounsfield)
    assert read_ct_source(folder, kvp=100.0).facts["kvp"] == 100


def test_the_flag_decides_where_the_header_is_silent(ct_series: Make, hounsfield: np.ndarray, nifti: Path) -> None:
    silent = ct_series(hounsfield, lambda slices: [s.pop("KVP") for s in slices])
    for source in (silent, nifti):
        assert read_ct_source(source, kvp=80).facts["kvp"] == 80
        with pytest.raises(MissingInput, match="--kvp"):
            read_ct_source(source)
    assert read_ct_source(nifti, kvp=80)["ct"].grid.same_as(GRID)


@pytest.mark.parametrize("kvp", [12, 511, 140])
def test_a_voltage_that_cannot_be_is_refused(ct_series: Make, hounsfield: np.ndarray, kvp: float) -> None:
    with pytest.raises(BadArgument, match=f"--kvp {kvp}"):
        read_ct_source(ct_series(hounsfield), kvp=kvp)


def _of_two(keyword: str, value: str) -> Callable[[list[Dataset]], Any]:
    return lambda slices: setattr(slices[5], keyword, value)


@pytest.mark.parametrize(
    ("edit", "error", "told"),
    [
        (each(Modality="MR"), WrongModality, r"\(0008,0060\) MR"),
        (each(Modality="PT"), WrongModality, r"\(0008,0060\) PT"),
        (lambda slices: slices.pop(4), MissingGeometry, "missing"),
        (lambda slices: [slices.pop(4) for _ in range(3)], MissingGeometry, "missing"),
        (_of_two("ConvolutionKernel", "BONE"), MissingGeometry, r"\(0018,1210\)"),
        (_of_two("KVP", "140"), MissingGeometry, r"\(0018,0060\)"),
        (_of_two("SeriesInstanceUID", "1.99"), MissingGeometry, r"\(0020,000E\)"),
        (_of_two("ImagePositionPatient", [0, 0, -29.5]), MissingGeometry, "mm"),
    ],
)
def test_what_is_no_whole_ct_is_refused(
    ct_series: Make, hounsfield: np.ndarray, edit: Any, error: type[PhotopeakError], told: str
) -> None:
    with pytest.raises(error, match=told):
        read_ct_source(ct_series(hounsfield, edit))


def test_mr_as_nifti_is_refused(nifti: Path, tmp_path: Path) -> None:
    mr = np.random.default_rng(4).uniform(0, 900, GRID.shape)
    with pytest.raises(BadValues, match="MR"):
        read_ct_source(write_nifti(Volume.from_numpy(mr, GRID, HU), tmp_path / "mr.nii"), kvp=120)


def test_a_single_file_or_none_is_refused(ct_series: Make, hounsfield: np.ndarray, tmp_path: Path) -> None:
    folder = ct_series(hounsfield)
    with pytest.raises(WrongModality, match=r"one file \(CT\)"):
        read_ct_source(next(folder.iterdir()))
    with pytest.raises(UnreadableFile, match="does not exist"):
        read_ct_source(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableFile, match="0 DICOM files"):
        read_ct_source(tmp_path / "empty")


def test_more_voxels_than_memory_are_refused_unread(
    ct_series: Make, hounsfield: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ct_series(hounsfield)
    monkeypatch.setattr(ct_source, "MAX_VOXELS", hounsfield.size - 1)
    monkeypatch.setattr(ct_source, "read_ct", lambda _: pytest.fail("it was read"))
    with pytest.raises(UnreadableFile, match="12 files of 9 x 8"):
        read_ct_source(folder)


def test_voxels_hold_means_and_lie_within_the_ct() -> None:
    """A ramp keeps its value in every place, to a quarter of a millimetre; whole multiples of a voxel keep the mean."""
    places = GRID.points()
    ramp = Volume.from_numpy(2 * places[..., 0] - places[..., 1] + 3 * places[..., 2], GRID, HU)
    coarse = in_voxels(ramp, (5.0, 4.0, 4.0))
    assert coarse.grid.shape == (18, 20, 25)
    np.testing.assert_allclose(coarse.grid.centre_mm, GRID.centre_mm)
    at = coarse.grid.points()
    np.testing.assert_allclose(coarse.numpy(), 2 * at[..., 0] - at[..., 1] + 3 * at[..., 2], atol=3 * 0.25)
    noise = Volume.from_numpy(np.random.default_rng(0).normal(0, 100, GRID.shape), GRID, HU)
    assert float(in_voxels(noise, (6.0, 4.0, 4.0)).data.mean()) == pytest.approx(float(noise.data.mean()), abs=1e-3)


def test_padding_counts_as_air() -> None:
    ct = np.full(GRID.shape, 40.0)
    ct[:, :10] = -3024
    coarse = in_voxels(Volume.from_numpy(ct, GRID, HU), (3.0, 4.0, 4.0)).numpy()
    assert coarse[:, 0].min() == coarse[:, 0].max() == -1000
    assert coarse[:, -1].min() == 40


def test_a_few_slices_are_not_enough() -> None:
    thin = Grid.regular((12, 40, 50), (3.0, 2.0, 2.0))
    with pytest.raises(GridMismatch, match="8 voxels or more"):
        in_voxels(Volume.from_numpy(np.random.default_rng(0).normal(0, 9, thin.shape), thin, HU), (5.0, 4.0, 4.0))
