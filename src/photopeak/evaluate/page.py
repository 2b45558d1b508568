"""What HTML pages of ours share: style and notice in ``page.html``, pieces in ``parts.html``, and how a page is made.

A page needs nothing beside it, runs no script and bears no date: the same content gives the same bytes.
"""

import base64
import os
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path


def page(template: str, *, filters: Mapping[str, Callable[..., str]] | None = None, **content: object) -> str:
    """A template beside this file, which extends ``page.html``, filled with `content`.

    Parameters
    ----------
    filters : functions that the template applies with a bar.
    content : what it names; "notice" is needed by all, and a name that is missing is an error of jinja2.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    return environment.get_template(template).render(content)


def encoded(png: bytes) -> str:
    """A picture as it stands in a page after ``data:image/png;base64,``."""
    return base64.b64encode(png).decode("ascii")


def write_page(text: str, path: Path) -> Path:
    """Write a page to `path`, where it is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _source(template: str) -> str:
    return files("photopeak.evaluate").joinpath(template).read_text(encoding="utf-8")
