"""Typed errors that say what was given, what was needed, and what to do."""


class PhotopeakError(Exception):
    """Base of every error that photopeak raises on purpose.

    Parameters
    ----------
    given : what arrived, with its name and value.
    needed : what would have been right.
    remedy : what the user can do now.
    """

    def __init__(self, given: str, *, needed: str, remedy: str) -> None:
        self.given, self.needed, self.remedy = given, needed, remedy
        super().__init__(f"{given}; needed: {needed}. {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.given, self.needed, self.remedy)


def _rebuild(kind: type[PhotopeakError], given: str, needed: str, remedy: str) -> PhotopeakError:
    return kind(given, needed=needed, remedy=remedy)


class GridMismatch(PhotopeakError):
    """Two things that must share a grid do not."""


class ShapeMismatch(PhotopeakError):
    """An array has another shape than the operator, camera or grid it is used with."""


class WrongQuantity(PhotopeakError):
    """A volume holds another physical quantity than the one needed."""


class BadValues(PhotopeakError):
    """Numbers that cannot be what they are given as: NaN, negative counts, all zero."""


class BadArgument(PhotopeakError):
    """An argument outside its meaning."""


class MissingInput(PhotopeakError):
    """A study lacks something that a method reads."""


class UnreadableFile(PhotopeakError):
    """A file that is cut short, damaged, or of a kind that no door opens."""


class WrongModality(PhotopeakError):
    """A readable DICOM object of the wrong kind, named by its tag."""


class MissingGeometry(PhotopeakError):
    """A DICOM object without the tags that place it in the patient."""


class OutOfDomain(PhotopeakError):
    """An input outside what a method can answer for."""


class HeartNotFound(PhotopeakError):
    """No left ventricle could be located in a volume."""


class BadCheckpoint(PhotopeakError):
    """A weights file that is not ours, is damaged, or belongs to another method."""


class MissingPackage(PhotopeakError):
    """An optional package that a feature stands on is not installed."""
