"""Every file of a folder tree, zips included, looked at once and safely: what may be opened, and why the rest may not.

Nothing is ever written under a name from the outside, links are not followed, and whatever a file or a zip announces
is held against a limit before anything is decoded. Reasons name no path and quote no header, since both hold names of
patients.
"""

import os
import re
import stat
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, cast

import pydicom
from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from photopeak.core.errors import BadArgument, PhotopeakError, UnreadableFile

MAX_FILE_BYTES = 2**29
MAX_VALUE_BYTES = 2**16
MAX_ENTRIES = 2_000_000
MAX_TREE_DEPTH = 64
MAX_MEMBERS = 200_000
MAX_DIRECTORY_BYTES = 2**26
MAX_TOTAL_BYTES = 2**36
MAX_RATIO = 100
MAX_NAME = 1024
_UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_IN_MEMORY_BYTES = 2**24
_CHUNK = 2**20
_ROOT = os.sep + "zip"
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CLOCK\$|COM\d|LPT\d)(\..*)?", re.IGNORECASE)
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ZIP_STARTS = (b"PK\x03\x04", _END)


@dataclass(frozen=True)
class Found:
    """A file of a tree, or a member of a zip in it.

    Parameters
    ----------
    number : running number in the order of the walk, from 1.
    path : the file or the zip.
    member : index of the member in the zip's directory; None for a file of its own.
    refused : why it must not be opened; empty where it may.
    """

    number: int
    path: Path
    member: int | None = None
    refused: str = ""


class Opener:
    """Opens found files for reading. The zip opened last stays open, since a long directory takes long to read."""

    def __init__(self) -> None:
        self._zip: zipfile.ZipFile | None = None

    def __enter__(self) -> "Opener":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._zip is not None:
            self._zip.close()

    @contextmanager
    def open(self, found: Found) -> Iterator[BinaryIO]:
        """The bytes of a file that was not refused, seekable."""
        if found.refused:
            raise UnreadableFile(f"file {found.number}: {found.refused}", needed="a file that may be opened", remedy="")
        if found.member is None:
            with found.path.open("rb") as file:
                yield file
            return
        if self._zip is None or self._zip.filename != str(found.path):
            if self._zip is not None:
                self._zip.close()
            self._zip = zipfile.ZipFile(found.path)
        info = self._zip.infolist()[found.member]
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as copy, self._zip.open(info) as packed:
            left = info.file_size
            while chunk := packed.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise zipfile.BadZipFile("more than announced")
                copy.write(chunk)
            copy.seek(0)
            yield cast(BinaryIO, copy)


def walk(root: Path) -> Iterator[Found]:
    """Each file below `root` (a folder, a zip or a single file) once, in the order of names; zips give their members.

    Raises
    ------
    BadArgument : `root` is not there.
    """
    if not root.exists():
        raise BadArgument("DICOM_DIR, which does not exist", needed="a folder or zip", remedy="Check the path.")
    number = 0
    for path, refused in _files(root.resolve()):
        parts = [(None, refused)] if refused or not _is_zip(path) else _members(path)
        for member, why in parts:
            number += 1
            yield Found(number, path, member, why)


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    """Paths below `root`, each with why it must not be opened; links and devices are never opened."""
    if not root.is_dir():
        yield root, _refusal_of_file(root)
        return
    waiting, seen = [(root, 0)], 0
    while waiting:
        folder, depth = waiting.pop()
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            yield folder, "a folder that cannot be read"
            continue
        below = []
        for name in names:
            path = folder / name
            seen += 1
            if seen > MAX_ENTRIES:
                yield folder, f"the rest of a tree of more than {MAX_ENTRIES} entries"
                return
            if path.is_symlink() or not path.is_dir():
                yield path, _refusal_of_file(path)
            elif depth == MAX_TREE_DEPTH:
                yield path, f"a folder more than {MAX_TREE_DEPTH} deep"
            else:
                below.append((path, depth + 1))
        waiting += reversed(below)


def _refusal_of_file(path: Path) -> str:
    try:
        status = path.lstat()
    except OSError:
        return "it cannot be read"
    if stat.S_ISLNK(status.st_mode):
        return "a symbolic link"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    return "it cannot be read" if not os.access(path, os.R_OK) else ""


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in _ZIP_STARTS


