"""The 17 segments: each where the AHA puts it in a disc with the septum at the left."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.cardiac.segments import (
    SEGMENTS,
    TERRITORIES,
    segment_centres,
    segment_means,
    segment_of,
    segment_outlines,
)
from photopeak.core.errors import BadArgument

BASE, MID, APICAL, APEX = 0.85, 0.5, 0.2, 0.05
ANTERIOR, LATERAL, INFERIOR, SEPTUM = 0.0, 90.0, 180.0, 270.0


@pytest.mark.parametrize(
    ("ring", "angle_deg", "name"),
    [
        (BASE, ANTERIOR, "basal anterior"),
        (BASE, SEPTUM + 30, "basal anteroseptal"),
        (BASE, SEPTUM - 30, "basal inferoseptal"),
        (BASE, INFERIOR, "basal inferior"),
        (BASE, LATERAL + 30, "basal inferolateral"),
        (BASE, LATERAL - 30, "basal anterolateral"),
        (MID, ANTERIOR, "mid anterior"),
        (MID, SEPTUM + 30, "mid anteroseptal"),
        (MID, SEPTUM - 30, "mid inferoseptal"),
        (MID, INFERIOR, "mid inferior"),
        (MID, LATERAL + 30, "mid inferolateral"),
        (MID, LATERAL - 30, "mid anterolateral"),
        (APICAL, ANTERIOR, "apical anterior"),
        (APICAL, SEPTUM, "apical septal"),
        (APICAL, INFERIOR, "apical inferior"),
        (APICAL, LATERAL, "apical lateral"),
        (APEX, LATERAL, "apex"),
    ],
)
def test_every_segment_is_in_its_place(ring: float, angle_deg: float, name: str):
    assert SEGMENTS[segment_of(ring, angle_deg) - 1] == name


@given(st.floats(0, 1), st.floats(-720, 720))
def test_the_number_never_leaves_its_level_and_a_turn_changes_nothing(ring: float, angle_deg: float):
    number = segment_of(ring, angle_deg)
    level = range(1, 7) if ring >= 0.65 else range(7, 13) if ring >= 0.30 else range(13, 17) if ring >= 0.10 else [17]
    assert number in level
    assert segment_of(ring, round(angle_deg)) == segment_of(ring, round(angle_deg) + 360)


def test_just_beyond_a_border_is_the_next_segment_of_the_same_level():
    assert segment_of(BASE, np.nextafter(30.0, 90)) == 6
    assert segment_of(APICAL, np.nextafter(45.0, 90)) == 16


@pytest.mark.parametrize("ring", [-0.01, 1.01, float("nan")])
def test_a_ring_off_the_disc_is_refused(ring: float):
    with pytest.raises(BadArgument, match="ring"):
        segment_of(ring, 0.0)


def test_the_middle_of_each_segment_is_in_it():
    assert [segment_of(*centre) for centre in segment_centres()] == list(range(1, 18))


def test_the_means_are_of_the_segments_own_pixels():
    rings, angles = 24, 72
    number = [[segment_of((r + 0.5) / rings, 360 * a / angles) for a in range(angles)] for r in range(rings)]
    polar = torch.tensor(number, dtype=torch.float32)
    np.testing.assert_allclose(segment_means(polar), np.arange(1, 18), atol=1e-5)


def test_the_outlines_are_where_the_number_changes():
    for (r0, a0), (r1, a1) in segment_outlines():
        if a0 == a1:
            middle = (r0 + r1) / 2
            assert segment_of(middle, a0 - 0.1) != segment_of(middle, a0 + 0.1)
        else:
            assert r0 == r1
            assert segment_of(r0 - 0.01, 10.0) != segment_of(r0 + 0.01, 10.0)


def test_the_territories_share_the_segments_out():
    assert sorted(n for numbers in TERRITORIES.values() for n in numbers) == list(range(1, 18))
