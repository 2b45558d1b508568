"""Find the metrics, and apply those of volumes to two volumes of a study."""

import pkgutil
from importlib import import_module
from pathlib import Path

from torch import Tensor

from photopeak.core import Study
from photopeak.metrics.metric import Metric


def all_metrics() -> dict[str, Metric[...]]:
    """Every metric by name: the object in each file of this room that bears the file's own name."""
    modules = {
        m.name: import_module(f"photopeak.metrics.{m.name}") for m in pkgutil.iter_modules([Path(__file__).parent])
    }
    named = {name: getattr(module, name, None) for name, module in sorted(modules.items())}
    return {name: found for name, found in named.items() if isinstance(found, Metric)}


def score(study: Study, *, of: str, truth: str, mask: Tensor | None = None) -> dict[str, float]:
    """Every metric of volumes for ``study[of]`` against ``study[truth]``.

    Parameters
    ----------
    of, truth : names of two volumes of one quantity on one grid.
    mask : bool Tensor [z, y, x], the voxels that count; all of them if None.
    """
    estimate, reference = study[of], study[truth]
    reference.grid.require_same(estimate.grid, mine=truth, theirs=of)
    estimate.require(reference.quantity, name=of)
    return {name: found(estimate, reference, mask) for name, found in all_metrics().items() if found.of == "volumes"}
