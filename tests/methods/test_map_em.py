"""The relative difference prior for a pinhole camera, as low doses are reconstructed with it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from photopeak.core import Study
from photopeak.methods.map_em import MapEm
from photopeak.methods.mlem import Mlem
from photopeak.physics.support import body_of
from photopeak.testing import check_method

Balls = Callable[..., Study]


def _map(beta: float, *, subsets: int = 1) -> MapEm:
    return MapEm("ac", prior="rdp", beta=beta, iterations=20, subsets=subsets, scatter=None)


@pytest.mark.parametrize("subsets", [1, 3])
def test_contract(subsets: int, hot_ball: Balls) -> None:
    check_method(_map(0.1, subsets=subsets), hot_ball(fraction=0.1))


def test_the_prior_takes_noise_away_and_stays_in_the_body(hot_ball: Balls) -> None:
    study = hot_ball(fraction=0.01)
    truth = 0.01 * study["ac"].data
    errors = []
    for found in (Mlem("ac", iterations=50, scatter=None), _map(0.01), _map(0.1)):
        made = found(study)["ac"].data
        assert not bool(made[~body_of(study["mu"])].any())
        errors.append(float((made - truth).norm() / truth.norm()))
    assert errors[2] < errors[1] < errors[0]


def test_without_correction_the_body_is_named(hot_ball: Balls) -> None:
    study = hot_ball()
    found = MapEm("nac", prior="rdp", iterations=4, subsets=1, within="mu", grid=study["mu"].grid)
    made = found(study)["nac"].data
    assert not bool(made[~body_of(study["mu"])].any())
    assert float(made.sum()) > 0


def test_beta_means_the_same_for_every_dose(hot_ball: Balls) -> None:
    """Relative differences scale with the counts, so that less dose does not need another beta for its level."""
    full = hot_ball()
    tenth = replace(full, projections={"raw": full.projections["raw"].with_counts(full.projections["raw"].counts / 10)})
    one, other = (_map(0.1)(study)["ac"].data for study in (full, tenth))
    torch.testing.assert_close(other * 10, one, rtol=1e-3, atol=1e-3 * float(one.max()))
