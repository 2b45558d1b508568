"""The Poisson log-likelihood of counts."""

import torch
from torch import Tensor

from photopeak.core import LinearOperator


def log_likelihood(A: LinearOperator, image: Tensor, counts: Tensor, *, background: Tensor | float = 0.0) -> Tensor:
    """Sum over bins of ``y log(Ax + b) - (Ax + b)``, without the constant of the data; float64."""
    expected = (A(image) + background).double()
    return (torch.xlogy(counts.double(), expected) - expected).sum()
