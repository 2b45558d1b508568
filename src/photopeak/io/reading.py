"""What every reader shares: a limit on sizes, and one error for damaged files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from photopeak.core.errors import PhotopeakError, UnreadableFile

MAX_VOXELS = 2**28


@contextmanager
def reading(path: Path, needed: str) -> Iterator[None]:
    """Whatever fails inside because a file is damaged becomes an UnreadableFile that names `path`."""
    try:
        yield
    except PhotopeakError:
        raise
    except Exception as error:  # a damaged file fails in many ways; each means the same to the user
        raise UnreadableFile(
            f"{path} is damaged or not what it is called ({type(error).__name__}: {error})",
            needed=needed,
            remedy="Check the path, or export the file again.",
        ) from error
