from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photopeak.core import COUNTS, Grid, Projections, Study, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, MissingInput, ShapeMismatch
from photopeak.core.random import stream
from photopeak.learn.feed import to_network
from photopeak.methods.measured import Measured, Scan, counts_fraction
from photopeak.methods.volume_slices import VolumeBatches, VolumeSlices
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.pinhole import Pinhole
from photopeak.simulate.dose import poisson, thinned
from photopeak.testing import check_method

FEED = {"shape": (8, 16, 16), "voxel_mm": 12.0, "level_radius_mm": 40.0, "peak": 2.0}
GRID = Grid.regular((8, 16, 16), 12.0)
CAMERA = replace(Pinhole.named("dnm_530c").few(3), shape=(12, 12), pixel_mm=6.56)
UNKNOWN = {"counts": 0.0, "views": 0.0}


class Given(VolumeSlices):
    """Answers with what it was given, or with `constant` of normal myocardium."""

    name = "given"
    constant: float | None = None

    def answered(self, scan: Scan, generator: torch.Generator) -> torch.Tensor:
        shaken = 1 + 0.1 * torch.randn((), generator=generator)
        return scan.given * shaken if self.constant is None else torch.full_like(scan.given, self.constant)

    def turns(self, batch: Any, generator: torch.Generator) -> Iterator[tuple[str, torch.Tensor]]:
        return iter(())


@dataclass(frozen=True)
class Less:
    """A setting of dose and views."""

    fraction: float
    views: int

    def applied(self, projections: Projections, generator: torch.Generator) -> Projections:
        return thinned(projections, self.fraction, generator).views(range(self.views))


