"""Reading raw projections: every frame in its place, every head at its angle, and nothing guessed."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from photopeak.core import EnergyWindow, Grid, Projections
from photopeak.core.errors import (
    BadArgument,
    BadValues,
    MissingGeometry,
    PhotopeakError,
    UnreadableFile,
    WrongModality,
)
from photopeak.io import load, save_study
from photopeak.io.dicom_nm import read_nm
from photopeak.io.dicom_nm_orbit import angle_of_dicom
from photopeak.io.dicom_nm_tomo import read_nm_tomo
from photopeak.io.dicom_nm_tomo_write import write_nm_tomo
from photopeak.physics.parallel_hole import ParallelHole

Edit = Callable[[Dataset], Any]
MakeTomo = Callable[..., Path]
VIEWS, ROWS, COLUMNS, PIXEL_MM = 12, 9, 11, 6.0
POINT_MM = np.array([14.0, -9.0, 11.0])


@pytest.fixture
def camera() -> ParallelHole:
    return ParallelHole.circular(views=VIEWS, shape=(ROWS, COLUMNS), pixel_mm=PIXEL_MM, radius_mm=210.0)


@pytest.fixture
def tomo(tmp_path: Path, camera: ParallelHole, generator: torch.Generator) -> MakeTomo:
    """Writes Poisson counts as TOMO, edits the object with a function, and gives the path."""

    def make(edit: Edit | None = None, *, gates: int = 0, windows: tuple[EnergyWindow, ...] = (), **given: Any) -> Path:
        def draw(window: EnergyWindow | None = None) -> Projections:
            counts = torch.poisson(20 * torch.rand(camera.projection_shape, generator=generator), generator=generator)
            return Projections(counts, camera, window) if window else Projections(counts, camera)

        seen = {f"gate_{n + 1}": draw() for n in range(gates)} or {"raw": draw()}
        seen |= {f"window_{n + 2}": draw(window) for n, window in enumerate(windows)}
        path = write_nm_tomo(seen, tmp_path / "tomo.dcm", patient="0007", **given)
        if edit is not None:
            dataset = pydicom.dcmread(path)
            edit(dataset)
            dataset.save_as(path)
        return path

    return make


def stored_at(dataset: Dataset, order: np.ndarray) -> None:
    """Store the frames in another order, their vectors with them."""
    for tag in dataset.FrameIncrementPointer:
        dataset[tag].value = np.array(dataset[tag].value)[order].tolist()
    dataset.PixelData = dataset.pixel_array[order].tobytes()


def point_frames(dicom_deg: np.ndarray) -> np.ndarray:
    """Frames of a point, drawn from PS3.3 C.8.4.12 alone: 0 at the back, growing to the left, seen from outside."""
    frames = np.zeros((len(dicom_deg), ROWS, COLUMNS))
    rows, columns = np.arange(ROWS), np.arange(COLUMNS)
    for frame, angle in zip(frames, np.radians(dicom_deg), strict=True):
        stands = np.array([math.sin(angle), math.cos(angle), 0.0])
        rightward = np.cross(-stands, [0.0, 0.0, 1.0])
        column = (COLUMNS - 1) / 2 + POINT_MM @ rightward / PIXEL_MM
        row = (ROWS - 1) / 2 - POINT_MM[2] / PIXEL_MM
        frame[:] = 1000 * np.outer((1 - abs(rows - row)).clip(0), (1 - abs(columns - column)).clip(0))
    return np.rint(frames)


def centroids(counts: torch.Tensor) -> np.ndarray:
    """(row, column) of each view's counts."""
    total = counts.sum((1, 2))
    rows = (counts.sum(2) * torch.arange(counts.shape[1])).sum(1) / total
    columns = (counts.sum(1) * torch.arange(counts.shape[2])).sum(1) / total
    return torch.stack([rows, columns], 1).numpy()


def require_point(seen: Projections) -> None:
    """The camera that was read sees the point where the frames have it, to a tenth of a pixel of bilinear rotation."""
    grid = Grid.regular((ROWS, COLUMNS, COLUMNS), PIXEL_MM)
    k, j, i = grid.index(POINT_MM)
    image = torch.zeros(grid.shape)
    for dk in (0, 1):
        for dj in (0, 1):
            for di in (0, 1):
                weight = np.prod([1 - abs(int(c) + d - c) for c, d in ((k, dk), (j, dj), (i, di))])
                image[int(k) + dk, int(j) + dj, int(i) + di] = float(weight)
    assert isinstance(seen.camera, ParallelHole)
    expected = centroids(replace(seen.camera, collimator=None).system(grid)(image))
    assert np.abs(centroids(seen.counts) - expected).max() < 0.1


