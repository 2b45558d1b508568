"""The Poisson log-likelihood of counts, and the deviance: how far it is below that of a perfect fit."""

import torch
from torch import Tensor

from photopeak.core import LinearOperator


def log_likelihood(A: LinearOperator, image: Tensor, counts: Tensor, *, background: Tensor | float = 0.0) -> Tensor:
    """Sum over bins of ``y log(Ax + b) - (Ax + b)``, without the constant of the data; float64."""
    expected = (A(image) + background).double()
    return (torch.xlogy(counts.double(), expected) - expected).sum()


def deviance(A: LinearOperator, image: Tensor, counts: Tensor, *, background: Tensor | float = 0.0) -> Tensor:
    """``2 (log-likelihood of y expecting y - log-likelihood of y expecting Ax + b)``, float64.

    At least 0; about the number of bins where the expectation is the truth and counts are not few.
    """
    y = counts.double()
    return 2 * ((torch.xlogy(y, y) - y).sum() - log_likelihood(A, image, counts, background=background))
