"""photopeak: reconstruction and translation in emission tomography with physics-aware diffusion.

Research software. Not a medical device. Not for diagnosis or treatment.

The verbs are imported on first use, so that ``import photopeak`` costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_VERBS = {
    "load": ("photopeak.io", "load"),
    "save": ("photopeak.io", "save"),
    "method": ("photopeak.methods", "method"),
    "fit": ("photopeak.learn.loop", "fit"),
    "score": ("photopeak.metrics", "score"),
    "report": ("photopeak.evaluate.report", "write_report"),
}

__all__ = ["__version__", *_VERBS]


def __getattr__(name: str) -> Any:
    if name not in _VERBS:
        raise AttributeError(f"module 'photopeak' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")
    module, attribute = _VERBS[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
