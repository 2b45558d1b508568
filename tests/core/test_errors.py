import inspect
import pickle

import pytest

from photopeak.core import errors
from photopeak.core.errors import GridMismatch, PhotopeakError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_given_needed_and_remedy(kind: type[PhotopeakError]):
    error = kind("a banana", needed="an apple", remedy="Go to the market.")
    assert isinstance(error, PhotopeakError)
    assert str(error) == "a banana; needed: an apple. Go to the market."
    assert kind.__doc__


def test_errors_cross_process_borders_whole():
    error = pickle.loads(pickle.dumps(GridMismatch("a", needed="b", remedy="C.")))
    assert type(error) is GridMismatch
    assert (error.given, error.needed, error.remedy) == ("a", "b", "C.")


def test_an_error_without_a_remedy_cannot_be_made():
    with pytest.raises(TypeError):
        GridMismatch("a", needed="b")
