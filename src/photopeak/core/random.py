"""Independent streams of chance, each from a seed and a number."""

import torch

_STRIDE = 1_000_003
_SEEDS = 2**32
"""The CPU generator takes the low 32 bits of a seed and drops the rest without a word."""


def stream(seed: int, number: int) -> torch.Generator:
    """The generator of one item (a patient, a training step, a sample) of everything that `seed` decides."""
    return torch.Generator().manual_seed((seed * _STRIDE + number) % _SEEDS)
