"""Whole or absent."""

from pathlib import Path

import pytest

from photopeak.core.errors import BadArgument
from photopeak.io.atomic import beside, free


def test_file_appears_only_when_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    with beside(target) as partial:
        partial.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def _interrupted(target: Path, folder: bool) -> None:
    with beside(target) as partial:
        if folder:
            partial.mkdir()
        else:
            partial.write_text("half")
        raise KeyboardInterrupt


@pytest.mark.parametrize("folder", [False, True])
def test_failure_leaves_the_old_and_nothing_else(tmp_path: Path, folder: bool) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        _interrupted(target, folder)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_folder_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.mkdir()
    (target / "old").touch()
    with beside(target) as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [p.name for p in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_is_free_when_new_empty_or_ours(tmp_path):
    assert free(tmp_path / "new", {"log.txt"}) == (tmp_path / "new").resolve()
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "ac.dcm").touch()
    assert free(tmp_path, {"dicom", "dicom/ac.dcm"}) == tmp_path.resolve()
    with pytest.raises(BadArgument, match=r"which holds dicom/ac\.dcm"):
        free(tmp_path, {"dicom"})
    with pytest.raises(BadArgument, match="a file"):
        free(tmp_path / "dicom" / "ac.dcm", set())
