"""A camera that is a plain matrix, so that reconstruction is tested without physics."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from photopeak.core import SystemOperator


class MatrixSystem(SystemOperator):
    """[1, 2, 3] voxels seen by a table [view, row, column, voxel]."""

    domain_shape = (1, 2, 3)

    def __init__(self, table: Tensor) -> None:
        self.table = table

    @property
    def range_shape(self) -> tuple[int, ...]:
        return tuple(self.table.shape[:3])

    def views(self, indices: Sequence[int]) -> "MatrixSystem":
        return MatrixSystem(self.table[list(indices)])

    def _forward(self, x: Tensor) -> Tensor:
        return torch.einsum("vrcn,bn->bvrc", self.table, x.flatten(1))

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.einsum("vrcn,bvrc->bn", self.table, y).reshape(-1, *self.domain_shape)


@pytest.fixture(scope="session")
def system() -> Callable[..., MatrixSystem]:
    """``system(seed, views=5)`` makes a positive random system of 1 row and 2 columns."""

    def make(seed: int, views: int = 5) -> MatrixSystem:
        generator = torch.Generator().manual_seed(seed)
        return MatrixSystem(torch.rand((views, 1, 2, 6), generator=generator, dtype=torch.float64) + 0.01)

    return make


@pytest.fixture(scope="session")
def poisson() -> Callable[..., Tensor]:
    """``poisson(seed, shape)`` draws counts with mean 4; the first is never 0."""

    def draw(seed: int, shape: Sequence[int]) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        counts = torch.poisson(torch.full(tuple(shape), 4.0, dtype=torch.float64), generator=generator)
        counts.view(-1)[0] += 1
        return counts

    return draw


@pytest.fixture(scope="session")
def sharp() -> Callable[[MatrixSystem], MatrixSystem]:
    """The system with a bin or two that see mostly one voxel, so that loops come to rest soon."""

    def make(A: MatrixSystem) -> MatrixSystem:
        bins = 0.1 * A.table.reshape(-1, 6)
        return MatrixSystem(
            (bins + torch.eye(6, dtype=bins.dtype).repeat(len(bins) // 6 + 1, 1)[: len(bins)]).reshape(A.table.shape)
        )

    return make
