"""NIfTI: RAS outside, LPS inside, and nothing about the patient."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from photopeak.core import COUNTS, FACTOR, Grid, Volume
from photopeak.core.errors import BadArgument, MissingGeometry, UnreadableFile
from photopeak.io.axes import rearrange
from photopeak.io.dicom_nm import read_nm
from photopeak.io.nifti import read_nifti, write_nifti

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "nm_cardiac"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turn=st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(*[st.floats(-180, 180)] * 3)),
    spacing=st.tuples(*[st.floats(1.5, 9.0)] * 3),
    origin=st.tuples(*[st.floats(-600, 600)] * 3),
    mirrored=st.booleans(),
)
def test_round_trip(
    tmp_path: Path,
    turn: tuple[float, float, float],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    mirrored: bool,
) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("zyx", turn, degrees=True).as_matrix()[:, ::-1] * spacing
    matrix[:3, 1] *= -1 if mirrored else 1
    matrix[:3, 3] = origin
    grid = Grid((2, 3, 4), tuple(map(tuple, matrix)))
    volume = Volume(torch.arange(24.0).reshape(2, 3, 4), grid, COUNTS)
    back = read_nifti(write_nifti(volume, tmp_path / "a.nii.gz"), COUNTS)
    np.testing.assert_array_equal(rearrange(back.numpy(), back.grid, grid), volume.numpy())
    corners = [back.grid.points().reshape(-1, 3), grid.points().reshape(-1, 3)]
    one, two = (c[np.lexsort(np.round(c, 2).T)] for c in corners)
    assert np.abs(one - two).max() < 1e-4


def test_header_of_the_file(tmp_path: Path, image: Volume) -> None:
    header = nibabel.load(write_nifti(image, tmp_path / "a.nii.gz")).header
    assert header["descrip"].item() == b"photopeak research use only"
    assert header.get_data_dtype() == np.float32
    assert header.get_xyzt_units()[0] == "mm"
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]
    world = nibabel.affines.apply_affine(nibabel.load(tmp_path / "a.nii.gz").affine, [5, 0, 0])
    np.testing.assert_allclose(world, image.grid.world([0, 0, 5]) * [-1, -1, 1], atol=1e-4)


def test_published_mask_lies_on_its_image() -> None:
    if not REAL.exists():
        pytest.skip("the real NM series are not beside the repository")
    mask = read_nifti(REAL / "mps_with_mask_lv.nii.gz", FACTOR)
    image = read_nm(REAL / "mps_with_mask.dcm")["image"]
    assert mask.grid.same_as(image.grid)
    assert float(image.data[mask.data > 0].mean()) == pytest.approx(11583, abs=1)


def test_refusals(tmp_path: Path, image: Volume) -> None:
    whole = write_nifti(image, tmp_path / "a.nii.gz")
    data = gzip.decompress(whole.read_bytes())
    bad = {
        "cut.nii.gz": whole.read_bytes()[:-40],
        "rubbish.nii.gz": b"rubbish" * 100,
        "cut.nii": data[:-40],
        "empty.nii": b"",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableFile, match=name):
            read_nifti(tmp_path / name, COUNTS)
    with pytest.raises(UnreadableFile, match="absent"):
        read_nifti(tmp_path / "absent.nii", COUNTS)
    with pytest.raises(BadArgument, match=r"\.nii"):
        write_nifti(image, tmp_path / "a.img")


def test_four_axes_and_no_affine_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4, 5), np.float32), np.eye(4)), tmp_path / "four.nii")
    with pytest.raises(UnreadableFile, match="three axes"):
        read_nifti(tmp_path / "four.nii", COUNTS)
    lost = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.float32), None)
    nibabel.save(lost, tmp_path / "lost.nii")
    with pytest.raises(MissingGeometry, match="qform_code"):
        read_nifti(tmp_path / "lost.nii", COUNTS)
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 3, 4, 1), np.float32), np.eye(4)), tmp_path / "one.nii")
    assert read_nifti(tmp_path / "one.nii", COUNTS).grid.shape == (4, 3, 2)
