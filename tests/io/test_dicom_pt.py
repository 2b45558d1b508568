"""PT series: 200 slopes, the decay of the dose by every rule of the standard, and every refusal."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from photopeak.core.errors import (
    BadArgument,
    BadValues,
    MissingGeometry,
    MissingInput,
    PhotopeakError,
    WrongModality,
    WrongQuantity,
)
from photopeak.core.units import BQML, SUV
from photopeak.io import load
from photopeak.io.dicom_pt import Told, read_pt

Make = Callable[..., Path]
Edit = Callable[[list[Dataset]], Any]
RATE = math.log(2) / 6586.2
HOUR = 3600.0


@pytest.fixture
def bqml() -> np.ndarray:
    """Twenty slices of concentrations whose maxima differ by a factor of ten."""
    random = np.random.default_rng(5)
    return random.uniform(0, 1, (20, 9, 8)) * np.geomspace(2e3, 2e4, 20)[:, None, None]


def stored(folder: Path) -> np.ndarray:
    """What the files say, times their slopes, by position."""
    slices = sorted(map(pydicom.dcmread, folder.iterdir()), key=lambda s: float(s.ImagePositionPatient[2]))
    return np.stack([s.pixel_array * float(s.RescaleSlope) for s in slices])


def expected(folder: Path, after_s: float | np.ndarray) -> np.ndarray:
    """SUV of 72.5 kg and 370 MBq whose dose decayed for `after_s` (one for all, or each slice's)."""
    decayed = 370e6 * np.exp(-RATE * np.asarray(after_s))
    return stored(folder) * 72.5 * 1000 / np.broadcast_to(decayed, len(stored(folder)))[:, None, None]


def each(**tags: Any) -> Edit:
    return lambda slices: [setattr(s, k, v) for s in slices for k, v in tags.items()]


def tracer(**tags: Any) -> Edit:
    return lambda slices: [
        setattr(s.RadiopharmaceuticalInformationSequence[0], k, v) for s in slices for k, v in tags.items()
    ]


def both(*edits: Edit) -> Edit:
    return lambda slices: [edit(slices) for edit in edits]


def test_two_hundred_slopes_and_a_decayed_dose(pt_series: Make) -> None:
    random = np.random.default_rng(1)
    truth = random.uniform(0, 1, (200, 6, 5)) * random.uniform(50, 4e4, 200)[:, None, None]
    folder = pt_series(truth)
    assert len({str(pydicom.dcmread(p).RescaleSlope) for p in folder.iterdir()}) == 200
    study = read_pt(folder)
    assert study["pet"].quantity == SUV
    assert str(load(folder)["pet"]) == str(study["pet"])
    np.testing.assert_allclose(study["pet"].numpy(), expected(folder, HOUR), rtol=1e-5)
    by_hand = truth * 72.5e3 / (370e6 * 2 ** (-3600 / 6586.2))
    np.testing.assert_allclose(study["pet"].numpy(), by_hand, atol=float(by_hand.max()) / 60000)
    assert study["pet"].grid.spacing_mm == pytest.approx((3.27, 5.47, 5.47))
    assert study.facts["suv"]["reference"] == "series"
    assert study.facts["suv"]["uptake_min"] == 60
    assert (study.facts["weight_kg"], study.facts["dose_mbq"]) == (72.5, 370)


def test_bqml_needs_neither_weight_nor_dose(pt_series: Make, bqml: np.ndarray) -> None:
    folder = pt_series(bqml, both(each(PatientWeight=None), tracer(RadionuclideTotalDose=None)))
    volume = read_pt(folder, unit="bqml")["pet"]
    assert volume.quantity == BQML
    np.testing.assert_allclose(volume.numpy(), stored(folder), rtol=1e-6)
    with pytest.raises(MissingInput, match=r"\(0010,1030\)"):
        read_pt(folder)
    told = read_pt(folder, told=Told(weight_kg=72.5, dose_mbq=370))["pet"]
    np.testing.assert_allclose(told.numpy(), expected(folder, HOUR), rtol=1e-6)


GE = "GEMS_PETD_01"
LATE = each(SeriesTime="154500")
FIRST_FRAME_S = 59.874
MEAN_S = math.log(120 * RATE / (1 - math.exp(-120 * RATE))) / RATE


def ge(slices: list[Dataset]) -> None:
    for s in slices:
        s.private_block(0x0009, GE, create=True).add_new(0x0D, "DT", "20190317105930.00")


def no_frame(slices: list[Dataset]) -> None:
    for s in slices:
        s.FrameReferenceTime = "0"


@pytest.mark.parametrize(
    ("edit", "after_s", "reference"),
    [
        (each(DecayCorrection="ADMIN"), 0.0, None),
        (LATE, HOUR + MEAN_S - FIRST_FRAME_S, "frame"),
        (both(LATE, no_frame), HOUR, "earliest"),
        (both(LATE, ge), HOUR - 30, "private"),
        (each(SeriesTime="110000.000015"), HOUR, "series"),
        (tracer(RadiopharmaceuticalStartDateTime="20190317093000.000"), 1.5 * HOUR, "series"),
        (tracer(RadiopharmaceuticalStartTime="233000"), 11.5 * HOUR, "series"),
        (
            both(each(TimezoneOffsetFromUTC="+0100"), tracer(RadiopharmaceuticalStartDateTime="20190317084500+0000")),
            1.25 * HOUR,
            "series",
        ),
        (tracer(RadiopharmaceuticalStartDateTime="20190317084500+0000"), HOUR, "series"),
    ],
    ids=["admin", "late, frame", "late", "late, GE", "rounded", "datetime", "midnight", "zone", "zone unknown"],
)
def test_what_the_dose_decays_to(
    pt_series: Make, bqml: np.ndarray, edit: Edit, after_s: float, reference: str | None
) -> None:
    folder = pt_series(bqml, edit)
    study = read_pt(folder)
    np.testing.assert_allclose(study["pet"].numpy(), expected(folder, after_s), rtol=1e-5)
    assert study.facts["suv"].get("reference") == reference


def test_images_without_decay_correction_decay_bed_by_bed(pt_series: Make, bqml: np.ndarray) -> None:
    folder = pt_series(bqml, each(DecayCorrection="NONE", CorrectedImage=["ATTN", "SCAT"]))
    beds = np.repeat([0.0, 120.0], 10)
    np.testing.assert_allclose(read_pt(folder)["pet"].numpy(), expected(folder, HOUR + beds + MEAN_S), rtol=1e-5)


def philips(suv: str, bqml: str) -> Edit:
    def edit(slices: list[Dataset]) -> None:
        for s in slices:
            block = s.private_block(0x7053, "Philips PET Private Group", create=True)
            block.add_new(0x00, "DS", suv)
            block.add_new(0x09, "DS", bqml)

    return both(each(Units="CNTS"), edit)


def test_philips_counts(pt_series: Make, bqml: np.ndarray) -> None:
    suv = pt_series(bqml, philips("0.00025", "3.5"), name="suv")
    np.testing.assert_allclose(read_pt(suv)["pet"].numpy(), stored(suv) * 0.00025, rtol=1e-5)
    np.testing.assert_allclose(read_pt(suv, unit="bqml")["pet"].numpy(), stored(suv) * 3.5, rtol=1e-5)
    heavier = read_pt(suv, told=Told(weight_kg=145.0))
    np.testing.assert_allclose(heavier["pet"].numpy(), 2 * 3.5 * expected(suv, HOUR), rtol=1e-5)
    none = pt_series(bqml, philips("0", "3.5"), name="none")
    np.testing.assert_allclose(read_pt(none)["pet"].numpy(), 3.5 * expected(none, HOUR), rtol=1e-5)
    with pytest.raises(MissingInput, match="7053"):
        read_pt(pt_series(bqml, philips("0", "0"), name="neither"))


def test_suv_of_the_scanner_is_taken_as_it_is(pt_series: Make, bqml: np.ndarray) -> None:
    folder = pt_series(bqml / 1e4, each(Units="GML", PatientWeight=None))
    np.testing.assert_allclose(read_pt(folder)["pet"].numpy(), stored(folder), rtol=1e-6)
    with pytest.raises(WrongQuantity, match=r"\(0054,1001\)"):
        read_pt(folder, unit="bqml")
    with pytest.raises(BadArgument, match=r"\(0054,1001\) GML"):
        read_pt(folder, told=Told(weight_kg=145.0))


OLD = tracer(RadiopharmaceuticalStartDateTime="20160317100000")
BAD: list[tuple[Edit, type[PhotopeakError], str]] = [
    (each(PatientWeight=None), MissingInput, r"\(0010,1030\)"),
    (each(PatientWeight="0"), MissingInput, r"\(0010,1030\)"),
    (tracer(RadionuclideTotalDose=None), MissingInput, r"\(0018,1074\)"),
    (tracer(RadionuclideTotalDose="370"), BadValues, r"\(0018,1074\) 370;"),
    (tracer(RadionuclideHalfLife=None), MissingInput, r"\(0018,1075\)"),
    (each(RadiopharmaceuticalInformationSequence=[]), MissingInput, r"\(0018,1074\)"),
    (tracer(RadiopharmaceuticalStartTime=None), MissingInput, r"\(0018,1072\)"),
    (tracer(RadionuclideHalfLife="282000"), MissingInput, r"\(0018,1078\)"),
    (OLD, BadValues, "injection"),
    (tracer(RadiopharmaceuticalStartTime="110500"), BadValues, r"1435.* min before"),
    (each(AcquisitionTime=None), MissingInput, r"\(0008,0032\)"),
    (each(DecayCorrection=None), MissingInput, r"\(0054,1102\)"),
    (each(DecayCorrection="NONE"), BadValues, r"\(0054,1102\) NONE"),
    (each(SeriesTime="093000"), BadValues, r"\(0054,1300\)"),
    (each(Units="PROPCPS"), WrongQuantity, "PROPCPS"),
    (each(Units="CNTS"), MissingInput, "7053"),
    (each(Units="GML", SUVType="LBM"), WrongQuantity, "LBM"),
    (each(CorrectedImage=["DECY", "SCAT"]), WrongModality, r"\(0028,0051\)"),
    (each(CorrectedImage=None), WrongModality, r"\(0028,0051\) absent"),
    (each(SeriesType=["GATED", "IMAGE"]), WrongModality, r"\(0054,1000\)"),
    (each(Modality="MR"), WrongModality, r"\(0008,0060\) MR"),
    (lambda slices: slices.pop(4), MissingGeometry, r"6\.540 mm apart"),
    (lambda slices: setattr(slices[3], "Units", "GML"), MissingGeometry, r"\(0054,1001\)"),
]


@pytest.mark.parametrize(("edit", "error", "words"), BAD)
def test_refusals(pt_series: Make, bqml: np.ndarray, edit: Edit, error: type[PhotopeakError], words: str) -> None:
    with pytest.raises(error, match=words):
        read_pt(pt_series(bqml, edit))


def test_what_the_user_tells_decides(pt_series: Make, bqml: np.ndarray) -> None:
    silent = pt_series(bqml, each(CorrectedImage=None, DecayCorrection=None, SeriesTime="093000"), name="silent")
    told = Told(attenuation_corrected=True, decay="START", reference="earliest")
    np.testing.assert_allclose(read_pt(silent, told=told)["pet"].numpy(), expected(silent, HOUR), rtol=1e-5)
    with pytest.raises(BadArgument, match="decay"):
        Told(decay="LATER")  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="unit"):
        read_pt(silent, unit="counts")  # type: ignore[arg-type]