class OfLess(Given):
    """Trained on two settings."""

    def settings_seen(self) -> Sequence[Less]:
        return Less(0.5, 3), Less(1.0, 1)

    def condition(self, seen: Mapping[str, torch.Tensor], numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        given = to_network(self.feed.slices(seen["given"], numbers, neighbours=1))
        return {"given": given, "fraction": seen["fraction"].expand(len(numbers), 1)}


def phantom(grid: Grid = GRID, camera: Any = CAMERA, *, counts: float = 2e6, seed: int = 0) -> Study:
    """A hot ball, off the middle, in a cylinder of water."""
    points = grid.points()
    body = np.hypot(points[..., 0], points[..., 1]) < 80
    hot = np.linalg.norm(points - np.array([12.0, -6.0, 6.0]), axis=-1) < 30
    mu = Volume.from_numpy(0.15 * body, grid, attenuation(140.5))
    image = torch.from_numpy(0.2 * body + hot * 1.0).float()
    expected = camera.system(grid, mu)(image)
    scale = counts / float(expected.sum())
    raw = poisson(Projections(scale * expected, camera), stream(seed, 0))
    return Study(f"ball_{seed}", {"mu": mu, "ac": Volume(scale * image, grid, COUNTS)}, {"raw": raw})


@pytest.fixture(scope="module")
def ball() -> Study:
    return phantom()


def _method(kind: type[VolumeSlices] = Given, **arguments: Any) -> Any:
    method = kind(FEED, **{"iterations": 8, **arguments})
    method.players["usual"].get_buffer("counts").fill_(2e6)
    return method


def test_contract(ball: Study) -> None:
    check_method(_method().using(samples=2), ball)


def test_an_answer_of_what_was_given_is_mlem_in_the_counts_of_the_data(ball: Study) -> None:
    method = _method()
    image = Measured.of(ball).image(8)
    scan = Scan.of(ball, method.feed, iterations=8, scatter=None, fraction=1.0)
    torch.testing.assert_close(scan.image(scan.given), image, rtol=1e-4, atol=1e-3)
    made = method.using(samples=4)(ball)
    ratio = made["ac"].data.sum() / image.sum()
    assert 0.8 < float(ratio) < 1.2
    assert float(made["ac_sd"].data.sum() / image.sum()) == pytest.approx(0.1, rel=0.7)


def test_a_fraction_of_the_dose_looks_the_same_to_the_network_and_keeps_its_counts(ball: Study) -> None:
    method = _method()
    less = replace(ball, projections={"raw": thinned(ball.projections["raw"], 0.01, stream(0, 1))})
    full, few = (Scan.of(s, method.feed, iterations=8, scatter=None, fraction=1.0) for s in (ball, less))
    assert few.level / full.level == pytest.approx(0.01, rel=0.05)
    assert float(few.given.mean() / full.given.mean()) == pytest.approx(1.0, rel=0.05)
    assert few.measured.balance(few.image(few.given)) == pytest.approx(1.0, rel=1e-3)


def test_em_keeps_a_truth_and_corrects_an_error(ball: Study) -> None:
    scan = Scan.of(ball, _method().feed, iterations=8, scatter=None, fraction=1.0)
    truth = ball["ac"].data / scan.level
    assert float((scan.consistent(truth) - truth).norm() / truth.norm()) < 0.02
    doubled = scan.consistent(2 * truth)
    assert float((doubled - truth).norm() / truth.norm()) < 0.05
    assert float((scan.balanced(2 * truth) - truth).norm() / truth.norm()) < 0.01


def test_nothing_shines_outside_the_body(ball: Study) -> None:
    method = _method()
    method.constant = 1.0
    made = method(ball)["ac"].data
    outside = ~Measured.of(ball).body
    assert bool(outside.any())
    assert float(made[outside].abs().max()) == 0
    assert float(made.max()) > 0


def test_another_camera_on_another_grid_keeps_its_image_where_nothing_changes() -> None:
    grid = Grid.regular((8, 24, 24), 10.0)
    camera = ParallelHole.circular(views=6, shape=(8, 24), pixel_mm=10.0, radius_mm=160.0, arc_deg=360.0)
    study = phantom(grid, camera)
    method = _method()
    scan = Scan.of(study, method.feed, iterations=4, scatter=None, fraction=1.0)
    assert scan.given.shape == (8, 16, 16)
    torch.testing.assert_close(scan.image(scan.given), Measured.of(study).image(4), rtol=1e-4, atol=1e-2)
    brighter = scan.image(scan.given + 0.5)
    middle = brighter[3:5, 10:14, 10:14] - scan.start[3:5, 10:14, 10:14]
    torch.testing.assert_close(middle, torch.full_like(middle, 0.5 * scan.level), rtol=0.02, atol=0)
    assert method.using(fraction=1.0)(study)["ac"].grid.same_as(grid)


def test_balanced_counts_are_those_of_all_that_the_camera_sees() -> None:
    """The network's grid lies within the body, and what surrounds it shines too."""
    grid = Grid.regular((8, 24, 24), 10.0)
    camera = ParallelHole.circular(views=6, shape=(8, 24), pixel_mm=10.0, radius_mm=160.0, arc_deg=360.0)
    feed = Given({**FEED, "shape": (4, 8, 8)}).feed
    scan = Scan.of(phantom(grid, camera), feed, iterations=4, scatter=None, fraction=1.0)
    measured, around = scan.measured, scan.image(torch.zeros_like(scan.given))
    assert float(measured.system(around).sum()) > 0.3 * float(measured.counts.sum())
    balanced = scan.image(scan.balanced(1.5 * scan.given))
    assert float(measured.system(balanced).sum() / measured.counts.sum()) == pytest.approx(1.0, abs=0.005)


def test_an_answer_without_activity_cannot_be_balanced(ball: Study) -> None:
    scan = Scan.of(ball, _method().feed, iterations=8, scatter=None, fraction=1.0)
    with pytest.raises(BadValues, match="without activity"):
        scan.measured.balance(torch.zeros_like(scan.given))


def test_the_fraction_is_given_or_told_or_counted(ball: Study) -> None:
    usual = {"counts": 4e6, "views": 6.0}
    assert counts_fraction(ball, 0.3, usual) == 0.3
    told = ball.with_facts(dose={"fraction": 0.1})
    assert counts_fraction(told, None, usual) == pytest.approx(0.05)
    assert counts_fraction(told, None, UNKNOWN) == pytest.approx(0.1)
    assert counts_fraction(ball.with_facts(dose={"fraction": 0.1, "full_views": 30}), None, usual) == pytest.approx(
        0.01
    )
    assert counts_fraction(ball, None, usual) == pytest.approx(0.5, rel=0.01)
    with pytest.raises(MissingInput, match="fraction"):
        counts_fraction(ball, None, UNKNOWN)
    method = _method().using(fraction=0.25)
    assert method(ball).history[-1].settings["fraction"] == 0.25


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5])
def test_fractions_that_cannot_be(ball: Study, fraction: float) -> None:
    with pytest.raises(BadArgument, match="fraction"):
        _method().using(fraction=fraction)
    with pytest.raises(BadArgument, match="fraction"):
        counts_fraction(ball.with_facts(dose={"fraction": fraction}), None, UNKNOWN)


