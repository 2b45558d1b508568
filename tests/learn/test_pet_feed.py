import numpy as np
import pytest
import torch

from photopeak.core import COUNTS, HU, Grid, Volume
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, WrongQuantity
from photopeak.learn.pet_feed import AIR, PetFeed, resampled

FEED = PetFeed()
GRID = Grid.regular((6, 20, 24), (5.0, 4.0, 4.0), centre_mm=(3.0, -7.0, 110.0))


def _ct(grid: Grid = GRID) -> Volume:
    x = grid.points()[..., 0]
    return Volume.from_numpy(np.where(x < x.mean(), -1000.0, 40.0), grid, HU)


def test_a_network_sees_the_body_with_a_margin_of_air() -> None:
    ct = torch.full((3, 60, 70), AIR)
    ct[1, 20:30, 5:41] = FEED.ct_to_network(torch.tensor(40.0))
    ct[2, 33, 40] = FEED.ct_to_network(torch.tensor(-890.0))
    ct[0, 50, 60] = FEED.ct_to_network(torch.tensor(-910.0))
    assert FEED.around(ct) == (slice(12, 42), slice(0, 49))
    assert FEED.around(ct, 2) == (slice(18, 36), slice(3, 43))
    rows, columns = FEED.around(torch.full((3, 60, 70), AIR))
    assert ct[:, rows, columns].shape == ct.shape
    rows, columns = FEED.around(torch.zeros(3, 60, 70))
    assert ct[:, rows, columns].shape == ct.shape


def test_a_grid_like_the_feeds_is_kept() -> None:
    assert FEED.grid(GRID).same_as(GRID)
    ct = _ct()
    assert torch.equal(FEED.ct(ct, FEED.grid(GRID)).data, ct.data)


@pytest.mark.parametrize("spacing_mm", [(3.27, 0.98, 0.98), (5.0, 5.5, 5.5), (2.0, 4.0, 7.3)])
def test_the_grid_reaches_every_voxel_and_a_linear_image_comes_back(spacing_mm: tuple[float, float, float]) -> None:
    fine = Grid.regular((11, 40, 44), spacing_mm, centre_mm=(3.0, -7.0, 110.0))
    grid = FEED.grid(fine)
    assert grid.spacing_mm == pytest.approx(FEED.voxel_mm)
    corners = grid.index(fine.points().reshape(-1, 3)[[0, -1]])
    assert (corners > -1e-6).all()
    assert (corners < np.array(grid.shape) - 1 + 1e-6).all()
    slope = Volume.from_numpy(grid.points() @ np.array([1.0, -2.0, 0.5]), grid, HU)
    back = resampled(slope, fine)
    inner = (slice(1, -1), slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(back.numpy()[inner], (fine.points() @ [1.0, -2.0, 0.5])[inner], atol=1e-2)


def test_a_fine_ct_is_averaged_and_not_sampled() -> None:
    fine = Grid.regular((12, 80, 80), 1.0)
    noise = torch.randn(fine.shape, generator=torch.Generator().manual_seed(0))
    coarse = resampled(Volume(noise, fine, HU), FEED.grid(fine))
    assert float(coarse.std()) < 0.3
    level = resampled(Volume(torch.full(fine.shape, 55.0), fine, HU), FEED.grid(fine))
    torch.testing.assert_close(level, torch.full_like(level, 55.0))


def test_edges_reach_outwards() -> None:
    grid = Grid.regular((4, 4, 4), 5.0)
    shifted = Grid.regular((4, 4, 4), 5.0, centre_mm=(0.0, 0.0, 12.0))
    assert float(resampled(Volume(torch.full(grid.shape, 3.0), grid, HU), shifted).min()) == 3.0


def test_scales_are_linear_fixed_and_inverted() -> None:
    suv = torch.tensor([[[0.0, 2.5, 5.0, 20.0, 90.0]]])
    assert FEED.suv_to_network(suv).tolist() == [[[-1.0, 0.0, 1.0, 7.0, 7.0]]]
    assert FEED.suv_from_network(FEED.suv_to_network(suv)).tolist() == [[[0.0, 2.5, 5.0, 20.0, 20.0]]]
    assert FEED.clip == (-1.0, 7.0)
    hu = torch.tensor([-3000.0, -1000.0, 0.0, 500.0, 4000.0])
    assert FEED.ct_to_network(hu).tolist() == [-1.0, -1.0, 0.0, 0.5, 1.0]
    assert FEED.ct_from_network(FEED.ct_to_network(hu)).tolist() == [-1000.0, -1000.0, 0.0, 500.0, 1000.0]


def test_the_published_scale_loses_what_lies_between_slices() -> None:
    feed = PetFeed(per_slice=True)
    suv = torch.rand((3, 4, 5), generator=torch.Generator().manual_seed(0)) + 0.1
    louder = suv * torch.tensor([1.0, 7.0, 0.2])[:, None, None]
    torch.testing.assert_close(feed.suv_to_network(suv), feed.suv_to_network(louder))
    assert feed.suv_to_network(suv).amax((-2, -1)).tolist() == [1.0, 1.0, 1.0]
    assert feed.suv_to_network(torch.zeros(1, 4, 4)).unique().tolist() == [-1.0]
    assert feed.clip == (-1.0, 1.0)


def test_slices_have_neighbours_repeated_ends_and_air_around() -> None:
    image = torch.arange(6.0)[:, None, None].expand(6, 20, 24)
    cut = FEED.slices(image, [0, 3, 5])
    assert cut.shape == (3, 3, 32, 32)
    assert cut[:, :, 0, 0].tolist() == [[0, 0, 1], [2, 3, 4], [4, 5, 5]]
    assert float(cut[:, :, 20:].max()) == float(cut[..., 24:].max()) == AIR
    assert FEED.slices(image, neighbours=False).shape == (6, 1, 32, 32)
    assert FEED.place(6, [0, 5])[:, 0].tolist() == [-1.0, 1.0]
    assert FEED.place(1).tolist() == [[-1.0]]
    assert FEED.place(6).shape == (6, FEED.places)


def test_errors_in_air_count_a_fifth() -> None:
    ct = FEED.ct_to_network(torch.tensor([-1000.0, -700.0, 40.0]))[None, None, None]
    assert FEED.near(ct)[0, 0, 0].tolist() == pytest.approx([0.2, 1.0, 1.0])


def test_what_is_no_ct_is_refused() -> None:
    ct = _ct()
    with pytest.raises(WrongQuantity, match="ct"):
        FEED.ct(ct.with_data(ct.data, COUNTS), GRID)
    for spoilt in (ct.data.clamp(min=0) * 10, ct.data * 2000):
        with pytest.raises(BadValues, match="HU"):
            FEED.ct(ct.with_data(spoilt), GRID)
    with pytest.raises(BadValues, match="NaN"):
        FEED.ct(ct.with_data(ct.data * torch.nan), GRID)
    turned = Grid(GRID.shape, tuple(map(tuple, GRID.matrix[[1, 0, 2, 3]])))
    with pytest.raises(GridMismatch, match="oblique"):
        FEED.grid(turned)


@pytest.mark.parametrize(
    "given",
    [
        {"voxel_mm": (4.0, 4.0)},
        {"suv_level": 0.0},
        {"neighbours": -1},
        {"window_hu": (100.0, -100.0)},
        {"multiple": 0},
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(BadArgument):
        PetFeed(**given)  # type: ignore[arg-type]
