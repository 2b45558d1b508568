import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photopeak.cardiac.orientation import HeartFrame
from photopeak.core.errors import BadValues
from photopeak.learn.feed import SIDES, SliceFeed, from_network, seen_from, short_axis_from, to_network

FEED = SliceFeed(voxel_mm=16.0, size=8, depth=4, neighbours=2, level_radius_mm=45.0)
FRAME = HeartFrame.from_angles((40.0, -30.0, 10.0), azimuth_deg=43.0, elevation_deg=21.0)


def _cube(feed: SliceFeed = FEED, seed: int = 0) -> torch.Tensor:
    return torch.rand(feed.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def _smooth(side: str) -> torch.Tensor:
    """A smooth image of the patient on the heart's grid of an orientation."""
    x, y, z = torch.from_numpy(FRAME.grid(FEED.shape, FEED.voxel_mm, side).points()).unbind(-1)
    return torch.sin(x / 40 + 0.3) + torch.cos(y / 30 - z / 55) + 0.01 * z


@given(st.sampled_from(SIDES), st.integers(0, 1000), st.integers(1, 6))
def test_each_side_and_back_is_the_cube(side, seed, size):
    cube = torch.rand((size, size, size), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(short_axis_from(seen_from(cube, side), side), cube)
    assert torch.equal(seen_from(short_axis_from(cube, side), side), cube)


@pytest.mark.parametrize("side", SIDES)
def test_the_sides_are_the_orientations_of_the_heart(side):
    assert torch.allclose(seen_from(_smooth("sa"), side), _smooth(side), atol=1e-9)


def test_the_sides_differ():
    for one, other in itertools.combinations(SIDES, 2):
        assert not torch.allclose(_smooth(one), _smooth(other), atol=0.1)


@pytest.mark.parametrize("side", SIDES)
def test_slices_are_the_middle_ones_with_their_neighbours(side):
    cube = _cube()
    seen = seen_from(cube, side)
    slices = FEED.slices(cube, side)
    assert slices.shape == (4, FEED.context, 8, 8)
    for number, channel in itertools.product(range(4), range(5)):
        assert torch.equal(slices[number, channel], seen[2 + number + channel - 2])
    assert torch.equal(FEED.slices(cube, side, neighbours=False)[:, 0], seen[2:6])
    assert torch.equal(FEED.slices(cube, side, [3, 1]), slices[[3, 1]])


def test_neighbours_beyond_the_edge_are_the_last_slice():
    feed = SliceFeed(voxel_mm=16.0, size=8, depth=8, neighbours=2)
    cube = _cube(feed)
    slices = feed.slices(cube, "sa")
    assert all(torch.equal(slices[0, channel], cube[0]) for channel in range(3))
    assert all(torch.equal(slices[7, channel], cube[7]) for channel in range(2, 5))


def test_place_names_the_side_and_the_offset():
    place = FEED.place("vla")
    assert place[:, :3].tolist() == [[0, 1, 0]] * 4
    assert place[:, 3].tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])
    assert torch.equal(FEED.place("vla", [2]), place[2:3])
    assert [int(FEED.place(side)[0, :3].argmax()) for side in SIDES] == [0, 1, 2]


def test_slices_stitch_back_to_the_cube():
    cube = _cube()
    answers = {side: FEED.slices(cube, side, neighbours=False)[:, 0] for side in SIDES}
    made = FEED.stitched(answers, torch.full_like(cube, -1.0))
    seen = made != -1
    assert torch.allclose(made[seen], cube[seen], rtol=1e-12)
    outside = (torch.arange(8) < 2) | (torch.arange(8) > 5)
    corner = outside[:, None, None] & outside[None, :, None] & outside[None, None, :]
    assert torch.equal(~seen, corner)
    assert torch.allclose(FEED.stitched(answers, cube), cube, rtol=1e-12)


def test_where_sides_disagree_their_mean_is_taken():
    fill = torch.zeros(FEED.shape)
    answers = {side: torch.full((4, 8, 8), float(n)) for n, side in enumerate(SIDES, start=1)}
    made = FEED.stitched(answers, fill)
    assert float(made[4, 4, 4]) == 2
    assert float(made[4, 0, 0]) == 1  # short axis alone reaches here
    assert float(made[0, 0, 4]) == 2  # the last axis runs from septum to lateral wall: VLA alone
    assert float(made[0, 4, 0]) == 3


def test_one_side_alone_stitches_too():
    cube = _cube()
    made = FEED.stitched({"hla": FEED.slices(cube, "hla", neighbours=False)[:, 0]}, torch.zeros_like(cube))
    assert torch.equal(made[:, 2:6], cube[:, 2:6])
    assert float(made[:, :2].abs().max()) == float(made[:, 6:].abs().max()) == 0


def test_all_sides_answer_within_reach():
    feed = SliceFeed()
    assert feed.reach_mm == pytest.approx(80.0)
    answers = {side: torch.ones(feed.depth, feed.size, feed.size) for side in SIDES}
    made = feed.stitched({**answers, "sa": 4 * answers["sa"]}, torch.zeros(feed.shape))
    axis = (torch.arange(feed.size) - (feed.size - 1) / 2) * feed.voxel_mm
    radius = torch.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    assert bool((made[radius <= feed.reach_mm] == 2).all())


def test_the_level_scales_with_the_counts_and_lies_in_the_bright_part():
    cube = _cube()
    assert FEED.level(5 * cube) == pytest.approx(5 * FEED.level(cube))
    assert float(cube.quantile(0.5)) < FEED.level(cube) <= float(cube.max())


def test_the_level_ignores_a_hot_liver():
    cube = _cube()
    hot = cube.clone()
    hot[0] = 50.0
    hot[:, 0] = 50.0
    assert FEED.level(hot) == FEED.level(cube)
    inside = cube.clone()
    inside[2:6, 2:6, 2:6] = 50.0
    assert FEED.level(inside) > 2 * FEED.level(cube)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_cube_without_counts_is_refused(value):
    with pytest.raises(BadValues, match="no counts around the heart"):
        FEED.level(torch.full(FEED.shape, value))


@given(st.floats(0, 10))
def test_the_network_range_and_back(ratio):
    value = torch.tensor(ratio, dtype=torch.float64)
    assert float(from_network(to_network(value))) == pytest.approx(ratio, abs=1e-12)
    assert to_network(torch.tensor([0.0, 1.0])).tolist() == [-1, 1]


def test_errors_count_fully_in_the_heart_and_a_fifth_far_away():
    feed = SliceFeed(size=60, depth=60)
    near = feed.near()
    assert near.shape == (60, 1, 60, 60)
    assert near[30, 0, 30, 30] == 1
    assert float(near[0, 0, 0, 0]) == pytest.approx(0.2, abs=1e-6)
    assert torch.equal(feed.near([7]), near[7:8])
    assert torch.equal(near[:, 0], near[:, 0].flip(0)), "alike on both sides"
    assert torch.equal(near[:, 0], near[:, 0].permute(1, 0, 2)), "and in every orientation"
