"""Each check must pass what is right and fail what is wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from photopeak.core import (
    COUNTS,
    Camera,
    Grid,
    LinearOperator,
    Method,
    Step,
    Study,
    SystemOperator,
    Volume,
    attenuation,
)
from photopeak.core.camera import checked_views
from photopeak.metrics.metric import Metric, metric
from photopeak.metrics.nrmse import nrmse
from photopeak.physics.attenuation import checked_mu
from photopeak.testing import check_camera, check_method, check_metric, check_operator

GRID = Grid.regular((3, 4, 4), 4.0)
MU = Volume(torch.full(GRID.shape, 0.1), GRID, attenuation(140.5))


@dataclass(frozen=True)
class Bendable(LinearOperator):
    """A matrix whose two directions can be spoiled."""

    matrix: Tensor
    forward: Callable[[Tensor], Tensor] = lambda y: y
    adjoint: Callable[[Tensor], Tensor] = lambda x: x

    domain_shape = property(lambda self: (self.matrix.shape[1],))
    range_shape = property(lambda self: (self.matrix.shape[0],))

    def _forward(self, x: Tensor) -> Tensor:
        return self.forward(x @ self.matrix.T.to(x.dtype))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.adjoint(y @ self.matrix.to(y.dtype))


@pytest.fixture
def matrix(generator: torch.Generator) -> Tensor:
    return torch.randn((5, 4), generator=generator, dtype=torch.float64)


def test_a_matrix_is_an_operator(matrix, generator):
    check_operator(Bendable(matrix), generator=generator)


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ({"adjoint": lambda x: 1.0001 * x}, "dot test"),
        ({"adjoint": lambda x: x.flip(-1)}, "dot test"),
        ({"forward": lambda y: y.float()}, "not"),
        ({"forward": lambda y: y.clamp(min=-1e-30), "adjoint": lambda x: x}, "dot test"),
        ({"forward": lambda y: y - y.mean(0) if len(y) > 1 else y}, "batch"),
    ],
)
def test_spoilt_operators_are_caught(matrix, generator, spoilt, message):
    with pytest.raises(AssertionError, match=message):
        check_operator(Bendable(matrix, **spoilt), generator=generator)


def test_a_detector_that_saturates_is_not_linear(generator):
    # The dot test's numbers stay below the limit, their multiples do not.
    saturating = Bendable(torch.eye(200, dtype=torch.float64), forward=lambda y: y.clamp(-4.5, 4.5))
    with pytest.raises(AssertionError, match="not linear"):
        check_operator(saturating, generator=generator)


class Detached(Bendable):
    def __call__(self, x: Tensor) -> Tensor:
        return x + (super().__call__(x) - x).detach()


class OnceDifferentiable(Bendable):
    def __call__(self, x: Tensor) -> Tensor:
        y = super().__call__(x)
        return Frozen.apply(y)


class Frozen(torch.autograd.Function):
    """Identity whose gradient is a constant to autograd."""

    @staticmethod
    def forward(ctx, y):
        return y.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient.detach()


@pytest.mark.parametrize(("kind", "message"), [(Detached, "of the forward"), (OnceDifferentiable, "of the gradient")])
def test_wrong_derivatives_are_caught(kind, message, generator):
    with pytest.raises(AssertionError, match=message):
        check_operator(kind(torch.eye(4, dtype=torch.float64) * 2), generator=generator)


@dataclass(frozen=True)
class SumSystem(SystemOperator):
    """Line sums along y (even views) and x (odd views) of a grid with ny = nx."""

    shape: tuple[int, int, int]
    kept: tuple[int, ...]
    weight: float = 1.0
    skew: float = 0.0

    domain_shape = property(lambda self: self.shape)
    range_shape = property(lambda self: (len(self.kept), self.shape[0], self.shape[2]))

    def _forward(self, x: Tensor) -> Tensor:
        return self.weight * torch.stack([x.sum(2 + v % 2) + self.skew * x[:, :, 0] for v in self.kept], dim=1)

    def _adjoint(self, y: Tensor) -> Tensor:
        image = y.new_zeros((y.shape[0], *self.shape))
        for i, v in enumerate(self.kept):
            image = image + y[:, i].unsqueeze(2 + v % 2)
            image[:, :, 0] += self.skew * y[:, i]
        return self.weight * image

    def views(self, indices: Sequence[int]) -> "SumSystem":
        kept = tuple(self.kept[i] for i in checked_views(indices, len(self.kept)))
        return SumSystem(self.shape, kept, self.weight, self.skew)


class Shuffled(SumSystem):
    def views(self, indices: Sequence[int]) -> SumSystem:
        return super().views([(i + 1) % len(self.kept) for i in indices])


@dataclass(frozen=True)
class SumCamera(Camera):
    kept: tuple[int, ...] = (0, 1, 2, 3)
    system_type: type[SumSystem] = SumSystem
    skew: float = 0.0
    forgets: float = 1.0
    careful: bool = True
    counts_from_zero: bool = True
    sign: float = 1.0
    kind = "sum"

    def views(self, indices: Sequence[int]) -> "SumCamera":
        chosen = checked_views(indices, len(self.kept)) if self.counts_from_zero else indices
        return replace(self, kept=tuple(self.kept[i] for i in chosen))

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        return len(self.kept), GRID.shape[0], GRID.shape[2]

    def system(self, grid: Grid, mu: Volume | None = None) -> SumSystem:
        weight = 1.0
        if mu is not None:
            checked = checked_mu(mu, grid) if self.careful else mu
            weight = float(torch.exp(-self.sign * checked.data.mean()))
        return self.system_type(grid.shape, self.kept, weight * self.forgets, self.skew)

    def to_dict(self) -> dict[str, Any]:
        return {"kept": self.kept}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "SumCamera":
        return cls(tuple(record["kept"]))


def test_line_sums_are_a_camera():
    check_camera(SumCamera(), GRID)
    check_camera(SumCamera((0, 2, 3)), GRID, mu=MU)


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (SumCamera(skew=-6.0), "non-negative"),
        (SumCamera(system_type=Shuffled), "views"),
        (SumCamera(forgets=2.0), "sees other"),
        (SumCamera(careful=False), "half a voxel away is accepted"),
        (SumCamera(sign=-1.0), "attenuation adds counts"),
        (SumCamera(counts_from_zero=False), r"views\(\[\]\) of 4 are accepted"),
    ],
)
def test_broken_cameras_are_caught(camera, message):
    with pytest.raises(AssertionError, match=message):
        check_camera(camera, GRID, mu=MU)


def test_a_camera_of_another_grid_is_caught():
    with pytest.raises(AssertionError, match=r"\[view, row, column\]"):
        check_camera(SumCamera(), Grid.regular((4, 4, 4), 4.0))


def _constant(estimate: Volume, truth: Volume, mask: Tensor | None = None) -> float:
    return 0.0


def _offset(estimate: Volume, truth: Volume, mask: Tensor | None = None) -> float:
    return nrmse(estimate, truth, mask) + 1


def _careless(estimate: Volume, truth: Volume, mask: Tensor | None = None) -> float:
    return float((estimate.data - truth.data).norm())


def _careless_of_units(estimate: Volume, truth: Volume, mask: Tensor | None = None) -> float:
    return nrmse(estimate.with_data(estimate.data, truth.quantity), truth, mask)


def _careless_of_number(estimate: Tensor, truth: Tensor) -> float:
    return float((estimate[:16] - truth[:16]).norm())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (metric(unit="1", better="lower")(_constant), "as noise is added"),
        (Metric(nrmse.function, "%", "higher"), "as noise is added"),
        (metric(unit="%", better="lower")(_offset), "identical"),
        (metric(unit="1", better="lower")(_careless), "accepts grids"),
        (metric(unit="%", better="lower")(_careless_of_units), "accepts volumes"),
        (metric(unit="1", better="lower", of="segments")(_careless_of_number), "accepts 16"),
    ],
)
def test_broken_metrics_are_caught(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_metric(broken)


class Doubling(Method):
    name, reads, writes = "doubling", ("nac",), ("ac",)

    def make(self, study: Study) -> Mapping[str, Volume]:
        return {"ac": self.double(study)}

    def double(self, study: Study) -> Volume:
        return study["nac"].with_data(2 * study["nac"].data)


class Mutating(Doubling):
    def double(self, study):
        study["nac"].data.mul_(2)
        return study["nac"].with_data(study["nac"].data.clone())


class Peeking(Doubling):
    def double(self, study):
        return study["truth"] if "truth" in study else super().double(study)


class Drifting(Doubling):
    def __init__(self):
        self.calls = 0

    def double(self, study):
        self.calls += 1
        return study["nac"].with_data(self.calls * study["nac"].data)


class Moving(Doubling):
    def double(self, study):
        return study["nac"].on(GRID.crop((0, 0, 0), (2, 2, 2)))


class Dividing(Doubling):
    def double(self, study):
        return study["nac"].with_data(study["nac"].data / 0)


class Chatting(Doubling):
    def make(self, study):
        return {"ac": self.double(study), "extra": study["nac"]}


class Forgetting(Doubling):
    def __call__(self, study):
        made = self.make(study)
        return study.add(made, Step(("something",), self.name))


@pytest.fixture
def study(generator: torch.Generator) -> Study:
    nac, truth = (Volume(torch.rand(GRID.shape, generator=generator), GRID, COUNTS) for _ in range(2))
    return Study("toy", {"nac": nac, "truth": truth})


def test_doubling_is_a_method(study):
    check_method(Doubling(), study)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Mutating, "changed the study"),
        (Peeking, "more than it declares"),
        (Drifting, "second time"),
        (Moving, "the grid of nothing"),
        (Dividing, "NaN or infinity"),
        (Chatting, "declares"),
        (Forgetting, "history"),
    ],
)
def test_broken_methods_are_caught(study, broken, message):
    with pytest.raises(AssertionError, match=message):
        check_method(broken(), study)
