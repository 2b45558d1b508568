"""Files and folders that are whole or absent: written beside their place, then renamed into it."""

import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from photopeak.core.errors import BadArgument


def free(folder: Path, ours: Collection[str]) -> Path:
    """`folder`, absolute, if writing there loses nothing but files of an earlier answer, which `ours` names."""
    folder = folder.resolve()
    entries = {p.relative_to(folder).as_posix() for p in folder.rglob("*")} if folder.is_dir() else set()
    others = sorted(entries - set(ours))
    if others or folder.is_file():
        raise BadArgument(
            f"{folder}, which holds {', '.join(others[:3]) or 'a file'}",
            needed="a new or empty folder, or an earlier result",
            remedy="Choose another place.",
        )
    return folder


@contextmanager
def beside(target: Path, *, suffix: str = "") -> Iterator[Path]:
    """A free path next to `target` that takes its place when the block succeeds and vanishes when it fails.

    What the block makes there may be a file or a folder; a file or folder already at `target` is replaced. `suffix`
    ends the temporary name, for writers that choose their format by it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    partial = target.with_name(f".{mark}.partial{suffix}")
    try:
        yield partial
        if target.is_dir():
            old = target.with_name(f".{mark}.replaced")
            target.rename(old)
            partial.rename(target)
            shutil.rmtree(old)
        else:
            os.replace(partial, target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)
