from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from photopeak.core import LinearOperator
from photopeak.core.errors import BadArgument, ShapeMismatch
from photopeak.testing import check_operator


@dataclass(frozen=True, eq=False)
class Matrix(LinearOperator):
    matrix: Tensor

    domain_shape = property(lambda self: (self.matrix.shape[1],))
    range_shape = property(lambda self: (self.matrix.shape[0],))

    def _forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T.to(x.dtype)

    def _adjoint(self, y: Tensor) -> Tensor:
        return y @ self.matrix.to(y.dtype)


@pytest.fixture
def a(generator: torch.Generator) -> Matrix:
    return Matrix(torch.randn((5, 4), generator=generator, dtype=torch.float64))


@pytest.fixture
def b(generator: torch.Generator) -> Matrix:
    return Matrix(torch.randn((4, 3), generator=generator, dtype=torch.float64))


def test_matrix_its_adjoint_and_compositions_keep_the_contract(a, b, generator):
    for operator in (a, a.T, a @ b, (a @ b).T, a.T @ a):
        check_operator(operator, generator=generator)


def test_composition_is_the_product(a, b, generator):
    x = torch.randn(3, generator=generator, dtype=torch.float64)
    y = torch.randn(5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close((a @ b)(x), a.matrix @ b.matrix @ x)
    torch.testing.assert_close((a @ b).T(y), (a.matrix @ b.matrix).T @ y)


def test_sum_is_the_sum(a, generator):
    other = Matrix(torch.randn((5, 4), generator=generator, dtype=torch.float64))
    check_operator(a + other, generator=generator)
    torch.testing.assert_close((a + other)(x := torch.ones(4, dtype=torch.float64)), (a.matrix + other.matrix) @ x)


def test_adjoint_of_the_adjoint_is_the_operator(a):
    assert a.T.T is a
    assert (a.T.domain_shape, a.T.range_shape) == ((5,), (4,))


def test_gradient_is_the_adjoint_and_the_second_derivative_the_normal_operator(a, generator):
    x = torch.randn(4, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(5, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(0.5 * (a(x) - y).square().sum(), x, create_graph=True)
    torch.testing.assert_close(gradient, a.matrix.T @ (a.matrix @ x - y))
    hessian = torch.autograd.functional.hessian(lambda u: 0.5 * (a(u) - y).square().sum(), x.detach())
    torch.testing.assert_close(hessian, a.matrix.T @ a.matrix)


def test_batch_axes_go_in_front(a, generator):
    x = torch.randn((2, 3, 4), generator=generator, dtype=torch.float64)
    assert a(x).shape == (2, 3, 5)
    assert a(x[0, 0]).shape == (5,)
    torch.testing.assert_close(a(x)[1, 2], a(x[1, 2]))


@pytest.mark.parametrize("shape", [(5,), (4, 2), (2, 3, 5)])
def test_wrong_shapes_are_refused_by_name(a, shape):
    with pytest.raises(ShapeMismatch, match="Matrix was given shape"):
        a(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.complex64])
def test_numbers_that_would_lose_what_the_operator_gives(a, dtype):
    with pytest.raises(BadArgument, match="float32 or float64"):
        a(torch.ones(4, dtype=dtype))


def test_operators_that_do_not_fit_do_not_compose(a, b):
    with pytest.raises(ShapeMismatch, match="A @ B"):
        b @ a


def test_operators_of_other_shapes_do_not_add(a, b):
    with pytest.raises(ShapeMismatch, match="A \\+ B"):
        a + b
