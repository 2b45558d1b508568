"""The style and frame that every page shares."""

from importlib.resources import files
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from photopeak.evaluate.page import encoded, page, write_page

TEMPLATES = sorted(p.name for p in files("photopeak.evaluate").iterdir() if p.name.endswith(".html"))


def test_every_template_takes_style_and_notice_from_one_file() -> None:
    assert "page.html" in TEMPLATES
    assert len(TEMPLATES) >= 6
    for name in set(TEMPLATES) - {"page.html"}:
        source = files("photopeak.evaluate").joinpath(name).read_text(encoding="utf-8")
        assert source.startswith('{% extends "page.html" %}') == (name != "parts.html"), name
        assert "<style" not in source, name
        assert 'class="notice"' not in source, name


def test_what_is_said_is_escaped_and_what_is_missing_is_an_error() -> None:
    made = page("page.html", notice="<b>not</b> for diagnosis")
    assert made.count('<p class="notice">&lt;b&gt;not&lt;/b&gt; for diagnosis</p>') == 2
    assert "<script" not in made
    assert "default-src 'none'" in made
    with pytest.raises(UndefinedError, match="notice"):
        page("page.html")


def test_a_failure_leaves_the_old_page_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_page("old", tmp_path / "new" / "a.html")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("photopeak.evaluate.page.os.replace", full)
    with pytest.raises(OSError, match="no space"):
        write_page("new", path)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_pictures_are_base64() -> None:
    assert encoded(b"\x89PNG") == "iVBORw=="
