"""What passes the allow-list, and that nothing else does."""

import stat
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import DataElement, Dataset
from pydicom.datadict import DicomDictionary
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian

from photopeak.core.errors import BadArgument
from photopeak.io.deidentify import (
    COLLIMATORS,
    NUMBERS,
    SEQUENCES,
    UIDS,
    Secret,
    deidentified,
    facts_of,
    in_vocabulary,
    mu_divisor,
)

SENTINEL = "SENTINEL"
SECRET = Secret(bytes(range(32)))
TEXTS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}


def seeded(depth: int = 2) -> Dataset:
    """A sentinel in every element of the standard that can hold text, in private ones, and in sequences within."""
    dataset = Dataset()
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        group = tag >> 16
        if retired or group < 8 or group == 0x7FE0 or not keyword:
            continue
        if vr in TEXTS:
            dataset.add(DataElement(tag, vr, SENTINEL))
        elif vr in ("DA", "DT"):
            dataset.add(DataElement(tag, vr, "19330317"))
        elif vr == "UI":
            dataset.add(DataElement(tag, vr, "1.2.840.99933317"))
        elif vr == "SQ" and depth:
            dataset.add(DataElement(tag, vr, [seeded(0)] if depth == 1 or keyword in SEQUENCES else []))
    block = dataset.private_block(0x0011, SENTINEL, create=True)
    block.add_new(1, "LO", SENTINEL)
    return dataset


def test_no_sentinel_passes() -> None:
    clean = deidentified(seeded(), SECRET)
    text = str(clean) + clean.to_json()
    assert SENTINEL not in text
    assert "99933317" not in text
    assert "19330317" not in text
    assert SENTINEL not in str(facts_of(seeded(), SECRET, "p"))


def test_wrong_representations_do_not_pass() -> None:
    dataset = Dataset()
    with pydicom.config.disable_value_validation():
        for keyword in sorted(NUMBERS | SEQUENCES):
            dataset.add(DataElement(Tag(keyword), "LO", SENTINEL))
    assert SENTINEL not in str(deidentified(dataset, SECRET))


def test_what_readers_need_stays_exact() -> None:
    dataset = Dataset()
    dataset.PixelSpacing, dataset.ImageType = ["3.1999", "3.2"], ["ORIGINAL", "PRIMARY", "RECON TOMO", SENTINEL]
    dataset.CorrectedImage, dataset.Manufacturer = ["ATTN", SENTINEL], "GE MEDICAL SYSTEMS"
    dataset.CollimatorGridName = "Dr SENTINEL's"
    dataset.PixelData = np.arange(8, dtype="<u2").tobytes()
    clean = deidentified(dataset, SECRET)
    assert [str(v) for v in clean.PixelSpacing] == ["3.1999", "3.2"]
    assert list(clean.ImageType) == ["ORIGINAL", "PRIMARY", "RECON TOMO", "OTHER"]
    assert clean.CorrectedImage == "ATTN"
    assert clean.Manufacturer == "GE MEDICAL SYSTEMS"
    assert clean.CollimatorGridName.startswith("collimator-")
    assert clean.PixelData == dataset.PixelData


@pytest.mark.parametrize("bits", [8, 16])
def test_pixels_of_either_byte_order_stay_the_same(tmp_path: Path, bits: int) -> None:
    values = np.arange(300, 300 + 6).astype(f"u{bits // 8}").reshape(2, 3)
    dataset = Dataset()
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PixelRepresentation = 2, 3, 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PhotometricInterpretation, dataset.SOPClassUID, dataset.SOPInstanceUID = (
        "MONOCHROME2",
        CTImageStorage,
        "1.2",
    )
    words = np.frombuffer(values.tobytes(), "<u2").astype(">u2").tobytes()
    dataset.add(DataElement(Tag("PixelData"), "OW", words))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.save_as(tmp_path / "big.dcm", enforce_file_format=True)
    big = pydicom.dcmread(tmp_path / "big.dcm")
    np.testing.assert_array_equal(big.pixel_array, values)
    deidentified(big, SECRET).save_as(tmp_path / "clean.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "clean.dcm").pixel_array, values)


def test_sequences_are_followed_only_so_deep() -> None:
    inner = Dataset()
    for _ in range(50):
        outer = Dataset()
        outer.DetectorInformationSequence, outer.Rows = [inner], 1
        inner = outer
    assert str(deidentified(inner, SECRET)).count("Rows") <= 7


def test_uids_are_consistent_and_need_the_salt() -> None:
    dataset = Dataset()
    for keyword in UIDS:
        setattr(dataset, keyword, "1.2.3")
    clean = deidentified(dataset, SECRET)
    (uid,) = {clean[k].value for k in UIDS}
    assert uid == SECRET.uid("1.2.3")
    assert uid.startswith("2.25.")
    assert uid.is_valid
    assert Secret(bytes(32)).uid("1.2.3") != uid


@given(st.lists(st.text(), min_size=1, max_size=4), st.lists(st.text(), min_size=1, max_size=4))
def test_hashes_tell_all_parts_apart(one: list[str], other: list[str]) -> None:
    encoded = [[p.encode("utf-8", "replace") for p in parts] for parts in (one, other)]
    assert (SECRET.hash(*one) == SECRET.hash(*other)) == (encoded[0] == encoded[1])


def test_dates_shift_alike_for_a_person_and_ages_are_capped() -> None:
    def facts(person: str, day: str, **tags: str) -> dict[str, object]:
        dataset = Dataset()
        dataset.AcquisitionDate = day
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        return facts_of(dataset, SECRET, person)

    first, later = facts("a", "20200229")["acquired_on"], facts("a", "20200307")["acquired_on"]
    assert np.datetime64(str(later)) - np.datetime64(str(first)) == np.timedelta64(7, "D")
    assert str(first) < "2020-02-29"
    assert facts("b", "20200229")["acquired_on"] != first
    assert facts("a", "20200229", PatientBirthDate="19200301")["age_years"] == 90
    assert facts("a", "20200229", PatientBirthDate="19600301")["age_years"] == 59
    assert facts("a", "20200229", PatientAge="103Y")["age_years"] == 90
    assert facts("a", "20200229", PatientAge="018M")["age_years"] == 1
    assert "acquired_on" not in facts("a", "20209999")


def test_vocabulary() -> None:
    assert in_vocabulary("MPH_27_45", COLLIMATORS, SECRET, "c") == "MPH_27_45"
    for text in ("LEHR Meier", "LEHR 19330317", "LEHR 17.03.33", "123-456", "", "LEHR " * 50):
        assert in_vocabulary(text, COLLIMATORS, SECRET, "c").startswith("c-")


@pytest.mark.parametrize(
    ("stored", "divisor"), [(b"10000 ", 10000.0), ("500", 500.0), (b"", None), ("x", None), ("0", None)]
)
def test_divisor_of_ge(stored: str | bytes, divisor: float | None) -> None:
    dataset = Dataset()
    dataset.add(DataElement(Tag(0x0033, 0x1038), "UN" if isinstance(stored, bytes) else "LO", stored))
    assert mu_divisor(dataset) == divisor
    clean = deidentified(dataset, SECRET)
    assert (float(clean.RescaleSlope) if divisor else "RescaleSlope" in clean) == (1 / divisor if divisor else False)


def test_salt_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "salt"
    secret = Secret.kept_in(path)
    assert Secret.kept_in(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret.salt.hex() not in repr(secret)
    path.write_text("mine")
    with pytest.raises(BadArgument, match="salt"):
        Secret.kept_in(path)
