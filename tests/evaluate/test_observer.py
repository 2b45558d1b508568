"""The observer against hearts whose detectability is known."""

import math

import pytest
import torch

from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.evaluate.observer import (
    Seen,
    difference_of_gaussians,
    hotelling,
    look,
    observe,
    observer_areas,
)
from photopeak.evaluate.roc import areas


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("segment", [1, 9, 14, 17])
def test_channels_look_at_their_segment_and_not_at_a_constant(segment: int) -> None:
    channels = difference_of_gaussians(24, 72, segment)
    assert channels.shape == (4, 24, 72)
    torch.testing.assert_close(channels.sum((1, 2)), torch.zeros(4, dtype=torch.float64), atol=1e-9, rtol=0)


def test_the_peak_is_in_the_middle_of_the_segment() -> None:
    first = difference_of_gaussians(24, 72, 10)[0]  # mid inferior: half way round, half way down
    ring, angle = divmod(int(first.argmax()), 72)
    assert angle == 36
    assert abs((ring + 0.5) / 24 - 0.475) < 0.03


def test_the_template_is_hotellings(generator: torch.Generator) -> None:
    mixing = torch.tensor([[1.0, 0.5], [0.0, 2.0]], dtype=torch.float64)
    signal = torch.tensor([1.0, 1.0], dtype=torch.float64)
    present = torch.arange(20000) < 10000
    noise = torch.randn(20000, 2, generator=generator, dtype=torch.float64) @ mixing
    template, _, spread = hotelling(noise + present[:, None] * signal, present)
    expected = torch.linalg.solve(mixing.T @ mixing, signal)
    torch.testing.assert_close(template / template.norm(), expected / expected.norm(), atol=0.03, rtol=0)
    assert spread**2 == pytest.approx(float(signal @ expected), rel=0.05)


def test_the_area_is_that_of_the_signal_to_noise_ratio(generator: torch.Generator) -> None:
    present = torch.arange(2000) % 2 == 0
    channels = torch.randn(2000, 4, generator=generator) + 0.75 * present[:, None]
    scores = observe(Seen(channels, present, tuple(map(str, range(2000)))), generator)
    snr = 0.75 * 4**0.5
    assert areas(scores[None], present).auc[0] == pytest.approx(0.5 * math.erfc(-snr / 2), abs=0.02)


def test_without_a_signal_there_is_no_detection(generator: torch.Generator) -> None:
    found = []
    for _ in range(20):
        present = torch.arange(60) % 2 == 0
        channels = torch.randn(60, 4, generator=generator)
        found.append(
            areas(observe(Seen(channels, present, tuple(map(str, range(60)))), generator)[None], present).auc[0]
        )
    assert sum(found) / len(found) == pytest.approx(0.5, abs=0.06)


def test_a_person_in_two_scans_is_never_in_both_template_and_test() -> None:
    """Persons with features of their own and labels at random: leaked persons would be recognised."""
    generator = seeded()
    own = torch.randn(40, 4, generator=generator)
    present = torch.rand(40, generator=generator) < 0.5
    persons = tuple(f"p{i}" for i in range(40))
    twice = observe(Seen(own.repeat(2, 1), present.repeat(2), persons * 2), seeded())
    once = observe(Seen(own, present, persons), seeded())
    torch.testing.assert_close(twice[:40], twice[40:])
    order = torch.argsort(once)
    assert areas(twice[None, :40], present).auc[0] == pytest.approx(areas(once[None], present).auc[0], abs=0.05)
    assert len(order) == 40


def test_deep_defects_are_seen_and_filled_ones_less(make_scans) -> None:
    scans = make_scans(40, 40, sd=60.0)
    found = observer_areas(scans, ("truth", "nac", "filled"))
    assert found.auc[0] > 0.95
    assert found.auc[2] < found.auc[0]


def test_every_image_is_looked_at_in_the_same_places(make_scans) -> None:
    scans = make_scans(6, 6)
    same = [scan.with_maps(other=2 * scan["nac"]) for scan in scans]
    one, two = look(same, "nac", seeded()), look(same, "other", seeded())
    torch.testing.assert_close(one.channels, two.channels)


def test_what_cannot_be_observed(make_scans, generator) -> None:
    scans = make_scans(6, 6)
    with pytest.raises(BadArgument, match="without any defect"):
        look(make_scans(4, 0), "nac", generator)
    with pytest.raises(BadArgument, match="several scans"):
        observer_areas([*scans, scans[0]], ("nac",))
    with pytest.raises(BadArgument, match="folds"):
        observe(look(scans, "nac", generator), generator, folds=1)
    with pytest.raises(BadArgument, match="segment 18"):
        difference_of_gaussians(24, 72, 18)
    with pytest.raises(BadArgument, match="training cases"):
        hotelling(torch.zeros(4, 2), torch.arange(4) < 1)
    with pytest.raises(BadValues):
        hotelling(torch.full((4, 2), math.nan), torch.arange(4) < 2)
    with pytest.raises(ShapeMismatch):
        hotelling(torch.zeros(4, 2), torch.arange(3) < 2)
