from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from photopeak.core import COUNTS, Grid, Study, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues, GridMismatch
from photopeak.core.random import stream
from photopeak.core.units import TC99M_KEV
from photopeak.learn.loop import Budget, fit
from photopeak.methods.heart_slices import heart_of
from photopeak.methods.indirect import Indirect, IndirectRaw, from_projections, iterated_chang, reprojected
from photopeak.methods.map_slices import border_of
from photopeak.testing import check_method

SMALL: dict[str, Any] = {"feed": {"neighbours": 1}, "channels": (8, 16, 24)}


@pytest.fixture
def method() -> Indirect:
    torch.manual_seed(0)
    return Indirect(**SMALL)


@pytest.fixture
def nac_of_ball() -> tuple[Volume, Volume, torch.Tensor]:
    """A warm ball of water: its NAC by re-projection through nothing, its map, and the activity."""
    grid = Grid.regular((8, 24, 24), 12.8)
    points = torch.from_numpy(grid.points()).float()
    body = (points.norm(dim=-1) < 110).float()
    mu = Volume(0.15 * body, grid, attenuation(TC99M_KEV))
    return Volume(body, grid, COUNTS), mu, body


def test_contract(method: Indirect, patient: Study) -> None:
    check_method(method.using(passes=1, scatter=False), patient)


def test_contract_with_projections(method: Indirect, patient: Study) -> None:
    check_method(IndirectRaw.sharing(method).using(scatter=False), patient)


def test_map_is_attenuation_on_the_grid_of_nac(method: Indirect, patient: Study) -> None:
    mu = method.predicted_mu(patient).require(attenuation(TC99M_KEV), name="mu_predicted")
    assert mu.grid.same_as(patient["nac"].grid)
    assert float(mu.data.min()) >= 0
    assert float(mu.data.max()) <= 0.3


def test_scale_of_counts_does_not_matter(method: Indirect, patient: Study) -> None:
    nac = patient["nac"]
    brighter = replace(patient, volumes={**patient.volumes, "nac": nac.with_data(3 * nac.data)})
    torch.testing.assert_close(method.predicted_mu(brighter).data, method.predicted_mu(patient).data)


def test_training_lowers_the_error_of_mu(method: Indirect, patient: Study, tmp_path: Path) -> None:
    mu = patient["mu"].data

    def error() -> float:
        return float((method.predicted_mu(patient).data - mu).abs().mean())

    before = error()
    fit(method, [patient], tmp_path, budget=Budget(max_steps=30, batch_size=4, warmup_steps=5, learning_rate=3e-3))
    assert error() < 0.7 * before


def test_weights_serve_both_methods(method: Indirect, tmp_path: Path) -> None:
    method.save(tmp_path / "weights.safetensors")
    assert IndirectRaw.restored(tmp_path / "weights.safetensors").weights_sha256() == method.weights_sha256()
    IndirectRaw.sharing(method).save(tmp_path / "raw.safetensors")
    assert IndirectRaw.restored(tmp_path / "raw.safetensors").weights_sha256() == method.weights_sha256()


def test_a_batch_moves_place_and_slices_together(method: Indirect, patient: Study) -> None:
    """The place of the brightest voxel of the map does not depend on how a slice was shifted."""
    batches = method.batches([patient], seed=0)
    batches.place_sd_mm = 0.0
    grid = patient["mu"].grid
    whole = method.feed.offsets(grid, heart_of(patient))
    for number in range(6):
        item = batches.batch(1, stream(0, number))
        place, mu = item["place"][0], item["mu"][0, 0]
        z = int((whole[:, 2, 0, 0] - place[2, 0, 0]).abs().argmin())
        seen = mu[4:-4, 4:-4]
        row, column = divmod(int(seen.argmax()), seen.shape[1])
        there = (whole[z, :2] - place[:2, row + 4, column + 4, None, None]).norm(dim=0)
        assert float(there.min()) < 1e-4
        assert float(patient["mu"].data[z].flatten()[there.argmin()]) == pytest.approx(float(seen.max()), abs=1e-5)


def test_same_seed_same_batch(method: Indirect, patient: Study) -> None:
    batches = method.batches([patient], seed=0)
    one, two = (batches.batch(3, stream(5, 1)) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_border_of_a_slope() -> None:
    z, y, x = torch.meshgrid(*(torch.arange(n).float() for n in (3, 8, 8)), indexing="ij")
    slope = border_of((0.3 * x + 0.4 * y + 1.2 * z)[None])[0, 0]
    torch.testing.assert_close(slope[1:-1, 1:-1], torch.full((6, 6), 1.3))


def test_without_attenuation_the_image_stays(nac_of_ball: tuple[Volume, Volume, torch.Tensor]) -> None:
    nac, mu, _ = nac_of_ball
    air = mu.with_data(torch.zeros_like(mu.data))
    torch.testing.assert_close(iterated_chang(nac.data, air, 0), nac.data, rtol=1e-4, atol=1e-4)


def test_both_image_only_forms_raise_the_middle_of_a_ball(
    nac_of_ball: tuple[Volume, Volume, torch.Tensor],
) -> None:
    nac, mu, _ = nac_of_ball
    middle = (slice(3, 5), slice(10, 14), slice(10, 14))
    edge = (slice(3, 5), slice(3, 6), slice(10, 14))
    for image in (iterated_chang(nac.data, mu, 1), reprojected(nac.data, mu)):
        assert float(image[middle].mean() / image[edge].mean()) > 1.5


def test_more_passes_explain_nac_better(patient: Study) -> None:
    wall, ac = patient["lv"].data > 0.5, patient["ac"].data

    def error(image: torch.Tensor) -> float:
        seen, truth = image[wall], ac[wall]
        return float((seen * (seen @ truth) / (seen @ seen) - truth).norm() / truth.norm())

    nac, mu = patient["nac"].data, patient["mu"]
    assert error(iterated_chang(nac, mu, 2)) < error(iterated_chang(nac, mu, 0))


def test_without_scatter_in_the_loop_the_image_is_brighter(patient: Study) -> None:
    wall, nac, mu = patient["lv"].data > 0.5, patient["nac"].data, patient["mu"]
    with_scatter, without = (iterated_chang(nac, mu, 1, scatter=scatter)[wall].mean() for scatter in (True, False))
    assert 1.1 < float(without / with_scatter) < 1.6


def test_the_true_map_and_projections_give_the_clinical_answer(patient: Study) -> None:
    wall, ac = patient["lv"].data > 0.5, patient["ac"].data
    image = from_projections(patient.projections["raw"], patient["mu"])
    assert float((image - ac)[wall].norm() / ac[wall].norm()) < 0.15


def test_refusals(method: Indirect, patient: Study) -> None:
    with pytest.raises(BadArgument, match="passes"):
        method.using(passes=-1)
    with pytest.raises(BadArgument, match="form"):
        method.using(form="guess")  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="border"):
        Indirect(**SMALL, border=-1.0)
    nac = patient["nac"]
    empty = nac.with_data(
        torch.where(torch.arange(nac.grid.shape[0])[:, None, None] == 0, 1.0, torch.zeros(())).expand(nac.grid.shape)
    )
    with pytest.raises(BadValues, match="no counts"):
        method.predicted_mu(replace(patient, volumes={**patient.volumes, "nac": empty}))
    turned = replace(nac.grid, affine=tuple(map(tuple, nac.grid.matrix[:, [1, 0, 2, 3]])))
    with pytest.raises(GridMismatch, match="oblique"):
        method.predicted_mu(replace(patient, volumes={**patient.volumes, "nac": replace(nac, grid=turned)}))
