"""What every reconstruction does, on a cylinder of water small enough to be quick."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch

from photopeak.core import Camera, Grid, Projections, Study, Volume, attenuation
from photopeak.core.errors import BadArgument, GridMismatch, MissingInput
from photopeak.methods import method, method_names
from photopeak.methods.fbp import Fbp
from photopeak.methods.map_em import MapEm
from photopeak.methods.mlem import Mlem
from photopeak.methods.osem import Osem
from photopeak.methods.reconstruction import Reconstruction, gaussian
from photopeak.physics.parallel_hole import ParallelHole, ParallelHoleSystem
from photopeak.physics.pinhole import Pinhole
from photopeak.physics.ring import Ring
from photopeak.physics.support import body_of
from photopeak.testing import check_method

GRID = Grid.regular((4, 20, 20), 12.0)
EVERY = [Osem, Mlem, partial(MapEm, subsets=2, iterations=6), Fbp]


@dataclass(frozen=True)
class Other(Camera):
    """A camera that no method knows, which sees as a parallel-hole camera does."""

    inner: ParallelHole
    kind = "other"

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        return self.inner.projection_shape

    def views(self, indices: Sequence[int]) -> "Other":
        return Other(self.inner.views(indices))

    def system(self, grid: Grid, mu: Volume | None = None) -> ParallelHoleSystem:
        return self.inner.system(grid, mu)

    def to_dict(self) -> dict[str, Any]:
        return {"inner": self.inner.to_dict()}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Other":
        return cls(ParallelHole.from_dict(record["inner"]))


def _cylinder() -> torch.Tensor:
    place = (torch.arange(20) - 9.5) * 12.0
    return (torch.hypot(place[:, None], place[None]) < 72.0).float().expand(GRID.shape).clone()


@pytest.fixture(scope="module")
def water() -> Study:
    camera = ParallelHole.circular(views=24, arc_deg=360.0, shape=(4, 20), pixel_mm=12.0, collimator=None)
    mu = Volume(0.15 * _cylinder(), GRID, attenuation(140.5))
    expected = camera.system(GRID, mu)(40 * _cylinder()) + 2
    counts = torch.poisson(expected, generator=torch.Generator().manual_seed(1))
    flat = Projections(torch.full_like(counts, 2.0), camera)
    return Study("water", volumes={"mu": mu}, projections={"raw": flat.with_counts(counts), "scatter": flat})


@pytest.fixture(scope="module")
def other(water: Study) -> Study:
    turned = {n: Projections(p.counts, Other(p.camera), p.window) for n, p in water.projections.items()}
    return replace(water, projections=turned)


def _middle(volume: Volume) -> float:
    return float(volume.data[1:3, 7:13, 7:13].mean())


@pytest.mark.parametrize("kind", [Osem, Mlem, partial(MapEm, subsets=5)])
def test_correction_gives_the_activity_back(water: Study, kind: Callable[..., Reconstruction]) -> None:
    corrected = kind("ac", cutoff_per_cm=None, iterations=15)(water)["ac"]
    assert corrected.grid.same_as(GRID)
    assert _middle(corrected) == pytest.approx(40, rel=0.08)


@pytest.mark.parametrize("kind", EVERY)
def test_without_correction_the_middle_is_low(water: Study, kind: Callable[..., Reconstruction]) -> None:
    assert 8 < _middle(kind("nac", cutoff_per_cm=None)(water)["nac"]) < 30


@pytest.mark.parametrize("kind", [Osem, Mlem, MapEm])
def test_contract_with_correction(water: Study, kind: Callable[..., Reconstruction]) -> None:
    check_method(kind("ac", iterations=2), water)


@pytest.mark.parametrize("kind", EVERY)
def test_what_is_written_where_is_chosen(water: Study, kind: Callable[..., Reconstruction]) -> None:
    bare = Study("x", projections={"seen": water.projections["raw"]})
    made = kind(counts="seen", as_="image")(bare)
    assert set(made.volumes) == {"image"}
    assert made["image"].grid.shape == (4, 20, 20)
    assert float(made["image"].data.min()) >= 0


@pytest.mark.parametrize("kind", [Osem, Mlem, MapEm])
def test_any_camera_with_mu_or_a_grid(water: Study, other: Study, kind: Callable[..., Reconstruction]) -> None:
    for chosen in (kind("ac", iterations=2), kind("nac", iterations=2, grid=GRID)):
        assert torch.equal(chosen(other)[chosen.makes].data, chosen(water)[chosen.makes].data)
    with pytest.raises(BadArgument, match=r"other without a grid.*grid="):
        kind("nac")(other)


def test_scatter_may_be_left_in(water: Study) -> None:
    bare = replace(water, projections={"raw": water.projections["raw"]})
    with pytest.raises(MissingInput, match="scatter"):
        Osem("ac")(bare)
    left_in = Osem("ac", scatter=None)(bare)["ac"].data
    assert float(left_in.sum()) > 1.005 * float(Osem("ac")(water)["ac"].data.sum())


def test_a_grid_that_mu_is_not_on(water: Study) -> None:
    shifted = Grid.regular(GRID.shape, 12.0, centre_mm=(12.0, 0.0, 0.0))
    with pytest.raises(GridMismatch, match='"mu"'):
        Osem("ac", grid=shifted)(water)


@pytest.mark.parametrize("kind", [Osem, Mlem, MapEm])
def test_progress_is_told_and_not_recorded(water: Study, kind: Callable[..., Reconstruction]) -> None:
    seen: list[int] = []
    made = kind("nac", iterations=3, watch=lambda n, _: seen.append(n))(water)
    assert seen == [0, 1, 2]
    settings = json.loads(json.dumps(dict(made.history[-1].settings)))
    assert settings["iterations"] == 3
    assert "watch" not in settings


@pytest.mark.parametrize("kind", EVERY)
def test_the_grid_is_recorded(water: Study, kind: Callable[..., Reconstruction]) -> None:
    assert kind(grid=GRID)(water).history[-1].settings["grid"] == "4x20x20 at 12 mm"


def test_likelihood_stops_early(water: Study) -> None:
    seen: list[int] = []
    Mlem("ac", iterations=200, least_gain=0.01, watch=lambda n, _: seen.append(n))(water)
    assert 2 < len(seen) < 100


@pytest.mark.parametrize(
    ("prior", "algorithm"), [("green", "bsrem"), ("green", "osl"), ("rdp", "bsrem"), ("rdp", "osl")]
)
def test_priors_smooth(water: Study, prior: Any, algorithm: Any) -> None:
    inside = (slice(1, 3), slice(7, 13), slice(7, 13))

    def noise(beta: float) -> float:
        made = MapEm("ac", prior=prior, algorithm=algorithm, beta=beta, subsets=2, iterations=10)(water)
        return float(made["ac"].data[inside].std())

    assert noise(0.05) < 0.8 * noise(0.0)


def test_fbp_of_a_ring_without_attenuation_is_the_activity() -> None:
    ring = Ring.half_turn(views=48, bins=36, bin_mm=8.0, planes=4, plane_mm=12.0, fwhm_mm=0.0)
    seen = Projections(ring.system(GRID)(40 * _cylinder()), ring)
    made = Fbp(grid=GRID, cutoff_per_cm=None)(Study("pet", projections={"raw": seen}))["nac"]
    assert _middle(made) == pytest.approx(40, rel=0.02)


def test_fbp_and_mlem_agree_on_the_scale_of_nac(water: Study) -> None:
    one, other = (_middle(kind("nac", cutoff_per_cm=None)(water)["nac"]) for kind in (Fbp, Mlem))
    assert one == pytest.approx(other, rel=0.1)


def test_fbp_refuses_what_it_cannot_do(other: Study) -> None:
    with pytest.raises(BadArgument, match="makes"):
        Fbp("ac")
    with pytest.raises(BadArgument, match="recover"):
        Fbp(recover=True)
    with pytest.raises(BadArgument, match=r"projections of a other.*parallel rays"):
        Fbp(grid=GRID)(other)


@pytest.mark.parametrize("bad", [{"prior": "median"}, {"algorithm": "adam"}, {"makes": "pet"}])
def test_unknown_choices_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match=next(iter(bad))):
        MapEm(**bad)


def test_every_reconstruction_is_found_by_name() -> None:
    assert {"osem", "mlem", "map_em", "fbp"} <= set(method_names())
    assert isinstance(method("map_em", prior="rdp"), MapEm)
    assert "reconstruction" not in method_names()


def test_a_pinhole_image_stays_in_the_body():
    grid = Grid.regular((8, 20, 20), 20.0)
    points = grid.points()
    body = (points[..., 0] / 130) ** 2 + (points[..., 1] / 100) ** 2 < 1
    mu = Volume.from_numpy(0.15 * body, grid, attenuation(140.5))
    camera = Pinhole.named("dnm_530c").few(5)
    counts = camera.system(grid, mu)(torch.from_numpy(body.astype("float32")))
    study = Study("pin", volumes={"mu": mu}, projections={"raw": Projections(counts, camera)})
    found = Mlem("ac", iterations=3, scatter=None)(study)["ac"].data
    inside = body_of(mu)
    assert not bool(found[~inside].any())
    assert bool(found[torch.from_numpy(body)].any())


def test_a_gaussian_has_its_width_and_keeps_what_is_flat() -> None:
    point = torch.zeros(41, 21, 31, dtype=torch.float64)
    point[20, 10, 15] = 1.0
    blurred = gaussian(point, (4.0, 6.0, 5.0), fwhm_mm=20.0)
    for axis, mm in enumerate((4.0, 6.0, 5.0)):
        along = blurred.sum([other for other in range(3) if other != axis])
        place = mm * (torch.arange(len(along)) - len(along) // 2)
        assert float((along * place**2).sum()) ** 0.5 == pytest.approx(20.0 / 2.3548, rel=1e-2)
    assert float(blurred.sum()) == pytest.approx(1.0, abs=1e-6)
    flat = torch.full((5, 6, 7), 3.0)
    torch.testing.assert_close(gaussian(flat, (4.0, 4.0, 4.0), fwhm_mm=15.0), flat)


def test_a_gaussian_may_take_the_place_of_the_butterworth(water: Study) -> None:
    plain, smooth = (Mlem("ac", iterations=20, gaussian_mm=width)(water) for width in (None, 30.0))
    assert float(smooth["ac"].data[1:3, 7:13, 7:13].std()) < 0.5 * float(plain["ac"].data[1:3, 7:13, 7:13].std())
    assert float(smooth["ac"].data.sum()) == pytest.approx(float(plain["ac"].data.sum()), rel=0.02)
    assert smooth.history[-1].settings["gaussian_mm"] == 30.0
    assert Osem(cutoff_per_cm=None, gaussian_mm=10.0).gaussian_mm == 10.0


@pytest.mark.parametrize("bad", [{"gaussian_mm": 0.0}, {"gaussian_mm": 8.0, "cutoff_per_cm": 0.4}])
def test_filters_that_cannot_be(bad: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match="gaussian_mm"):
        Mlem(**bad)
