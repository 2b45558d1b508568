"""The layer rule: a room imports only from lower floors, and rooms on one floor do not know each other."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "photopeak"
FLOORS = {
    **dict.fromkeys(("core", "nets", "diffusion"), 1),
    **dict.fromkeys(("physics", "recon", "learn", "metrics", "cardiac", "simulate"), 2),
    **dict.fromkeys(("io", "methods", "evaluate", "serve", "testing"), 3),
    "cli": 4,
    "__main__": 5,
}
OPEN_TO_ALL = "core"
ROOT = "__init__"
TRAINING_ROOMS = {r for r, floor in FLOORS.items() if floor <= 2} | {"methods"}
TRAINING_PACKAGES = {"torch", "numpy", "scipy", "monai", "einops", "safetensors", "numba"}
DOOR_PACKAGES = {"pydicom", "highdicom", "nibabel"}
REPORT_PACKAGES = {"matplotlib", "jinja2"}
OPTIONAL_PACKAGES = {"physics/ring_parallelproj.py": "parallelproj"}
"""What a single file may load on first use, where a user has it."""


@dataclass(frozen=True)
class Import:
    """One imported module or name, where it stands, and whether it waits inside a function."""

    target: str
    line: int
    lazy: bool


def imports(tree: ast.AST, module: tuple[str, ...], *, lazy: bool = False) -> Iterator[Import]:
    """Every import below `tree` of the module at path `module`, import_module("...") included."""
    for node in ast.iter_child_nodes(tree):
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module[:-1][: len(module) - node.level] if node.level else ()
            base = ".".join((*package, *filter(None, [node.module])))
            yield from (Import(f"{base}.{alias.name}", node.lineno, lazy) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            first = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            if isinstance(first, ast.Constant):
                yield Import(str(first.value), node.lineno, lazy)
        yield from imports(node, module, lazy=inside)


def violations(source: str, path: str) -> list[str]:
    """What the file at `path` (relative to the package) imports against the rules."""
    module = ("photopeak", *Path(path).with_suffix("").parts)
    room = module[1]
    if room != ROOT and room not in FLOORS:
        return [f"{path}: room {room!r} is on no floor"]
    found = []
    for one in imports(ast.parse(source), module):
        parts = one.target.split(".")
        complaint = _inward(room, parts, one) if parts[0] == "photopeak" else _outward(room, parts[0], one, path)
        if complaint:
            found.append(f"{path}:{one.line}: {one.target}: {complaint}")
    return found


def _inward(room: str, parts: list[str], one: Import) -> str | None:
    if room == ROOT:
        return None if one.lazy else "the package may import its rooms only on first use"
    other = parts[1] if len(parts) > 1 else ROOT
    if other == "__version__" or other in (room, OPEN_TO_ALL):
        return None
    if other not in FLOORS:
        return "rooms are imported by name, not through the package"
    if FLOORS[other] >= FLOORS[room]:
        return f"floor {FLOORS[room]} ({room}) imports floor {FLOORS[other]} ({other})"
    return None


def _outward(room: str, package: str, one: Import, path: str) -> str | None:
    if package in sys.stdlib_module_names or (one.lazy and OPTIONAL_PACKAGES.get(path) == package):
        return None
    if room == ROOT and not one.lazy:
        return "the package imports nothing but the standard library"
    if room in TRAINING_ROOMS and package not in TRAINING_PACKAGES:
        return "a training room imports only " + ", ".join(sorted(TRAINING_PACKAGES))
    if package in DOOR_PACKAGES and room != "io":
        return "only io opens files of this kind"
    if package in REPORT_PACKAGES and (room != "evaluate" or not one.lazy):
        return "only inside functions of evaluate"
    return None


@pytest.mark.parametrize("path", sorted(str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*.py")))
def test_every_file_keeps_the_rule(path: str):
    assert violations((SOURCE / path).read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("recon/updates.py", "from photopeak.physics.attenuation import chang"),
        ("recon/updates.py", "import photopeak.physics"),
        ("recon/updates.py", "from photopeak import physics"),
        ("recon/updates.py", "from ..physics import attenuation"),
        ("recon/updates.py", "from .. import physics"),
        ("recon/__init__.py", "from ..physics import attenuation"),
        ("recon/updates.py", "def f():\n    from photopeak.methods import padm"),
        ("recon/updates.py", "import_module('photopeak.physics.ring')"),
        ("recon/updates.py", "importlib.import_module(f'photopeak.physics.{name}')"),
        ("recon/updates.py", "import photopeak"),
        ("recon/updates.py", "from photopeak import score"),
        ("core/grid.py", "from photopeak.nets import unet"),
        ("methods/padm.py", "from photopeak.io import load"),
        ("io/__init__.py", "from photopeak.cli import main"),
        ("testing.py", "from photopeak.evaluate import stats"),
        ("physics/mumap.py", "import pydicom"),
        ("methods/padm.py", "def f():\n    import matplotlib.pyplot as plt"),
        ("nets/unet.py", "import torchvision"),
        ("physics/ring_parallelproj.py", "import parallelproj"),
        ("physics/ring.py", "def f():\n    import parallelproj"),
        ("serve/node.py", "from pydicom import dcmread"),
        ("evaluate/report.py", "import matplotlib.pyplot as plt"),
        ("evaluate/report.py", "class Report:\n    from jinja2 import Template"),
        ("cli.py", "def f():\n    import jinja2"),
        ("__init__.py", "from photopeak.io import load"),
        ("__init__.py", "from photopeak import io"),
        ("__init__.py", "from .io import load"),
        ("__init__.py", "import torch"),
        ("utils/files.py", ""),
    ],
)
def test_the_checker_sees_what_is_wrong(path: str, source: str):
    assert len(violations(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/volume.py", "from photopeak.core.grid import Grid\nfrom .grid import Grid\nimport torch, sys"),
        ("nets/unet.py", "from photopeak.core import Grid\nfrom monai.networks.nets import UNet"),
        ("methods/osem.py", "from photopeak.recon.updates import em_update\nfrom ..physics import ring"),
        ("methods/__init__.py", "from . import osem\nfrom .osem import Osem"),
        ("io/nifti.py", "import nibabel\nimport pydicom"),
        ("physics/ring_parallelproj.py", "def f():\n    import_module('parallelproj')"),
        ("evaluate/report.py", "def f():\n    import matplotlib.pyplot as plt\n    from jinja2 import Template"),
        ("cli.py", "from photopeak import __version__, io, serve\nimport typer"),
        ("__init__.py", "from importlib import import_module\ndef f():\n    from photopeak.io import load"),
    ],
)
def test_the_checker_leaves_good_files_alone(path: str, source: str):
    assert violations(source, path) == []
