"""The contracts of the house as callable checks, for our tests and for plug-ins: AssertionError says what broke.

An operator, a camera, a metric and a method each come with promises that the rest of the house relies on. A new one
needs a file and a test that calls its check here.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from photopeak.core import COUNTS, FACTOR, HU, Camera, Grid, LinearOperator, Method, Study, SystemOperator, Volume
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, PhotopeakError, ShapeMismatch, WrongQuantity
from photopeak.metrics import Metric

TOLERANCE_32 = 1e-5


def check_operator(operator: LinearOperator, *, generator: torch.Generator, tolerance64: float = 1e-10) -> None:
    """Adjointness, exact first and second derivatives, linearity, and batch axes that equal a loop.

    Parameters
    ----------
    operator : any LinearOperator; its test is as expensive as about thirty applications.
    generator : CPU generator of the random vectors.
    tolerance64 : relative tolerance in float64; float32 is allowed 1e-5.
    """
    for dtype, tolerance in ((torch.float64, tolerance64), (torch.float32, TOLERANCE_32)):
        x = torch.randn(operator.domain_shape, generator=generator, dtype=dtype)
        y = torch.randn(operator.range_shape, generator=generator, dtype=dtype)
        _check_adjoint(operator, x, y, tolerance)
    for one in (operator, operator.T):
        _check_linear(one, generator, tolerance64)
        _check_batch(one, generator, tolerance64)
        _check_gradients(one, generator)


def _check_adjoint(operator: LinearOperator, x: Tensor, y: Tensor, tolerance: float) -> None:
    forward, adjoint = operator(x), operator.T(y)
    _expect(
        (forward.shape, forward.dtype) == (y.shape, y.dtype) and (adjoint.shape, adjoint.dtype) == (x.shape, x.dtype),
        f"forward gives {tuple(forward.shape)} {forward.dtype} and adjoint {tuple(adjoint.shape)} {adjoint.dtype}, "
        f"not {tuple(y.shape)} and {tuple(x.shape)} in {x.dtype}",
    )
    left, right = float((forward * y).sum()), float((x * adjoint).sum())
    scale = float(forward.norm() * y.norm() + x.norm() * adjoint.norm())
    _expect(
        abs(left - right) <= tolerance * scale,
        f"dot test in {x.dtype}: <Ax, y> = {left:.12g} but <x, A.T y> = {right:.12g}",
    )


def _check_linear(operator: LinearOperator, generator: torch.Generator, tolerance: float) -> None:
    u, v = torch.randn((2, *operator.domain_shape), generator=generator, dtype=torch.float64)
    expected = 2.5 * operator(u) - 0.75 * operator(v)
    _expect(_close(operator(2.5 * u - 0.75 * v), expected, tolerance), "not linear: A(au + bv) is not aAu + bAv")


def _check_batch(operator: LinearOperator, generator: torch.Generator, tolerance: float) -> None:
    batch = torch.randn((2, 3, *operator.domain_shape), generator=generator, dtype=torch.float64)
    loop = torch.stack([torch.stack([operator(x) for x in row]) for row in batch])
    _expect(_close(operator(batch), loop, tolerance), "a batch [2, 3, ...] is not the stack of its items")


def _check_gradients(operator: LinearOperator, generator: torch.Generator) -> None:
    # The fast mode compares one random projection of the Jacobian, so that cameras can be checked too.
    x = torch.randn(operator.domain_shape, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(operator.range_shape, generator=generator, dtype=torch.float64, requires_grad=True)
    first = torch.autograd.gradcheck(operator, x, fast_mode=True, raise_exception=False)
    _expect(first, "the gradient of the forward is not the adjoint")
    second = torch.autograd.gradgradcheck(_squared(operator), x, y, fast_mode=True, raise_exception=False)
    _expect(second, "the gradient of the gradient is not the forward")


def _squared(operator: LinearOperator) -> Callable[[Tensor], Tensor]:
    return lambda x: operator(x).square()


def check_camera(camera: Camera, grid: Grid, mu: Volume | None = None) -> None:
    """The operator's promises, non-negativity, views that are rows of the whole, attenuation, and the dict round trip.

    Views that do not exist, and none at all, must be refused by BadArgument (`photopeak.physics.arguments`).

    Parameters
    ----------
    camera : the camera under test.
    grid : a small image grid that it sees.
    mu : attenuation, 1/cm, if the camera is to be checked with it; then also that it takes counts away, and that mu
        on another grid, of another quantity, negative, NaN, or as large as HU is refused.
    """
    generator = torch.Generator().manual_seed(0)
    system = camera.system(grid, mu)
    _expect(
        (system.domain_shape, system.range_shape) == (grid.shape, camera.projection_shape),
        f"the system maps {system.domain_shape} to {system.range_shape}, "
        f"not {grid.shape} to {camera.projection_shape} [view, row, column]",
    )
    check_operator(system, generator=generator)
    image = torch.rand(grid.shape, generator=generator, dtype=torch.float64)
    counts = torch.rand(camera.projection_shape, generator=generator, dtype=torch.float64)
    seen, back = system(image), system.T(counts)
    for name, made in (("projections", seen), ("back projection", back)):
        _expect(
            bool(made.min() >= 0) and bool(made.max() > 0), f"{name} of non-negative numbers reach {made.min():.3g}"
        )

    _check_views(camera, system, image, counts, grid, mu)
    if mu is not None:
        _check_attenuation(camera, grid, mu, image, seen)

    record = camera.to_dict()
    rebuilt = type(camera).from_dict(json.loads(json.dumps(record)))
    _expect(json.dumps(rebuilt.to_dict()) == json.dumps(record), "from_dict(to_dict()) has another record")
    _expect(torch.equal(rebuilt.system(grid, mu)(image), seen), "from_dict(to_dict()) sees other projections")


def _check_views(
    camera: Camera, system: SystemOperator, image: Tensor, counts: Tensor, grid: Grid, mu: Volume | None
) -> None:
    seen, back = system(image), system.T(counts)
    parts = [list(range(start, camera.projection_shape[0], 2))[::-1] for start in (0, 1)]
    subsets = [(part, system.views(part)) for part in parts if part]
    for part, subset in subsets:
        _expect(_close(subset(image), seen[part], 1e-10), f"views({part}) are not these rows of the whole")
        alone = camera.views(part).system(grid, mu)
        _expect(_close(alone(image), seen[part], 1e-10), f"the camera's views({part}) are not these rows of the whole")
    total = torch.stack([subset.T(counts[part]) for part, subset in subsets]).sum(dim=0)
    _expect(_close(total, back, 1e-10), "back projections of the subsets do not add up to that of the whole")
    for indices in ([], [-1], [len(seen)]):
        refused = all(_refuses(one.views, indices, error=BadArgument) for one in (camera, system))
        _expect(refused, f"views({indices}) of {len(seen)} are accepted, not refused by BadArgument")


def _check_attenuation(camera: Camera, grid: Grid, mu: Volume, image: Tensor, seen: Tensor) -> None:
    bare = camera.system(grid)(image)
    _expect(bool((seen <= bare * (1 + 1e-9)).all()), "attenuation adds counts")
    clear = camera.system(grid, mu.with_data(0 * mu.data))(image)
    _expect(_close(clear, bare, 1e-10), "mu of 0 is not the same as no mu")
    step = tuple(0.5 * mm for mm in grid.spacing_mm)
    affine = [[*row[:3], row[3] + shift] for row, shift in zip(grid.affine, (*step[::-1], 0.0), strict=True)]
    elsewhere = Grid(grid.shape, tuple(map(tuple, affine)))
    unfit: list[tuple[str, Volume, type[PhotopeakError]]] = [
        ("on a grid half a voxel away", Volume(mu.data, elsewhere, mu.quantity), GridMismatch),
        ("of another quantity", Volume(mu.data, grid, HU), WrongQuantity),
        ("with negative entries", mu.with_data(mu.data - mu.data.max() - 0.01), BadValues),
        ("with HU for numbers", mu.with_data(mu.data + 40.0), BadValues),
        ("with NaN", mu.with_data(mu.data * float("nan")), BadValues),
    ]
    for what, volume, error in unfit:
        _expect(
            _refuses(camera.system, grid, volume, error=error),
            f"mu {what} is accepted, not refused by {error.__name__}",
        )


def check_metric(fn: Metric[...]) -> None:
    """Perfect for identical inputs, worse with each step of added noise, refusing what cannot be compared."""
    generator = torch.Generator().manual_seed(0)
    shape = (17,) if fn.of == "segments" else (12, 14, 16)
    truth = 1 + torch.rand(shape, generator=generator, dtype=torch.float64)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    scores = [_apply(fn, truth + level * noise, truth) for level in (0.0, 0.01, 0.03, 0.1, 0.3)]
    worsening = scores if fn.better == "lower" else [-s for s in scores]
    _expect(
        all(a < b for a, b in pairwise(worsening)),
        f"{fn.name} is {fn.better} for better, but goes {', '.join(f'{s:.4g}' for s in scores)} as noise is added",
    )
    if fn.better == "lower":
        _expect(abs(scores[0]) < 1e-9, f"{fn.name} of identical inputs is {scores[0]:.4g}, not 0")
    _check_refusals(fn, truth)


def _apply(fn: Metric[...], estimate: Tensor, truth: Tensor) -> float:
    if fn.of == "segments":
        return fn(estimate, truth)
    grid = Grid.regular(truth.shape, 4.0)
    return fn(Volume(estimate, grid, COUNTS), Volume(truth, grid, COUNTS))


def _check_refusals(fn: Metric[...], truth: Tensor) -> None:
    if fn.of == "segments":
        _expect(_refuses(fn, truth[1:], truth, error=ShapeMismatch), f"{fn.name} accepts 16 segments")
        return
    grid, shifted = Grid.regular(truth.shape, 4.0), Grid.regular(truth.shape, 4.0, centre_mm=(2.0, 0.0, 0.0))
    good = Volume(truth, grid, COUNTS)
    moved, other = Volume(truth, shifted, COUNTS), Volume(truth, grid, FACTOR)
    _expect(_refuses(fn, moved, good, error=GridMismatch), f"{fn.name} accepts grids half a voxel apart")
    _expect(_refuses(fn, other, good, error=WrongQuantity), f"{fn.name} accepts volumes of two quantities")


def _refuses(fn: Callable[..., object], *given: object, error: type[PhotopeakError]) -> bool:
    try:
        fn(*given)
    except error:
        return True
    return False


def check_method(method: Method, study: Study) -> None:
    """Writes what it says, where it read, from what it reads alone, the same each time, and leaves the input alone.

    Parameters
    ----------
    method : the method under test.
    study : a small study that holds what the method reads, and preferably more.
    """
    before = {n: v.data.clone() for n, v in study.volumes.items()}
    counts_before = {n: p.counts.clone() for n, p in study.projections.items()}
    made = method(study)

    _expect(
        all(torch.equal(study[n].data, data) for n, data in before.items())
        and all(torch.equal(study.projections[n].counts, counts) for n, counts in counts_before.items()),
        f"{method.name} changed the study it was given",
    )
    kept = set(study.volumes) - set(method.writes)
    _expect(
        set(made.volumes) == kept | set(method.writes) and all(made[n] is study[n] for n in kept),
        f"{method.name} declares {method.writes} and turned {sorted(study.volumes)} into {sorted(made.volumes)}",
    )
    for name in method.writes:
        _expect(bool(torch.isfinite(made[name].data).all()), f'{method.name} wrote NaN or infinity into "{name}"')
        grids = [study[n].grid for n in method.reads]
        _expect(
            not grids or any(made[name].grid.same_as(grid) for grid in grids),
            f'"{name}" is on {made[name].grid}, which is the grid of nothing that {method.name} reads',
        )
    _expect(
        made.history[:-1] == study.history and set(made.history[-1].made) == set(method.writes),
        f"{method.name} did not add one step that made {method.writes} to the history",
    )
    _expect(_same(made, method(study), method.writes), f"{method.name} gives another result the second time")
    needed = {n: study.projections[n] for n in method.reads_projections}
    bare = replace(study.only(*method.reads), projections=needed)
    _expect(_same(made, method(bare), method.writes), f"{method.name} depends on more than it declares to read")


def _same(one: Study, other: Study, names: tuple[str, ...]) -> bool:
    return all(torch.equal(one[n].data, other[n].data) for n in names)


def _close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    return found.shape == expected.shape and float((found - expected).norm()) <= tolerance * float(expected.norm())


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