def ge_gated(dataset: Dataset) -> None:
    """The header of a real gated acquisition: angular view fastest, time slot slowest, one radius, clockwise."""
    views, slots = VIEWS, 8
    angles = 225.23 - 15.0 * np.arange(views)
    dataset.PixelData = np.tile(point_frames(angles), (slots, 1, 1)).astype("<u2").tobytes()
    turn, head = dataset.RotationInformationSequence[0], dataset.DetectorInformationSequence[0]
    turn.StartAngle, turn.AngularStep, turn.RotationDirection, turn.ScanArc = "225.23", "15", "CW", "180"
    turn.RadialPosition, turn.ActualFrameDuration, turn.TableHeight = "344.983", "25264", "126.1"
    del head.RadialPosition, head.StartAngle
    head.ImageOrientationPatient = ["0.704", "-0.710", "0", "0", "0", "-1"]
    head.CollimatorGridName = "LEHR"
    dataset.Manufacturer = "GE MEDICAL SYSTEMS"
    dataset.ImageType = ["DERIVED", "PRIMARY", "GATED TOMO", "EMISSION"]


def test_gated_acquisition_as_ge_writes_it(tomo: MakeTomo) -> None:
    study = read_nm_tomo(tomo(ge_gated, gates=8))
    assert list(study.projections) == ["raw", *(f"gate_{n}" for n in range(1, 9))]
    raw = study.projections["raw"]
    assert raw.camera.angles_deg == pytest.approx(tuple(-45.23 + 15 * n for n in range(VIEWS)))
    assert raw.camera.radii_mm == pytest.approx((344.983,) * VIEWS)
    assert raw.camera.collimator is not None
    assert raw.camera.collimator.name == "GE LEHR"
    assert (raw.window.lower_kev, raw.window.upper_kev) == (126.45, 154.55)
    assert torch.equal(raw.counts, 8 * study.projections["gate_5"].counts)
    assert study.facts["acquisition"]["frame_ms"] == 25264
    assert study.facts["acquisition"]["gates"] == 8
    require_point(raw)


@pytest.mark.parametrize(("direction", "sign"), [("CW", -1), ("CC", 1)])
@pytest.mark.parametrize("oriented", [True, False])
def test_a_point_is_where_the_standard_says(tomo: MakeTomo, direction: str, sign: int, oriented: bool) -> None:
    start, step = 200.0, 20.0

    def edit(dataset: Dataset) -> None:
        turn, head = dataset.RotationInformationSequence[0], dataset.DetectorInformationSequence[0]
        turn.StartAngle, turn.AngularStep, turn.RotationDirection, turn.ScanArc = start, step, direction, 240
        phi = math.radians(180 - start)
        head.ImageOrientationPatient = [math.cos(phi), math.sin(phi), 0, 0, 0, -1]
        if not oriented:
            del head.ImageOrientationPatient
        dataset.PixelData = point_frames(start + sign * step * np.arange(VIEWS)).astype("<u2").tobytes()

    require_point(read_nm_tomo(tomo(edit)).projections["raw"])


def test_images_turned_upside_down_are_turned_back(tomo: MakeTomo) -> None:
    """Feet first, as an orientation of the image that the header tells."""

    def edit(dataset: Dataset) -> None:
        turn, head = dataset.RotationInformationSequence[0], dataset.DetectorInformationSequence[0]
        angles = float(turn.StartAngle) - float(turn.AngularStep) * np.arange(VIEWS)
        dataset.PixelData = point_frames(angles)[:, ::-1, ::-1].astype("<u2").tobytes()
        head.ImageOrientationPatient = [-float(v) for v in head.ImageOrientationPatient]

    require_point(read_nm_tomo(tomo(edit, facts={"patient_position": "FFS"})).projections["raw"])


def test_two_heads_each_with_its_start(tomo: MakeTomo) -> None:
    """Siemens order: detector slower than angular view, 90 degrees apart, an orbit for each head."""
    first, second = 225.0 - 15 * np.arange(6), 135.0 - 15 * np.arange(6)

    def edit(dataset: Dataset) -> None:
        dataset.PixelData = point_frames(np.concatenate([first, second])).astype("<u2").tobytes()
        turn = dataset.RotationInformationSequence[0]
        turn.StartAngle, turn.AngularStep, turn.ScanArc, turn.NumberOfFramesInRotation = 225, 15, 90, 6
        for head, start in zip(dataset.DetectorInformationSequence, (225, 135), strict=True):
            head.StartAngle, head.RadialPosition = start, [start + n for n in range(6)]
            del head.ImageOrientationPatient
        stored_at(dataset, np.random.default_rng(1).permutation(VIEWS))

    raw = read_nm_tomo(tomo(edit, heads=2)).projections["raw"]
    assert raw.camera.angles_deg == pytest.approx(tuple(-45 + 15 * n for n in range(12)))
    assert raw.camera.radii_mm == pytest.approx((*range(225, 231), *range(135, 141)))
    require_point(raw)


