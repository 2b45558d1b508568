from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import HeartFrame
from photopeak.core import COUNTS, Grid, Projections, Step, Study, Volume
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.core.random import stream
from photopeak.evaluate.benchmark import read_plan
from photopeak.evaluate.low_dose import (
    EXPLAINED,
    HEART_COUNTS,
    LIKELIHOOD,
    TOTAL,
    Z_VARIATION,
    LowDosePlan,
    contrast_slope,
    defects_of,
    log_likelihood_of,
    low_dose_scores,
    pictured,
    z_variation_ratio,
)
from photopeak.physics.pinhole import Pinhole
from photopeak.simulate.dose import SETTINGS

GRID = Grid.regular((16, 20, 20), 8.0)
HEART = FoundHeart(HeartFrame((0.0, 0.0, 0.0), (0.6, -0.7, -0.4)), 36.0, 76.0, 0.9)
CAMERA = replace(Pinhole.named("dnm_530c").few(1), shape=(4, 4), pixel_mm=20.0)
ENTRY = {"label": "one", "method": "mlem"}


def planned(**others: Any) -> LowDosePlan:
    plan = read_plan({"reference": "one", "entry": [ENTRY], **others}, LowDosePlan)
    assert isinstance(plan, LowDosePlan)
    return plan


def test_the_settings_of_the_paper_unless_told() -> None:
    assert planned().settings == tuple(map(str, SETTINGS))
    plan = planned(settings=["5%", "3 view"], held_out=["3 views"], scored_scans=4)
    assert plan.trained_on == ("5%",)
    assert plan.scored == {"persons": 4, "one_scan_each": True}
    assert next(iter(plan.runs())).name == "MLEM"


def test_quickly_holds_out_what_is_left() -> None:
    quick = planned(held_out=["10%", "5 views"], quick={"settings": ["5%", "10%"], "scored_scans": 2}).quickly()
    assert (quick.settings, quick.held_out, quick.scored_scans) == (("5%", "10%"), ("10%",), 2)


@pytest.mark.parametrize(
    "others",
    [
        {"settings": ["5%", "5%"]},
        {"settings": ["fivefold"]},
        {"settings": []},
        {"held_out": ["2%"]},
        {"settings": ["5%"], "held_out": ["5%"]},
        {"iterations": 4},
        {"scored_persons": 3},
        {"quick": {"scored_persons": 3}},
    ],
)
def test_plans_that_cannot_be(others: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        planned(**others)


def heart() -> torch.Tensor:
    """A shell around the heart's centre."""
    distance = np.linalg.norm(GRID.points(), axis=-1)
    return torch.from_numpy(((distance > 20) & (distance < 40)) + 0.1).float()


def scored(answer: torch.Tensor, fraction: float = 0.1, lost: float = 0.0) -> dict[str, Any]:
    truth = Volume(100 * heart(), GRID, COUNTS)
    raw = Projections(torch.full((1, 4, 4), 10.0), CAMERA)
    study = Study("a", {"ac": truth}, {"raw": raw}).add(
        {"answer": Volume(answer, GRID, COUNTS)}, Step(("answer",), "x")
    )
    expected = (1 - lost) * raw.counts
    told = {"of": "answer", "truths": ["ac"], "heart": HEART, "fraction": fraction, "expected": expected}
    return low_dose_scores(study, **told, likelihood_5=log_likelihood_of(raw.counts, raw.counts), with_maps=True)


def test_a_perfect_answer_in_the_counts_of_its_dose() -> None:
    made = scored(10 * heart())
    figures = made["scores"]["ac"]
    assert figures["heart NRMSE"] == pytest.approx(0, abs=1e-4)
    for name in (TOTAL, HEART_COUNTS, EXPLAINED, Z_VARIATION):
        assert figures[name] == pytest.approx(1, rel=1e-5)
    assert figures[LIKELIHOOD] == 0
    assert made["segments"]["answer"] == pytest.approx([v / 10 for v in made["segments"]["ac"]], rel=1e-5)
    assert torch.tensor(made["maps"]["answer"]).shape == torch.tensor(made["maps"]["ac"]).shape == (24, 72)


def test_a_wrong_scale_shows_in_counts_and_likelihood_alone() -> None:
    figures = scored(5 * heart(), lost=0.5)["scores"]["ac"]
    assert figures["heart NRMSE"] == pytest.approx(0, abs=1e-4)
    assert figures[TOTAL] == figures[HEART_COUNTS] == pytest.approx(0.5, rel=1e-5)
    assert figures[EXPLAINED] == pytest.approx(0.5)
    assert figures[LIKELIHOOD] == pytest.approx(1000 * (np.log(0.5) + 0.5), rel=1e-5)


def test_z_variation_tells_flicker_and_its_loss() -> None:
    truth, inside = Volume(heart(), GRID, COUNTS), torch.ones(GRID.shape, dtype=torch.bool)
    flicker = truth.with_data(heart() * (1 + 0.5 * (torch.arange(16) % 2))[:, None, None])
    assert z_variation_ratio(flicker, truth, inside) > 1.5
    assert z_variation_ratio(truth, flicker, inside) < 0.7
    assert z_variation_ratio(truth.with_data(7 * truth.data), truth, inside) == pytest.approx(1)


def test_a_count_where_none_is_expected_is_no_infinity() -> None:
    counts, expected = torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[0.0, 3.0]]])
    assert log_likelihood_of(expected, counts) == pytest.approx(np.log(2e-3) - 2e-3 + 3 * np.log(3) - 3)
    assert log_likelihood_of(expected, counts) < log_likelihood_of(counts, counts)


def test_contrast_slope_is_the_share_that_is_kept() -> None:
    defects = {f"s{n}": {"defect": [0, 1], "normal": list(range(2, 17))} for n in range(4)}
    lines = {}
    for number, scan in enumerate(defects):
        lost = 0.1 + 0.15 * number
        truth = [1 - lost, 1 - lost / 2] + [1.0] * 15
        answer = [50 * (1 - 0.6 * lost), 50 * (1 - 0.3 * lost)] + [50.0] * 15
        lines[scan] = {"segments": {"ac": truth, "answer": answer}}
    persons = {scan: scan for scan in defects}
    found = contrast_slope(lines, defects, persons, "ac", stream(0, 0))
    assert found is not None
    assert found == pytest.approx((0.6, 0.6, 0.6))
    two = {scan: lines[scan] for scan in ("s0", "s1")}
    assert contrast_slope(two, defects, persons, "ac", stream(0, 0)) is None


def test_defects_and_the_scan_that_is_drawn() -> None:
    ill, well = [0.5, 0.9] + [1.0] * 15, [1.0] * 17
    found = {n: defects_of(Study(n, facts={"truth": {"segments": s}})) for n, s in (("well", well), ("ill", ill))}
    assert found["ill"] == {"defect": [0], "normal": list(range(2, 17))}
    assert pictured(found) == "ill"
    assert pictured({"well": found["well"]}) == "well"
    assert defects_of(Study("real")) == {"defect": [], "normal": []}
    with pytest.raises(MissingInput):
        pictured({})
