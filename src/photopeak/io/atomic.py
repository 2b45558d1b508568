"""Files and folders that are whole or absent: written beside their place, then renamed into it."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
