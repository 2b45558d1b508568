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
    folder: Path | None, identity: Mapping[str, Any], cut: Callable[[], Iterable[Example]], *, count: int
) -> Sequence[Example]:
    """The examples that `cut` makes, from ``folder`` where they have been cut before.

    Parameters
    ----------
    folder : where examples are kept, in a subfolder for each identity; None cuts them anew, into memory.
    identity : plain values that decide what `cut` makes; anything left out of it is not noticed when it changes.
    cut : makes examples, all with the same names and shapes.
    count : how many `cut` makes.

    Returns
    -------
    list : the examples; those of a folder are mapped into memory, so that several processes share them.
    """
    if folder is None:
        return list(cut())
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    if not (folder / name).is_dir():
        _write(folder / name, cut(), count)
    arrays = {file.stem: np.load(file, mmap_mode="c") for file in sorted((folder / name).glob("*.npy"))}
    return [{key: torch.from_numpy(array[i]) for key, array in arrays.items()} for i in range(count)]


def fingerprint(tensors: Iterable[Tensor], *, every: int = 7) -> str:
    """A hash of every 7th number along each axis: enough to tell whether the images are others."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor[(slice(None, None, every),) * tensor.ndim].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _write(folder: Path, examples: Iterable[Example], count: int) -> None:
    """Write examples one by one so that the folder is whole or absent, also with several processes at it."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        arrays: dict[str, np.memmap[Any, Any]] = {}
        for number, example in zip(range(count), examples, strict=True):
            for name, tensor in example.items():
                values, file = tensor.numpy(), partial / f"{name}.npy"
                if name not in arrays:
                    arrays[name] = np.lib.format.open_memmap(file, "w+", values.dtype, (count, *values.shape))
                arrays[name][number] = values
        for array in arrays.values():
            array.flush()
        if not folder.is_dir():
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
