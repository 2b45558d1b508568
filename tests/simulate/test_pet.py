import pytest
import torch

from photopeak.core import SUV, Grid, Study, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, WrongQuantity
from photopeak.core.random import stream
from photopeak.physics.ring import Ring
from photopeak.recon.iterate import osem
from photopeak.simulate.pet import acquire_pet

GRID = Grid.regular((4, 40, 40), 6.0)
RING = Ring.half_turn(views=36, bins=40, bin_mm=6.0, planes=4, plane_mm=6.0, fwhm_mm=5.0)
TRUES = 2e6


def _body(radius_mm: float, *, x_mm: float = 0.0) -> torch.Tensor:
    points = torch.from_numpy(GRID.points())
    return (torch.hypot(points[..., 0] - x_mm, points[..., 1]) < radius_mm).float()


def _activity() -> Volume:
    """SUV 1 with a lesion of 6."""
    return Volume(_body(85.0) + 5 * _body(30.0, x_mm=40.0), GRID, SUV)


def _mu(energy_kev: float = 511.0) -> Volume:
    return Volume(0.096 * _body(85.0), GRID, attenuation(energy_kev))


def _scatter(trues: torch.Tensor) -> torch.Tensor:
    """Half the trues of each view and row, spread over all its bins."""
    return 0.5 * trues.mean(-1, keepdim=True).expand_as(trues)


def _acquire(activity: Volume | None = None, mu: Volume | None = None, seed: int = 3, **changed: float) -> Study:
    settings = {"trues": TRUES, "randoms": 0.5} | changed
    return acquire_pet(
        "phantom",
        activity or _activity(),
        mu or _mu(),
        RING,
        scatter=_scatter,
        generator=stream(seed, 0),
        **settings,
    )


@pytest.fixture(scope="module")
def study() -> Study:
    return _acquire()


def test_expected_counts_add_up(study):
    clean, scatter, randoms = (study.projections[n].counts.double().sum() for n in ("clean", "scatter", "randoms"))
    assert float(clean - scatter - randoms) == pytest.approx(TRUES, rel=1e-4)
    assert float(randoms) == pytest.approx(0.5 * TRUES, rel=1e-4)
    assert float(scatter) == pytest.approx(0.5 * TRUES, rel=1e-4)


def test_noise_is_poisson(study):
    raw, clean = (study.projections[name].counts.double() for name in ("raw", "clean"))
    assert torch.equal(raw, raw.round())
    assert float(((raw - clean) ** 2 / clean).mean()) == pytest.approx(1.0, abs=0.05)


def test_trues_are_attenuated_where_the_body_is_long(study):
    trues = study.projections["clean"].counts - study.projections["scatter"].counts
    trues = (trues - study.projections["randoms"].counts) / study.facts["counts_per_activity"]
    # Anterior view, column 15 at x = -27 mm: away from the lesion, a chord of 161 mm.
    assert float(trues[0, 2, 15]) == pytest.approx(161 / 6 * 2.718 ** (-0.096 * 16.1), rel=0.08)


def test_reconstruction_gives_the_activity_back(study):
    background = sum(study.projections[n].counts for n in ("scatter", "randoms"))
    system = RING.system(GRID, study["mu"])
    image = osem(system, study.projections["clean"].counts, iterations=6, subsets=6, background=background)
    suv = image / study.facts["counts_per_activity"]
    lesion, rest = _body(25.0, x_mm=40.0) > 0, (_body(75.0) > 0) & (_body(42.0, x_mm=40.0) == 0)
    assert float(suv[lesion].mean()) == pytest.approx(6.0, rel=0.05)
    assert float(suv[rest].mean()) == pytest.approx(1.0, rel=0.02)


def test_same_seed_same_bits():
    one, again, other = (_acquire(seed=s).projections["raw"].counts for s in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_history_says_how(study):
    assert study.history[-1].by == "simulate.pet"
    assert str(study.projections["raw"]).startswith("36 views of 4x40, ring, 425-650 keV")


@pytest.mark.parametrize(
    "changed", [{"trues": 0.0}, {"trues": float("nan")}, {"trues": float("inf")}, {"randoms": -0.1}]
)
def test_counts_that_cannot_be(changed):
    with pytest.raises(BadArgument, match=next(iter(changed))):
        _acquire(**changed)


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_activity_that_cannot_be(value):
    data = _activity().data.clone()
    data[0, 0, 0] = value
    with pytest.raises(BadValues, match="activity"):
        _acquire(Volume(data, GRID, SUV))


def test_no_activity_at_all():
    with pytest.raises(BadValues, match="0 everywhere"):
        _acquire(Volume(torch.zeros(GRID.shape), GRID, SUV))


def test_activity_elsewhere():
    other = Grid.regular(GRID.shape, 6.0, centre_mm=(0.0, 9.0, 0.0))
    with pytest.raises(GridMismatch, match='"activity"'):
        _acquire(Volume(_activity().data, other, SUV))


def test_mu_of_another_energy():
    with pytest.raises(WrongQuantity, match="511 keV"):
        _acquire(mu=_mu(140.5))
