from dataclasses import replace

import numpy as np
import pytest
import torch

from photopeak.core import COUNTS, HU, Grid, Study, Volume
from photopeak.core.errors import BadValues, HeartNotFound, WrongQuantity
from photopeak.methods.heart_slices import HeartBatches, heart_of
from photopeak.methods.mean_acf import MeanFactor


def unit() -> MeanFactor:
    """A factor of one everywhere: AC is NAC at the population's scale."""
    return MeanFactor()


def test_without_correction_ac_is_nac_at_the_population_scale(patient: Study) -> None:
    method = unit()
    torch.testing.assert_close(method(patient)["ac"].data, method.feed.factor * patient["nac"].data)


def test_correction_is_confined_to_the_heart(patient: Study) -> None:
    method = unit()
    method._factor.fill_(2.0)
    corrected, nac = method(patient)["ac"].data, patient["nac"].data
    grid = patient["nac"].grid
    distance = torch.from_numpy(np.linalg.norm(grid.points() - np.array(heart_of(patient).centre_mm), axis=-1))
    inside = (distance < 60) & (nac > 0.3 * nac.max())
    torch.testing.assert_close(corrected[inside], 2 * method.feed.factor * nac[inside], rtol=0.02, atol=0)
    outside = distance > method.feed.reach_mm
    torch.testing.assert_close(corrected[outside], method.feed.factor * nac[outside])


def test_known_heart_is_used_and_unknown_one_is_found(patient: Study) -> None:
    stripped = replace(patient, facts={})
    found = np.array(heart_of(stripped).centre_mm)
    assert np.linalg.norm(found - np.array(patient.facts["truth"]["heart_centre_mm"])) < 10
    assert np.allclose(found, patient.facts["heart"]["centre_mm"])


def test_jittered_cuts_differ_and_are_deterministic(patient: Study) -> None:
    one, same = (list(HeartBatches(unit(), [patient]).hearts()) for _ in range(2))
    assert len(one) == 3
    assert all(torch.equal(a["nac"], b["nac"]) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0]["nac"], one[1]["nac"])


def test_ratio_of_ac_to_nac_is_near_one_after_scaling(patient: Study) -> None:
    heart = next(HeartBatches(unit(), [patient], variants=1).hearts())
    wall = heart["nac"] > 0.8
    assert 0.6 < float(heart["ac"][wall].mean() / heart["nac"][wall].mean()) < 1.6


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda d: d.fill_(0), BadValues),
        (lambda d: d.index_fill_(0, torch.tensor([5]), float("nan")), BadValues),
        (lambda d: d.uniform_(generator=torch.Generator().manual_seed(0)), HeartNotFound),
    ],
)
def test_bad_images_are_refused(patient: Study, spoil: object, error: type[Exception]) -> None:
    nac = patient["nac"]
    spoilt = nac.with_data(spoil(nac.data.clone()))  # type: ignore[operator]
    with pytest.raises(error):
        unit()(Study("x", volumes={"nac": spoilt}))


def test_ct_given_as_nac_is_refused() -> None:
    grid = Grid.regular((8, 8, 8), 6.4)
    ct = Volume(torch.rand(grid.shape), grid, HU)
    assert ct.quantity != COUNTS
    with pytest.raises(WrongQuantity, match="nac"):
        unit()(Study("x", volumes={"nac": ct}))