def test_bad_data_are_refused(ball: Study) -> None:
    raw, mu, method = ball.projections["raw"], ball["mu"], _method()
    with pytest.raises(BadArgument, match="view"):
        raw.views([])
    with pytest.raises(ShapeMismatch, match="views"):
        Projections(raw.counts[:2], CAMERA)
    with pytest.raises(BadValues, match="negative"):
        raw.with_counts(raw.counts - 1e6)
    with pytest.raises(BadValues, match="zero"):
        method.using(fraction=1.0)(replace(ball, projections={"raw": raw.with_counts(0 * raw.counts)}))
    with pytest.raises(BadArgument, match="samples"):
        method.using(samples=0)
    elsewhere = Volume(mu.data, Grid.regular(GRID.shape, 12.0, centre_mm=(0.0, 0.0, 400.0)), mu.quantity)
    with pytest.raises(GridMismatch, match="frames of reference"):
        method(replace(ball, volumes={"mu": elsewhere}))


def test_training_slices_are_those_of_use(ball: Study) -> None:
    method = _method()
    batches = VolumeBatches(method, [ball])
    batch = batches.batch(6, stream(3, 0))
    assert batch["mu"].shape == (6, 8, 16, 16)
    truth = ball["ac"].data / method.feed.level(ball["ac"].data)
    scan = Scan.of(ball, method.feed, iterations=8, scatter=None, fraction=1.0)
    for item, number in enumerate(batch["number"].tolist()):
        torch.testing.assert_close(batch["ac"][item, 0], to_network(truth[number]))
        torch.testing.assert_close(batch["mu"][item], method.condition(scan.seen(), [number])["mu"][0])
    method.solve(batches)
    assert method.usual() == {"counts": pytest.approx(2e6, rel=0.01), "views": 3.0}


def test_voxels_beyond_the_range_are_cut_off_alike_in_training_and_use(ball: Study) -> None:
    method = Given({**FEED, "brightest": 0.5}, iterations=8)
    batch = VolumeBatches(method, [ball]).batch(30, stream(3, 0))
    assert float(batch["ac"].max()) == 0.0
    scan = Scan.of(ball, method.feed, iterations=8, scatter=None, fraction=1.0)
    assert float(scan.seen()["given"].max()) == 0.5 < float(scan.given.max())


def test_settings_are_dealt_and_kept(ball: Study, tmp_path: Path) -> None:
    method, studies = _method(OfLess), [ball, phantom(seed=1)]
    one, again = (method.batches(studies, seed=0, keep=tmp_path).batch(12, stream(0, 5)) for _ in range(2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert len(list(tmp_path.iterdir())) == 1
    assert one["given"].shape == (12, 3, 16, 16)
    assert sorted(set(one["fraction"].flatten().tolist())) == pytest.approx([1 / 3, 0.5])
    method.batches(studies[:1], seed=0, keep=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_scans_that_alternate_meet_every_setting() -> None:
    """Stress and rest of a person follow each other; neither may be trained on half of the settings alone."""

    class Quarters(OfLess):
        def settings_seen(self) -> Sequence[Less]:
            return [Less(quarters / 4, 3) for quarters in (1, 2, 3, 4)]

    stress, rest = (phantom(seed=seed) for seed in (0, 1))
    volumes = VolumeBatches(_method(Quarters, iterations=1), [stress, rest] * 4)._volumes
    for first in (0, 1):
        dealt = torch.cat([volume["fraction"] for volume in volumes[first::2]]).flatten().tolist()
        assert sorted(dealt) == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0, 1.0]


def test_weights_carry_the_usual_counts(tmp_path: Path) -> None:
    _method().save(tmp_path / "w.safetensors")
    restored = Given.restored(tmp_path / "w.safetensors")
    assert restored.usual()["counts"] == 2e6
    assert restored.feed == _method().feed
