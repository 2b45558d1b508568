"""Training examples that are kept on disk between trainings, since cutting them takes longer than reading them."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Example = Mapping[str, Tensor]


def kept_examples(
    folder: Path | None, identity: Mapping[str, Any], cut: Callable[[], Iterable[Example]]
) -> Sequence[Example]:
    """The examples that `cut` makes, from ``folder`` where they have been cut before.

    Parameters
    ----------
    folder : where examples are kept, in a subfolder for each identity; None cuts them anew, into memory.
    identity : plain values that decide what `cut` makes; anything left out of it is not noticed when it changes.
    cut : makes examples, all with the same names and shapes.

    Returns
    -------
    list : the examples; those of a folder are mapped into memory, so that several processes share them.
    """
    if folder is None:
        return list(cut())
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    if not (folder / name).is_dir():
        _write(folder / name, list(cut()))
    arrays = {file.stem: np.load(file, mmap_mode="c") for file in sorted((folder / name).glob("*.npy"))}
    count = min(len(array) for array in arrays.values())
    return [{key: torch.from_numpy(array[i]) for key, array in arrays.items()} for i in range(count)]


def fingerprint(tensors: Iterable[Tensor], *, every: int = 7) -> str:
    """A hash of every 7th number along each axis: enough to tell whether the images are others."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor[(slice(None, None, every),) * tensor.ndim].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _write(folder: Path, examples: Sequence[Example]) -> None:
    """Write examples so that the folder is whole or absent, also with several processes at it."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        for name in examples[0]:
            np.save(partial / f"{name}.npy", torch.stack([example[name] for example in examples]).numpy())
        if not folder.is_dir():
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