def test_two_rotations_of_one_head(tomo: MakeTomo) -> None:
    def edit(dataset: Dataset) -> None:
        first = dataset.RotationInformationSequence[0]
        first.NumberOfFramesInRotation, first.ScanArc = 6, 90
        second = Dataset.from_json(first.to_json())
        second.StartAngle = float(first.StartAngle) - 6 * float(first.AngularStep)
        dataset.RotationInformationSequence, dataset.NumberOfRotations = [first, second], 2
        dataset.RotationVector = [1] * 6 + [2] * 6
        dataset.AngularViewVector = [*range(1, 7)] * 2

    path = tomo()
    whole = read_nm_tomo(path).projections["raw"]
    dataset = pydicom.dcmread(path)
    edit(dataset)
    dataset.save_as(path)
    split = read_nm_tomo(path).projections["raw"]
    assert torch.equal(split.counts, whole.counts)
    assert split.camera.angles_deg == pytest.approx(whole.camera.angles_deg)


@pytest.mark.parametrize("given", [{"gates": 3}, {"windows": (EnergyWindow(110, 120),), "heads": 2}])
def test_file_order_decides_nothing(tomo: MakeTomo, given: dict[str, Any]) -> None:
    path = tomo(**given)
    before = read_nm_tomo(path)
    dataset = pydicom.dcmread(path)
    stored_at(dataset, np.random.default_rng(5).permutation(int(dataset.NumberOfFrames)))
    dataset.save_as(path)
    after = read_nm_tomo(path)
    assert list(after.projections) == list(before.projections)
    for name, seen in before.projections.items():
        assert torch.equal(after.projections[name].counts, seen.counts)


@given(st.floats(-720, 720, allow_nan=False))
def test_angles_convert_both_ways(angle: float) -> None:
    back = angle_of_dicom(angle_of_dicom(angle))
    assert math.remainder(back - angle, 360) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("dicom", "ours"), [(0, 180), (90, 90), (180, 0), (225, -45), (270, -90), (45, 135)])
def test_named_angles(dicom: float, ours: float) -> None:
    """Back, left, front, right anterior oblique, right, left posterior oblique."""
    assert math.remainder(angle_of_dicom(dicom) - ours, 360) == pytest.approx(0)


def test_the_photopeak_is_the_isotope_s_whatever_its_place(tomo: MakeTomo) -> None:
    def swap(dataset: Dataset) -> None:
        dataset.EnergyWindowInformationSequence = list(dataset.EnergyWindowInformationSequence)[::-1]

    path = tomo(swap, windows=(EnergyWindow(110, 120),))
    study = read_nm_tomo(path)
    assert study.projections["raw"].window == EnergyWindow(126.45, 154.55)
    assert study.projections["window_1"].window == EnergyWindow(110, 120)
    assert read_nm_tomo(path, window=1).projections["raw"].window == EnergyWindow(110, 120)
    with pytest.raises(UnreadableFile, match=r"110-120 keV.*asked for 3"):
        read_nm_tomo(path, window=3)


def test_unclear_photopeak_is_asked_for(tomo: MakeTomo) -> None:
    with pytest.raises(UnreadableFile, match="window=1"):
        read_nm_tomo(tomo(windows=(EnergyWindow(120, 150),)))
    with pytest.raises(UnreadableFile, match="Tl-201"):
        read_nm_tomo(tomo(facts={"isotope": "Tl-201"}))
    unknown = tomo(lambda d: setattr(d, "RadiopharmaceuticalInformationSequence", []))
    assert list(read_nm_tomo(unknown).projections) == ["raw"]


def test_missing_radius_and_unknown_collimator_are_told(tomo: MakeTomo) -> None:
    def forget(dataset: Dataset) -> None:
        del dataset.DetectorInformationSequence[0].RadialPosition

    path = tomo(forget)
    study = read_nm_tomo(path)
    assert study.projections["raw"].camera.collimator is None
    assert "(0018,1142)" in study.facts["acquisition"]["warnings"][0]
    told = read_nm_tomo(path, radius_mm=231.0)
    assert told.projections["raw"].camera.radii_mm == (231.0,) * VIEWS
    assert told.projections["raw"].camera.collimator is not None
    assert "warnings" not in told.facts["acquisition"]

    strange = tomo(lambda d: setattr(d.DetectorInformationSequence[0], "CollimatorGridName", "XYZ"))
    study = read_nm_tomo(strange)
    assert study.projections["raw"].camera.collimator is None
    assert "(0018,1180)" in study.facts["acquisition"]["warnings"][0]
    named = read_nm_tomo(strange, collimator="GE LEHR").projections["raw"].camera.collimator
    assert named is not None
    assert named.name == "GE LEHR"


