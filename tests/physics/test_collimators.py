from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.core.errors import BadArgument
from photopeak.physics.collimators import COLLIMATORS, geometric_efficiency, named_collimator, sensitivity
from photopeak.physics.response import GE_LEHR, Collimator


def _fwhm_mm(name: str, distance_mm: float) -> float:
    return float(named_collimator(name).fwhm_mm(torch.tensor(distance_mm, dtype=torch.float64)))


@pytest.mark.parametrize("name", ["GE LEHR", "ge-lehr", " Ge  Lehr "])
def test_a_name_is_found_however_it_is_written(name):
    assert named_collimator(name) is GE_LEHR


@pytest.mark.parametrize(
    ("manufacturer", "found"),
    [("GE MEDICAL SYSTEMS", "GE LEHR"), ("SIEMENS NM", "Siemens LEHR"), ("Philips Medical Systems", "Philips LEHR")],
)
def test_a_header_says_whose_it_is(manufacturer, found):
    assert named_collimator("LEHR", manufacturer).name == found


def test_every_entry_is_found_by_its_own_name():
    for (maker, short), collimator in COLLIMATORS.items():
        assert named_collimator(collimator.name) is collimator
        assert named_collimator(short, maker) is collimator


def test_a_name_that_several_makers_use_lists_them():
    with pytest.raises(BadArgument, match="'LEHR'; needed: one of GE LEHR, Siemens LEHR, Philips LEHR, Mediso LEHR"):
        named_collimator("LEHR")


@pytest.mark.parametrize(("name", "manufacturer"), [("LEXX", None), ("", None), ("LEHR", "Anger")])
def test_an_unknown_name_lists_what_there_is(name, manufacturer):
    with pytest.raises(BadArgument, match=r"GE LEHR, GE LEGP.* Siemens LEHR"):
        named_collimator(name, manufacturer)


def test_two_heads_with_lehr_see_what_was_measured():
    assert sensitivity(GE_LEHR) == pytest.approx(64, rel=0.03)
    assert 2 * sensitivity(GE_LEHR) == pytest.approx(130, rel=0.03)


def test_efficiency_is_the_textbooks_k_of_026():
    length = GE_LEHR.effective_length_mm
    anger = (0.26 * 1.5 / length * 1.5 / 1.7) ** 2
    assert geometric_efficiency(GE_LEHR) == pytest.approx(anger, rel=0.03)


def test_efficiency_is_what_rays_through_a_hole_say():
    hole = Collimator("thick", hole_mm=2.0, length_mm=30.0, intrinsic_fwhm_mm=3.8, septa_mm=0.3, septa_per_cm=1e9)
    draw = np.random.default_rng(0)
    rays = 2_000_000
    width, cell = 2.0, 2.3
    enter = draw.uniform(-1.2, 1.2, (rays, 2))
    reach = 2.4
    leave = enter + draw.uniform(-reach, reach, (rays, 2))
    through = _in_hexagon(enter, width) & _in_hexagon(leave, width)
    slant = 1 + ((leave - enter) ** 2).sum(1) / 30.0**2
    per_ray = 2.4**2 * (2 * reach) ** 2 / rays
    acceptance = (through / slant**1.5).sum() * per_ray / 30.0**2
    cell_area = np.sqrt(3) / 2 * cell**2
    assert geometric_efficiency(hole) == pytest.approx(acceptance / (4 * np.pi * cell_area), rel=0.02)


def _in_hexagon(points: np.ndarray, flat_to_flat: float) -> np.ndarray:
    angles = np.radians([0, 60, 120])
    return np.all(np.abs(points @ np.stack([np.cos(angles), np.sin(angles)])) <= flat_to_flat / 2, axis=1)


@given(st.sampled_from(sorted(COLLIMATORS)), st.floats(1.01, 2.0))
def test_longer_holes_resolve_more_and_wider_holes_see_more(key, factor):
    collimator = COLLIMATORS[key]
    longer = replace(collimator, length_mm=factor * collimator.length_mm)
    wider = replace(collimator, hole_mm=factor * collimator.hole_mm)
    far = torch.tensor(150.0, dtype=torch.float64)
    assert longer.fwhm_mm(far) < collimator.fwhm_mm(far) < wider.fwhm_mm(far)
    assert sensitivity(longer) < sensitivity(collimator) < sensitivity(wider)


@pytest.mark.parametrize("maker", ["GE", "Siemens", "Philips", "Mediso"])
def test_high_resolution_resolves_more_and_general_purpose_sees_more(maker):
    general = "LEAP" if maker == "Siemens" else "LEGP"
    assert _fwhm_mm(f"{maker} LEHR", 100.0) < _fwhm_mm(f"{maker} {general}", 100.0)
    assert sensitivity(named_collimator(f"{maker} LEHR")) < sensitivity(named_collimator(f"{maker} {general}"))


@pytest.mark.parametrize("share", [0.0, -0.1, 72.0])
@pytest.mark.parametrize("name", ["share_in_window", "photons_per_decay"])
def test_a_share_that_cannot_be(name, share):
    with pytest.raises(BadArgument, match=name):
        sensitivity(GE_LEHR, **{name: share})
