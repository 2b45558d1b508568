"""Walking folders and zips that attack: one line for each file, and nothing opened that must not be."""

import os
import stat
import struct
import zipfile
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from photopeak.core.errors import BadArgument, UnreadableFile
from photopeak.io import dicom_walk
from photopeak.io.dicom_walk import Found, Opener, read_dicom, walk


def refusals(root: Path) -> list[str]:
    return [found.refused for found in walk(root)]


def zipped(path: Path, members: dict[str, bytes], **how: int) -> Path:
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, how.get("compression"))
    return path


def test_every_file_once_in_order_of_names(tmp_path: Path) -> None:
    for name in ("b/2.dcm", "a.txt", "b/c/3.dcm", "z.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    zipped(tmp_path / "b" / "1.zip", {"one": b"1", "two/three": b"2"})
    found = list(walk(tmp_path))
    assert [f.number for f in found] == list(range(1, 7))
    assert sorted((f.path.name, f.member) for f in found if f.member is not None) == [("1.zip", 0), ("1.zip", 1)]
    assert not any(f.refused for f in found)
    with Opener() as opener, opener.open(next(f for f in found if f.member == 1)) as file:
        assert file.read() == b"2"


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="DICOM_DIR"):
        list(walk(tmp_path / "none"))


def test_links_and_devices_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"x")
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe")
    assert refusals(root) == ["a symbolic link"] * 3 + ["not a regular file"]


def test_a_tree_too_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_walk, "MAX_TREE_DEPTH", 2)
    (tmp_path / "1/2/3/4").mkdir(parents=True)
    assert refusals(tmp_path) == ["a folder more than 2 deep"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../up.dcm", '".."'),
        ("a/../../up.dcm", '".."'),
        ("..\\up.dcm", '".."'),
        ("/etc/passwd", "absolute"),
        ("C:\\x.dcm", "absolute"),
        ("a/CON", "device"),
        ("nul.dcm", "device"),
        ("com1. .dcm", "device"),
        ("company.dcm", ""),
        ("LPT9.txt", "device"),
    ],
)
def test_names_that_attack(tmp_path: Path, name: str, why: str) -> None:
    (refused,) = refusals(zipped(tmp_path / "z.zip", {name: b"x"}))
    assert (why in refused) if why else refused == ""
    assert [p.name for p in tmp_path.iterdir()] == ["z.zip"]


def test_links_twins_and_encrypted_members(tmp_path: Path) -> None:
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("Scan.dcm", b"1")
        archive.writestr("scan.DCM", b"2")
        archive.writestr("secret", b"3")
    content = bytearray(path.read_bytes())
    content[content.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert refusals(path) == ["a symbolic link", "", "another member has its name", "an encrypted member"]


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped(tmp_path / "bomb.zip", {"zeros": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED)
    assert refusals(bomb) == ["a member packed more than 100 to 1"]
    many = zipped(tmp_path / "many.zip", {str(n): os.urandom(100) for n in range(20)})
    for limit, value, why in (
        ("MAX_MEMBERS", 10, "of more than 10 members"),
        ("MAX_TOTAL_BYTES", 1000, "unpacks to more than 1000"),
        ("MAX_DIRECTORY_BYTES", 100, "a directory of more than 100"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(dicom_walk, limit, value)
            (refused,) = refusals(many)
            assert why in refused
    monkeypatch.setattr(dicom_walk, "MAX_FILE_BYTES", 50)
    assert set(refusals(many)) == {"a member of more than 50 bytes"}


def test_nested_other_packed_cut_and_lying_zips(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {"x": b"x"})
    outer = zipped(tmp_path / "outer.zip", {"inner.dcm": inner.read_bytes()})
    (found,) = walk(outer)
    with Opener() as opener, opener.open(found) as file, pytest.raises(UnreadableFile, match="zip within a zip"):
        read_dicom(file)
    lzma = zipped(tmp_path / "lzma.zip", {"x": os.urandom(99)}, compression=zipfile.ZIP_LZMA)
    assert refusals(lzma) == ["a member packed by another method"]
    cut = tmp_path / "cut.zip"
    cut.write_bytes(outer.read_bytes()[:-10])
    assert refusals(cut) == ["a damaged zip"]
    lying = tmp_path / "lying.zip"
    content = bytearray(zipped(tmp_path / "long.zip", {"x": b"abc" * 1000}, compression=8).read_bytes())
    for mark, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        struct.pack_into("<L", content, content.find(mark) + at, 10)
    lying.write_bytes(content)
    (found,) = walk(lying)
    with Opener() as opener, pytest.raises(zipfile.BadZipFile), opener.open(found):
        pass


def test_a_refused_file_is_not_opened(tmp_path: Path) -> None:
    with Opener() as opener, pytest.raises(UnreadableFile), opener.open(Found(1, tmp_path, None, "a symbolic link")):
        pass


def written(path: Path, dataset: Dataset, syntax: str = "1.2.840.10008.1.2.1") -> Path:
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.20", "1.2.3"
    dataset.save_as(path, enforce_file_format=True)
    return path


def nested(depth: int) -> Dataset:
    inner = Dataset()
    for _ in range(depth):
        outer = Dataset()
        outer.DetectorInformationSequence = [inner]
        outer["DetectorInformationSequence"].is_undefined_length = True
        inner = outer
    return inner


def test_junk_deflated_and_deep_files_are_refused_without_a_word_of_theirs(tmp_path: Path) -> None:
    dataset = Dataset()
    dataset.PatientName, dataset.Rows = "SENTINEL^ANNA", 4
    good = written(tmp_path / "good", dataset).read_bytes()
    deflated = written(tmp_path / "deflated", dataset, DeflatedExplicitVRLittleEndian).read_bytes()
    sequence = b"\x54\x00\x22\x00SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    cases = {
        "not DICOM": b"SENTINEL" * 100,
        "compressed": deflated,
        "damaged DICOM (": good + sequence * 5000,
    }
    for why, content in cases.items():
        path = tmp_path / "case"
        path.write_bytes(content)
        with path.open("rb") as file, pytest.raises(UnreadableFile) as caught:
            read_dicom(file, ["Rows", "PatientName", "DetectorInformationSequence"])
        assert why in str(caught.value)
        assert "SENTINEL" not in str(caught.value)
        assert caught.value.__cause__ is None
    with (tmp_path / "good").open("rb") as file:
        assert read_dicom(file, ["Rows"]).Rows == 4


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_walk, "MAX_FILE_BYTES", 200)
    path = written(tmp_path / "good", nested(2))
    with path.open("rb") as file, pytest.raises(UnreadableFile, match="more than 200 bytes"):
        read_dicom(file)