def test_an_axis_beside_the_middle_is_told(tomo: MakeTomo) -> None:
    def shift(dataset: Dataset) -> None:
        dataset.DetectorInformationSequence[0].CenterOfRotationOffset = 2.5

    assert "(0018,1145)" in read_nm_tomo(tomo(shift)).facts["acquisition"]["warnings"][0]


def test_load_and_saved_study(tomo: MakeTomo, tmp_path: Path) -> None:
    path = tomo(gates=2)
    for source in (path, path.parent):
        study = load(source)
        assert list(study.projections) == ["raw", "gate_1", "gate_2"]
    again = load(save_study(study, tmp_path / "saved"))
    assert again.projections["raw"].camera == study.projections["raw"].camera
    assert again.facts == study.facts
    with pytest.raises(WrongModality, match=r"\(0008,0008\)"):
        load(path, as_="nac")
    with pytest.raises(WrongModality, match="reconstruct"):
        read_nm(path)


def lying(position: str | None, *, oriented: bool = False) -> Edit:
    def edit(dataset: Dataset) -> None:
        if not oriented:
            del dataset.DetectorInformationSequence[0].ImageOrientationPatient
        dataset.PatientOrientationCodeSequence = dataset.PatientGantryRelationshipCodeSequence = []
        if position:
            dataset.PatientPosition = position

    return edit


def test_left_and_right_are_certain_or_refused(tomo: MakeTomo) -> None:
    for position in ("FFS", "HFP", None):
        with pytest.raises(MissingGeometry, match=r"\(0020,0037\)"):
            read_nm_tomo(tomo(lying(position)))
        read_nm_tomo(tomo(lying(position, oriented=True)))
    study = read_nm_tomo(tomo(lying(None)), position="HFS")
    assert study.facts["patient_position"] == "HFS"
    assert "head-first supine" in study.facts["acquisition"]["oriented_by"]
    for said in ("HFS", "sitting"):
        with pytest.raises(BadArgument, match="position"):
            read_nm_tomo(tomo(lying("FFS")), position=said)


def turn(**tags: Any) -> Edit:
    def edit(dataset: Dataset) -> None:
        for keyword, value in tags.items():
            setattr(dataset.RotationInformationSequence[0], keyword, value)

    return edit


def without(*keywords: str, inside: str | None = None) -> Edit:
    def edit(dataset: Dataset) -> None:
        for keyword in keywords:
            delattr(getattr(dataset, inside)[0] if inside else dataset, keyword)

    return edit


def top(**tags: Any) -> Edit:
    def edit(dataset: Dataset) -> None:
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)

    return edit


def kind(third: str) -> Edit:
    return top(ImageType=["ORIGINAL", "PRIMARY", third, "EMISSION"])


def head(**tags: Any) -> Edit:
    def edit(dataset: Dataset) -> None:
        for keyword, value in tags.items():
            setattr(dataset.DetectorInformationSequence[0], keyword, value)

    return edit


def limits(**tags: Any) -> Edit:
    def edit(dataset: Dataset) -> None:
        for keyword, value in tags.items():
            setattr(dataset.EnergyWindowInformationSequence[0].EnergyWindowRangeSequence[0], keyword, value)

    return edit