def _members(path: Path) -> Sequence[tuple[int | None, str]]:
    """Index of each member of a zip with why it must not be opened; one refusal where the whole zip is refused."""
    try:
        with path.open("rb") as file:
            if _directory_bytes(file) > MAX_DIRECTORY_BYTES:
                return [(None, f"a zip with a directory of more than {MAX_DIRECTORY_BYTES} bytes")]
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return [(None, "a damaged zip")]
    if len(infos) > MAX_MEMBERS:
        return [(None, f"a zip of more than {MAX_MEMBERS} members")]
    if sum(info.file_size for info in infos) > MAX_TOTAL_BYTES:
        return [(None, f"a zip that unpacks to more than {MAX_TOTAL_BYTES} bytes")]
    names: set[str] = set()
    members = []
    for index, info in enumerate(infos):
        if info.is_dir() and not info.file_size:
            continue
        folded = info.orig_filename.casefold()
        why = _refusal_of_member(info)
        members.append((index, why or ("another member has its name" if folded in names else "")))
        names.add(folded)
    return members


def _directory_bytes(file: IO[bytes]) -> int:
    """What a zip's end records say of the size of its directory, which is what reading it will take."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**16 - 22))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0:
        raise zipfile.BadZipFile("no end record")
    sizes = [struct.unpack_from("<L", tail, at + 12)[0] % 0xFFFFFFFF]
    if at >= 20 and tail[at - 20 : at - 16] == _LOCATOR64:
        for start in {struct.unpack_from("<Q", tail, at - 12)[0], max(0, size - len(tail) + at - 76)}:
            file.seek(start)
            record = file.read(56)
            if record[:4] == _END64 and len(record) == 56:
                sizes.append(struct.unpack_from("<Q", record, 40)[0])
    return max(sizes)


def _refusal_of_member(info: zipfile.ZipInfo) -> str:
    """Why a member is not opened. Names decide nothing here, but one that attacks makes its content suspect."""
    name = info.orig_filename.replace("\\", "/")
    parts = [part for part in name.split("/") if part]
    kind = stat.S_IFMT(info.external_attr >> 16)
    inside = os.path.commonpath([_ROOT, os.path.normpath(os.path.join(_ROOT, name))]) == _ROOT
    checks = (
        (info.flag_bits & 0x1, "an encrypted member"),
        (stat.S_ISLNK(info.external_attr >> 16), "a symbolic link"),
        (kind not in (0, stat.S_IFREG), "not a regular file"),
        (len(name) > MAX_NAME or "\0" in name or not parts, "a member with a malformed name"),
        (name.startswith("/") or ":" in name, "a member with an absolute name"),
        (not inside or ".." in parts, 'a member with ".." in its name'),
        (any(_DEVICE.fullmatch(part.rstrip(". ")) for part in parts), "a member with the name of a device"),
        (info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED), "a member packed by another method"),
        (info.file_size > MAX_FILE_BYTES, f"a member of more than {MAX_FILE_BYTES} bytes"),
        (info.file_size > MAX_RATIO * max(info.compress_size, 1), f"a member packed more than {MAX_RATIO} to 1"),
    )
    return next((why for bad, why in checks if bad), "")


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silence pydicom's warnings, which quote the values that they warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_dicom(file: BinaryIO, keywords: Sequence[str] | None = None) -> Dataset:
    """The uncompressed DICOM object in an open file.

    Parameters
    ----------
    keywords : read only these and no pixels, none of more than 64 KiB.

    Raises
    ------
    UnreadableFile : with a reason that quotes nothing of the file.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(132)
    if start[:4] in _ZIP_STARTS:
        raise _unreadable("a zip within a zip")
    if start[128:] != b"DICM":
        raise _unreadable("not DICOM")
    if size > MAX_FILE_BYTES:
        raise _unreadable(f"more than {MAX_FILE_BYTES} bytes")
    try:
        with quiet_pydicom():
            meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
            syntax = str(meta.get("TransferSyntaxUID", "absent"))
            if syntax not in _UNCOMPRESSED:
                raise _unreadable("compressed, or Transfer Syntax UID (0002,0010) absent")
            file.seek(0)
            if keywords is None:
                return pydicom.dcmread(file)
            return pydicom.dcmread(
                file, stop_before_pixels=True, specific_tags=list(keywords), defer_size=MAX_VALUE_BYTES
            )
    except PhotopeakError:
        raise
    except Exception as error:  # a damaged file fails in many ways; each means the same, and its text may quote a name
        raise _unreadable(f"damaged DICOM ({type(error).__name__})") from None


def _unreadable(why: str) -> UnreadableFile:
    return UnreadableFile(why, needed="a whole, uncompressed DICOM file", remedy="Export it again.")
