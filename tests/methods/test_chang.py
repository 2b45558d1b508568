from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from photopeak.core import COUNTS, HU, Grid, Study, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, MissingInput, WrongQuantity
from photopeak.core.units import TC99M_KEV
from photopeak.methods import method
from photopeak.methods.chang import Chang, ChangMu, contour
from photopeak.physics.attenuation import correction_factor
from photopeak.testing import check_method

GRID = Grid.regular((6, 32, 32), 12.0)
LOOP: dict[str, Any] = {"views": 20, "subsets": 5}


def ellipse(x_mm: float, y_mm: float, across_mm: float, deep_mm: float) -> Tensor:
    points = GRID.points()
    inside = ((points[..., 0] - x_mm) / across_mm) ** 2 + ((points[..., 1] - y_mm) / deep_mm) ** 2 <= 1
    return torch.from_numpy(inside)


BODY = ellipse(0, 0, 165, 115)
LUNGS = ellipse(-80, 0, 50, 70) | ellipse(90, 30, 45, 60)
HEART = ellipse(45, -40, 40, 40)


@pytest.fixture(scope="module")
def chest() -> Study:
    """Activity in a chest with lungs, its true map, and the NAC that its attenuated projections make."""
    mu = torch.where(BODY, 0.15, 0.0).masked_fill(LUNGS & ~HEART, 0.04)
    activity = torch.where(BODY, 1.0, 0.0).masked_fill(LUNGS & ~HEART, 0.4).masked_fill(HEART, 6.0)
    mu_volume = Volume(mu, GRID, attenuation(TC99M_KEV))
    loop = ChangMu(**LOOP)
    nac = loop.uncorrected(activity, loop.camera(GRID), mu_volume)
    return Study("chest", {"nac": Volume(nac, GRID, COUNTS), "mu": mu_volume, "truth": Volume(activity, GRID, COUNTS)})


def error(image: Tensor, chest: Study) -> float:
    """Of the image after one factor, in body and heart alike, as a share of the truth's norm."""
    truth = chest["truth"].data
    scaled = image * (image * truth).sum() / image.square().sum()
    return float((scaled - truth).norm() / truth.norm())


@pytest.mark.parametrize("kind", [Chang(1, **LOOP), ChangMu(1, **LOOP)])
def test_contract(kind: Chang, chest: Study) -> None:
    check_method(kind, chest)


@pytest.mark.parametrize(
    ("where", "arc_deg"), [((3, 12, 20), 180.0), ((3, 21, 9), 180.0), ((3, 16, 16), 180.0), ((3, 12, 20), 360.0)]
)
def test_factor_is_the_inverse_of_what_the_camera_sees_of_a_point(
    chest: Study, where: tuple[int, int, int], arc_deg: float
) -> None:
    """The same angles, the same direction of rotation: a body with unlike lungs tells left from right."""
    chang = ChangMu(views=20, arc_deg=arc_deg)
    point = torch.zeros(GRID.shape)
    point[where] = 1
    camera = chang.camera(GRID)
    seen, all_of_it = (float(camera.system(GRID, mu)(point).sum()) for mu in (chest["mu"], None))
    nac = chest["nac"]
    factor = float(chang(chest)["ac"].data[where] / nac.data[where])
    assert factor == pytest.approx(all_of_it / seen, rel=0.04)
    half_turned = correction_factor(chest["mu"].data, 12.0, views=20, start_deg=139.5, arc_deg=180.0)
    if arc_deg == 180:
        assert float(half_turned[where]) != pytest.approx(all_of_it / seen, rel=0.06)


def test_more_iterations_come_nearer_the_truth(chest: Study) -> None:
    errors = [error(ChangMu(k, **LOOP)(chest)["ac"].data, chest) for k in range(4)]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 0.5 * errors[0]


def test_right_map_beats_a_uniform_body(chest: Study) -> None:
    uniform, right = (error(kind(3, **LOOP)(chest)["ac"].data, chest) for kind in (Chang, ChangMu))
    assert right < uniform