REFUSALS: list[tuple[Edit, type[PhotopeakError], str]] = [
    *((kind(k), WrongModality, r"\(0008,0008\)") for k in ("RECON TOMO", "STATIC", "DYNAMIC", "WHOLE BODY")),
    (top(ImageType=["ORIGINAL", "PRIMARY", "TOMO", "TRANSMISSION"]), WrongModality, "TRANSMISSION"),
    (top(Modality="CT"), WrongModality, r"\(0008,0060\)"),
    (top(RotationInformationSequence=[]), MissingGeometry, r"\(0054,0052\)"),
    (without("RotationInformationSequence"), MissingGeometry, r"\(0054,0052\)"),
    (without("StartAngle", inside="RotationInformationSequence"), MissingGeometry, r"\(0054,0200\)"),
    (without("AngularStep", inside="RotationInformationSequence"), MissingGeometry, r"\(0018,1144\)"),
    (turn(AngularStep=0), MissingGeometry, r"\(0018,1144\)"),
    (turn(RotationDirection="UP"), MissingGeometry, r"\(0018,1140\)"),
    (turn(NumberOfFramesInRotation=11), MissingGeometry, r"\(0054,0053\)"),
    (turn(ScanArc=90), MissingGeometry, r"\(0018,1143\)"),
    (turn(StartAngle=45), MissingGeometry, r"\(0020,0037\)"),
    (head(RadialPosition=[200, 201]), MissingGeometry, r"\(0018,1142\)"),
    (head(RadialPosition=-3), MissingGeometry, r"\(0018,1142\)"),
    (head(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), MissingGeometry, r"\(0020,0037\)"),
    (head(CollimatorType="FANB"), WrongModality, r"\(0018,1181\)"),
    (without("DetectorInformationSequence"), MissingGeometry, r"\(0054,0022\)"),
    (without("EnergyWindowInformationSequence"), UnreadableFile, r"\(0054,0012\)"),
    (limits(EnergyWindowLowerLimit=160), UnreadableFile, r"\(0054,0014\)"),
    (limits(EnergyWindowUpperLimit=None), UnreadableFile, r"\(0054,0015\)"),
    (top(AngularViewVector=list(range(1, 12))), MissingGeometry, r"\(0054,0090\)"),
    (top(AngularViewVector=[1, *range(1, 12)]), MissingGeometry, "11 places"),
    (top(AngularViewVector=[*range(1, 12), 60000]), MissingGeometry, "each frame once"),
    (top(AngularViewVector=list(range(12))), MissingGeometry, "numbered from 1"),
    (top(EnergyWindowVector=[2] * 12, NumberOfEnergyWindows=2), MissingGeometry, "each frame once"),
    (top(NumberOfEnergyWindows=2), MissingGeometry, r"\(0054,0011\)"),
    (top(DetectorVector=[2] * 12, NumberOfDetectors=2), MissingGeometry, r"\(0054,0022\)"),
    (top(FrameIncrementPointer=0x00540080), MissingGeometry, r"\(0028,0009\)"),
    (without("FrameIncrementPointer"), MissingGeometry, r"\(0028,0009\)"),
    (without("AngularViewVector"), MissingGeometry, r"\(0054,0090\)"),
    (top(PixelSpacing=[6.0, 5.0]), MissingGeometry, r"\(0028,0030\)"),
    (without("PixelSpacing"), MissingGeometry, r"\(0028,0030\)"),
    (top(PixelData=bytes(2 * VIEWS * ROWS * COLUMNS)), BadValues, "no counts"),
    (top(PixelData=bytes(100)), UnreadableFile, "Rows x Columns"),
    (top(RescaleSlope=2, RescaleIntercept=0), BadValues, r"\(0028,1053\)"),
    (top(RescaleSlope=1, RescaleIntercept=5), BadValues, r"\(0028,1052\)"),
]


@pytest.mark.parametrize(("edit", "error", "told"), REFUSALS)
def test_refused_by_name(tomo: MakeTomo, edit: Edit, error: type[PhotopeakError], told: str) -> None:
    with pytest.raises(error, match=told):
        read_nm_tomo(tomo(edit))


def test_heads_that_share_a_rotation_need_angles_of_their_own(tomo: MakeTomo) -> None:
    def forget(dataset: Dataset) -> None:
        del dataset.DetectorInformationSequence[1].StartAngle

    with pytest.raises(MissingGeometry, match=r"\(0054,0200\).*item 2"):
        read_nm_tomo(tomo(forget, heads=2))


def test_several_beds_and_lost_gates_are_refused(tomo: MakeTomo) -> None:
    def beds(dataset: Dataset) -> None:
        first = dataset.RotationInformationSequence[0]
        first.NumberOfFramesInRotation, first.ScanArc, first.TableTraverse = 6, 90, 0
        second = Dataset.from_json(first.to_json())
        second.TableTraverse = 300
        dataset.RotationInformationSequence, dataset.NumberOfRotations = [first, second], 2
        dataset.RotationVector = [1] * 6 + [2] * 6
        dataset.AngularViewVector = [*range(1, 7)] * 2

    with pytest.raises(MissingGeometry, match=r"\(0018,1131\)"):
        read_nm_tomo(tomo(beds))
    with pytest.raises(MissingGeometry, match=r"\(0054,0071\)"):
        read_nm_tomo(tomo(top(NumberOfTimeSlots=4), gates=3))
    with pytest.raises(MissingGeometry, match="one R-R interval"):
        read_nm_tomo(tomo(top(RRIntervalVector=[2] * 36, NumberOfRRIntervals=2), gates=3))
