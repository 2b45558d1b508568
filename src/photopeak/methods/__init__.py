"""One file, one paper: methods found by the name of their file."""

import inspect
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from photopeak.core import Method
from photopeak.core.errors import BadArgument


def method_class(name: str) -> type[Method]:
    """The class of a method: "padm" is in padm.py, and so is "padm_teacher"."""
    for module in (name, name.split("_")[0]):
        if name.isidentifier() and resources.files(__name__).joinpath(f"{module}.py").is_file():
            for _, found in inspect.getmembers(import_module(f"{__name__}.{module}"), inspect.isclass):
                if issubclass(found, Method) and getattr(found, "name", None) == name:
                    return found
    raise BadArgument(f"method {name!r}", needed=f"one of {', '.join(method_names())}", remedy="Check the spelling.")


def method_names() -> list[str]:
    """Every method that can be asked for by name."""
    names = set()
    for file in resources.files(__name__).iterdir():
        if file.name.endswith(".py") and file.name != "__init__.py":
            module = import_module(f"{__name__}.{file.name.removesuffix('.py')}")
            names |= {
                found.name
                for _, found in inspect.getmembers(module, inspect.isclass)
                if issubclass(found, Method) and isinstance(getattr(found, "name", None), str)
            }
    return sorted(names)


def method(name: str, weights: Path | None = None, **arguments: Any) -> Method:
    """A method ready for use; a learned one comes with its shipped weights unless others are given.

    Parameters
    ----------
    name : for example "padm", "osem".
    weights : a file written by training; its recorded constructor arguments are used.
    arguments : settings of use, for example ``steps=5`` of "padm"; constructor arguments of a method without weights.
    """
    kind: Any = method_class(name)
    if not hasattr(kind, "restored"):
        return kind(**arguments)
    ready = kind.restored(weights or shipped_weights(name))
    unknown = set(arguments) - set(inspect.signature(ready.using).parameters)
    if unknown:
        raise BadArgument(
            f"{', '.join(sorted(unknown))} of {name}",
            needed=" or ".join(inspect.signature(ready.using).parameters),
            remedy="Leave out what this method does not have.",
        )
    return ready.using(**arguments) if arguments else ready


def shipped_weights(name: str) -> Path:
    """The weights file that comes with photopeak.

    Raises
    ------
    BadArgument : none is shipped for this method.
    """
    path = Path(str(resources.files("photopeak") / "weights" / f"{name}.safetensors"))
    if not path.is_file():
        raise BadArgument(
            f"no shipped weights for {name}", needed="weights=FILE", remedy=f"Train it: photopeak train {name} COHORT."
        )
    return path