def test_nothing_attenuates_nothing_changes(chest: Study) -> None:
    mu = chest["mu"]
    air = Study("air", {"nac": chest["nac"], "mu": mu.with_data(torch.zeros_like(mu.data))})
    torch.testing.assert_close(ChangMu()(air)["ac"].data, chest["nac"].data)


def test_counts_scale_through(chest: Study) -> None:
    nac = chest["nac"]
    louder = Study("louder", {"nac": nac.with_data(nac.data * 64)})
    one, louder_by_64 = (Chang(1, **LOOP)(s)["ac"].data for s in (chest, louder))
    torch.testing.assert_close(louder_by_64, 64 * one, rtol=1e-3, atol=1e-3)


def test_contour_is_the_body_with_its_lungs(chest: Study) -> None:
    found = contour(chest["nac"])
    overlap = 2 * float((found & BODY).sum()) / float(found.sum() + BODY.sum())
    assert overlap > 0.9
    assert bool(found[LUNGS & BODY].all())


def test_contour_leaves_out_what_shines_beside_the_body(chest: Study) -> None:
    nac = chest["nac"]
    beside = nac.data.clone()
    beside[2:4, 1:3, 1:3] = float(nac.data.max())
    assert not bool(contour(nac.with_data(beside))[:, :3, :3].any())


def test_reconstruction_in_the_loop_has_the_filter_of_nac(chest: Study) -> None:
    sharp, smooth = (ChangMu(1, **LOOP, cutoff_per_cm=c)(chest)["ac"].data for c in (None, 0.25))
    assert not torch.allclose(sharp, smooth, rtol=1e-2)


def test_found_by_name_and_says_its_settings() -> None:
    assert method("chang", iterations=2).settings()["iterations"] == 2
    assert isinstance(method("chang_mu"), ChangMu)


@pytest.mark.parametrize("given", [{"iterations": -1}, {"mu_per_cm": 0.0}, {"mu_per_cm": 15.0}])
def test_impossible_numbers_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match="mu of"):
        Chang(**given)


def test_loop_without_views_is_refused(chest: Study) -> None:
    with pytest.raises(BadArgument, match="views=0"):
        Chang(views=0)(chest)
    with pytest.raises(BadArgument, match="subsets"):
        Chang(1, views=4, subsets=5)(chest)


def test_map_is_needed_on_the_grid_of_nac_in_its_unit(chest: Study) -> None:
    nac, mu = chest["nac"], chest["mu"]
    shifted = Grid.regular(GRID.shape, 12.0, centre_mm=(5, 0, 0))
    with pytest.raises(MissingInput, match="mu"):
        ChangMu()(chest.only("nac"))
    with pytest.raises(GridMismatch, match="mu"):
        ChangMu()(Study("x", {"nac": nac, "mu": Volume(mu.data, shifted, mu.quantity)}))
    with pytest.raises(WrongQuantity, match="CT number"):
        ChangMu()(Study("x", {"nac": nac, "mu": mu.with_data(mu.data, HU)}))
    with pytest.raises(BadValues, match="mu"):
        ChangMu()(Study("x", {"nac": nac, "mu": mu.with_data(mu.data * 1000)}))


def test_reoriented_slices_are_refused(chest: Study) -> None:
    turned = np.array(GRID.affine)
    turned[:3, :2] = turned[:3, 1::-1]
    grid = Grid(GRID.shape, tuple(map(tuple, turned)))
    with pytest.raises(GridMismatch, match="transaxial"):
        Chang()(Study("x", {"nac": Volume(chest["nac"].data, grid, COUNTS)}))


def test_almost_empty_image_is_refused(chest: Study) -> None:
    dark = torch.zeros(GRID.shape)
    dark[3, 16, 16] = 5.0
    with pytest.raises(BadValues, match="nac"):
        Chang()(Study("x", {"nac": chest["nac"].with_data(dark)}))
    with pytest.raises(BadValues, match="NaN"):
        Chang()(Study("x", {"nac": chest["nac"].with_data(dark * torch.nan)}))
