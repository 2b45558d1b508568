import json
import subprocess
import sys

import pytest

import photopeak

PROBE = """
import json, sys
import photopeak
heavy = [m for m in ("torch", "numpy", "scipy", "monai", "pydicom", "matplotlib") if m in sys.modules]
sys.stderr.write(json.dumps(heavy))
"""


def test_import_is_cheap_and_silent():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert json.loads(done.stderr) == []


def test_verbs_are_imported_on_first_use():
    from photopeak.metrics.scoring import score

    assert photopeak.score is score
    assert set(dir(photopeak)) >= {"score", "load", "save", "method", "fit", "report"}


def test_unknown_name_lists_what_there_is():
    with pytest.raises(AttributeError, match=r"'scores'; it has .*score"):
        photopeak.scores  # noqa: B018


@pytest.mark.parametrize("verb", sorted(set(photopeak.__all__) - {"__version__"}))
def test_every_verb_is_there(verb: str) -> None:
    assert callable(getattr(photopeak, verb))
