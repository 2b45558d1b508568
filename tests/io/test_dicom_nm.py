"""Reading NM: geometry, names, facts, and every refusal by its tag."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless
from scipy.spatial.transform import Rotation

from photopeak.core import BQML, COUNTS, Grid, Volume
from photopeak.core.errors import (
    BadArgument,
    BadValues,
    MissingGeometry,
    PhotopeakError,
    UnreadableFile,
    WrongModality,
)
from photopeak.io.axes import rearrange
from photopeak.io.dicom_nm import read_nm
from photopeak.io.dicom_nm_write import write_nm

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
MakeNM = Callable[..., Path]

turns = st.one_of(st.just((0.0, 0.0, 0.0)), st.just((90.0, 0.0, 180.0)), st.tuples(*[st.floats(-180, 180)] * 3))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turn=turns,
    spacing=st.tuples(*[st.floats(1.5, 9.0)] * 3),
    origin=st.tuples(*[st.floats(-600, 600)] * 3),
    backwards=st.booleans(),
    shape=st.tuples(*[st.integers(2, 4)] * 3),
)
def test_every_voxel_keeps_its_place_and_value(
    tmp_path: Path,
    turn: tuple[float, float, float],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    backwards: bool,
    shape: tuple[int, int, int],
) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("zyx", turn, degrees=True).as_matrix()[:, ::-1] * spacing
    matrix[:3, 0] *= -1 if backwards else 1
    matrix[:3, 3] = origin
    grid = Grid(shape, tuple(map(tuple, matrix)))
    counts = torch.arange(grid.points().size // 3, dtype=torch.float32).reshape(shape)
    path = write_nm(Volume(counts, grid, COUNTS), tmp_path / "nm.dcm", patient="1")
    assert (pydicom.dcmread(path).SpacingBetweenSlices < 0) == backwards
    back = read_nm(path)["nac"]
    np.testing.assert_array_equal(rearrange(back.numpy(), back.grid, grid), counts.numpy())


def test_real_series_align_with_their_mask() -> None:
    folder = DATA / "nm_cardiac"
    if not folder.exists():
        pytest.skip("the real NM series are not beside the repository")
    image = read_nm(folder / "mps_with_mask.dcm")["image"]
    mask = nibabel.load(folder / "mps_with_mask_lv.nii.gz")
    inside = mask.get_fdata().transpose(2, 1, 0)[::-1] > 0
    values = image.numpy()
    assert image.grid.is_axial
    assert values[inside].mean() == pytest.approx(11583, abs=1)
    assert values[~inside].mean() == pytest.approx(1278, abs=1)
    voxel = np.array([20, 30, 40])
    in_mask = nibabel.affines.apply_affine(np.linalg.inv(mask.affine), image.grid.world(voxel) * [-1, -1, 1])
    np.testing.assert_allclose(in_mask, [40, 30, 49 - 20], atol=1e-4)


def test_real_facts(real_nm: Path) -> None:
    study = read_nm(real_nm, as_="nac")
    assert study["nac"].grid.shape == (50, 70, 70)
    assert study["nac"].grid.spacing_mm == pytest.approx((4, 4, 4))
    assert study.facts["camera_model"] == "UFC"
    assert study.facts["collimator"] == "MPH_27_45"
    assert study.facts["window_kev"] == [126.45, 154.55]
    assert study.facts["patient_position"] in ("FFS", "FFP")
    assert study.facts["named_by"] == "the caller"


def test_phantom_and_flood() -> None:
    folder = DATA / "nm_phantom"
    if not folder.exists():
        pytest.skip("the phantom is not beside the repository")
    assert read_nm(folder / "Jaszack.dcm")["image"].grid.shape == (45, 128, 128)
    with pytest.raises(WrongModality, match=r"\(0008,0008\).*STATIC"):
        read_nm(folder / "UNIFORMIDAD_1.dcm")


def test_slice_vector_orders_frames(nm_file: MakeNM, image: Volume) -> None:
    def shuffle(dataset: pydicom.Dataset) -> None:
        order = [2, 0, 3, 1]
        dataset.SliceVector = [n + 1 for n in order]
        dataset.PixelData = dataset.pixel_array[order].tobytes()

    assert torch.allclose(read_nm(nm_file(shuffle))["nac"].data, image.data, atol=0.01)


def test_geometry_at_top_level(nm_file: MakeNM, image: Volume) -> None:
    def move(dataset: pydicom.Dataset) -> None:
        for detector in dataset.DetectorInformationSequence:
            for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
                dataset[keyword] = detector[keyword]
                del detector[keyword]

    assert read_nm(nm_file(move))["nac"].grid.same_as(image.grid)


def test_signed_and_rescaled(nm_file: MakeNM) -> None:
    def rescale(dataset: pydicom.Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "3"
        dataset.PixelRepresentation = 1
        dataset.PixelData = (np.arange(120) - 20).astype("<i2").tobytes()

    data = read_nm(nm_file(rescale))["nac"].data
    assert torch.equal(data.flatten(), torch.arange(-20, 100) * 0.5 + 3)


def test_activity_unit_comes_back(image: Volume, tmp_path: Path) -> None:
    path = write_nm(image.with_data(image.data, BQML), tmp_path / "nm.dcm", patient="1")
    assert read_nm(path)["nac"].quantity == BQML


@pytest.mark.parametrize(
    ("corrected", "description", "name"),
    [
        (["UNIF", "ATTN"], "Series 2", "ac"),
        ("ATTN", "REST NAC", "ac"),
        (["UNIF", "COR"], "Stress_IRAC_SA", "ac"),
        (None, "Rest [AC]", "ac"),
        (None, "STRESS IRNC", "nac"),
        ("", "stress nac", "nac"),
        (None, "TRANSAXIAL", "image"),
        (None, "ACQ 1 BACK SYNC", "image"),
        (None, "NO AC", "image"),
        (None, "AC and NAC", "image"),
        (["UNIF"], "", "image"),
    ],
)
def test_name_from_the_header(nm_file: MakeNM, corrected: Any, description: str, name: str) -> None:
    def edit(dataset: pydicom.Dataset) -> None:
        dataset.SeriesDescription = description
        if corrected is not None:
            dataset.CorrectedImage = corrected

    path = nm_file(edit)
    assert list(read_nm(path)) == [name]
    if name == "ac":
        with pytest.raises(BadArgument, match=r"\((0028,0051|0008,103E)\)"):
            read_nm(path, as_="nac")
    else:
        assert list(read_nm(path, as_="nac")) == ["nac"]


def test_no_identifier_in_the_study(nm_file: MakeNM) -> None:
    def name(dataset: pydicom.Dataset) -> None:
        dataset.PatientName, dataset.PatientID = "SENTINEL^ANNA", "SENTINEL-1"
        dataset.PatientBirthDate, dataset.SeriesDescription = "19010203", "SENTINEL NAC"
        dataset.InstitutionName = dataset.ReferringPhysicianName = "SENTINEL"

    path = nm_file(name)
    study = read_nm(path)
    uids = [str(e.value) for e in pydicom.dcmread(path) if e.VR == "UI" and e.keyword != "SOPClassUID"]
    for text in (str(study), study.name, repr(dict(study.facts)), repr(study.history)):
        assert "SENTINEL" not in text
        assert "19010203" not in text
        assert not [uid for uid in uids if uid in text]


def _set(keyword: str, value: Any) -> Callable[[pydicom.Dataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


def _in_detector(keyword: str, value: Any) -> Callable[[pydicom.Dataset], None]:
    return lambda dataset: setattr(dataset.DetectorInformationSequence[0], keyword, value)


def _image_type(third: str) -> Callable[[pydicom.Dataset], None]:
    return _set("ImageType", ["ORIGINAL", "PRIMARY", third, "EMISSION"])


BAD = [
    *[(_set("Modality", m), WrongModality, rf"\(0008,0060\) {m}") for m in ("CT", "PT", "MR")],
    *[
        (_image_type(t), WrongModality, rf"\(0008,0008\) .*{t}")
        for t in ("STATIC", "TOMO", "GATED TOMO", "RECON GATED TOMO", "DYNAMIC")
    ],
    (_set("ImageType", None), WrongModality, r"\(0008,0008\) absent"),
    (_set("ImageType", ["ORIGINAL", "PRIMARY", "RECON TOMO", "TRANSMISSION"]), WrongModality, "TRANSMISSION"),
    (_in_detector("ImagePositionPatient", None), MissingGeometry, r"\(0020,00"),
    (_in_detector("ImageOrientationPatient", None), MissingGeometry, r"\(0020,0037\)"),
    (_in_detector("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), MissingGeometry, r"\(0020,0037\)"),
    (_set("PixelSpacing", [0, 4]), MissingGeometry, r"\(0028,0030\)"),
    (_set("PixelSpacing", None), MissingGeometry, r"\(0028,0030\)"),
    (_set("PixelSpacing", [float("nan"), 4]), MissingGeometry, r"\(0028,0030\)"),
    (_set("SpacingBetweenSlices", 0), MissingGeometry, r"\(0018,0088\)"),
    (_set("SpacingBetweenSlices", None), MissingGeometry, r"\(0018,0088\)"),
    (_set("SpacingBetweenSlices", float("nan")), MissingGeometry, r"\(0018,0088\)"),
    (_set("NumberOfFrames", 3), MissingGeometry, r"\(0028,0008\) 3"),
    (_set("NumberOfSlices", 5), MissingGeometry, r"\(0054,0081\) 5"),
    (_set("SliceVector", [1, 2, 2, 4]), MissingGeometry, r"\(0054,0080\)"),
    (_set("SliceVector", None), MissingGeometry, r"\(0054,0080\)"),
    (_set("Rows", 0), UnreadableFile, "0x6x4"),
    (_set("Columns", 65535), UnreadableFile, r"\(7FE0,0010\)"),
    (lambda d: (_set("Rows", 65535)(d), _set("Columns", 65535)(d)), UnreadableFile, "65535x65535"),
    (_set("PixelData", bytes(238)), UnreadableFile, r"238 bytes of Pixel Data \(7FE0,0010\)"),
    (_set("PixelData", bytes(2400)), UnreadableFile, r"2400 bytes"),
    (_set("PixelData", bytes(240)), BadValues, "0 everywhere"),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("edit", "error", "words"), BAD)
def test_refusals_name_the_tag(
    nm_file: MakeNM, edit: Callable[[pydicom.Dataset], None], error: type[PhotopeakError], words: str
) -> None:
    path = nm_file(edit)
    before = sorted(path.parent.iterdir())
    with pytest.raises(error, match=words) as raised:
        read_nm(path)
    assert raised.value.remedy
    assert sorted(path.parent.iterdir()) == before


def test_two_places_are_refused(nm_file: MakeNM) -> None:
    def double(dataset: pydicom.Dataset) -> None:
        second = pydicom.Dataset()
        second.update(dataset.DetectorInformationSequence[0])
        second.ImagePositionPatient = [1, 2, 3]
        dataset.DetectorInformationSequence.append(second)

    with pytest.raises(MissingGeometry, match=r"\(0054,0022\)"):
        read_nm(nm_file(double))


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, RLELossless])
def test_compressed_is_refused_before_decoding(nm_file: MakeNM, syntax: str) -> None:
    path = nm_file()
    uncompressed = b"1.2.840.10008.1.2.1\0"
    path.write_bytes(path.read_bytes().replace(uncompressed, str(syntax).encode()[:20].ljust(20, b"\0"), 1))
    with pytest.raises(UnreadableFile, match=r"\(0002,0010\)"):
        read_nm(path)


def test_not_dicom_and_absent(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(b"GIF89a" * 100)
    with pytest.raises(UnreadableFile, match="no DICOM mark"):
        read_nm(path)
    path.write_bytes(b"")
    with pytest.raises(UnreadableFile, match="no DICOM mark"):
        read_nm(path)
    with pytest.raises(UnreadableFile, match="does not exist"):
        read_nm(tmp_path / "b.dcm")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.floats(0, 0.999))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_cut_anywhere_is_a_typed_error(nm_file: MakeNM, kept: float) -> None:
    path = nm_file()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(PhotopeakError):
        read_nm(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(132, 1500), value=st.integers(0, 255))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_wrong_byte_reads_or_is_a_typed_error(nm_file: MakeNM, place: int, value: int) -> None:
    path = nm_file()
    data = bytearray(path.read_bytes())
    data[place] = value
    path.write_bytes(data)
    with suppress(PhotopeakError):
        study = read_nm(path)
        assert torch.isfinite(study[next(iter(study))].data).all()
