"""Clinical findings of made-up hearts: what was put in must come out."""

from dataclasses import replace

import pytest
import torch

from photopeak.core.errors import BadArgument
from photopeak.evaluate.clinical import (
    agreement,
    assess,
    contrasts,
    limits_for,
    normal_limits,
    slope_over_persons,
    true_contrasts,
)

IMAGES = ("truth", "nac", "filled")


@pytest.fixture
def limits(make_scans):
    # The images without noise need some spread to have limits at all.
    return normal_limits([s.with_maps(truth=s["filled"]) for s in make_scans(24, 0)], IMAGES)


def found_in(scans, limits, images=IMAGES, seed=0):
    return assess(scans, limits, reference="truth", images=images, generator=torch.Generator().manual_seed(seed))


def test_half_filled_defects_have_half_the_contrast(make_scans, limits) -> None:
    found = found_in(make_scans(10, 14, sd=0.5), limits).findings
    assert found["filled"].contrast_slope.estimate == pytest.approx(0.5, abs=0.03)
    assert found["nac"].contrast_slope.estimate == pytest.approx(1.0, abs=0.03)
    assert found["truth"].contrast_slope == pytest.approx((1, 1, 1))
    assert found["nac"].true_slope.estimate == pytest.approx(1.0, abs=0.03)
    assert found["nac"].defect_segments == 14


def test_contrast_is_that_of_the_defect_and_not_of_the_wall(make_scans, limits) -> None:
    scans = make_scans(0, 12, sd=0.0)
    expected, owners = true_contrasts(scans)
    torch.testing.assert_close(contrasts(scans, "nac", limits), expected, atol=0.02, rtol=0)
    assert owners == [scan.person for scan in scans]


def test_deep_defects_are_found_and_normals_left_alone(make_scans, limits) -> None:
    found = found_in(make_scans(12, 12), limits)
    assert found.findings["nac"].area.estimate > 0.98
    assert found.findings["nac"].false_defects.estimate < 0.5
    assert found.findings["nac"].normalcy.estimate > 90
    assert (found.areas.present, found.areas.absent) == (12, 12)


def test_a_hole_in_every_normal_heart_is_counted(make_scans, limits) -> None:
    scans = make_scans(12, 4)
    holed = [s.with_maps(filled=make_hole(s["filled"])) if s.is_normal else s for s in scans]
    findings = found_in(holed, limits).findings["filled"]
    assert findings.false_defects.estimate >= 1
    assert findings.normalcy.estimate < 50


def make_hole(polar: torch.Tensor) -> torch.Tensor:
    made = polar.clone()
    made[:16, :20] *= 0.2
    return made


def test_bias_knows_no_scale_and_noise_no_bias(make_scans, generator) -> None:
    scans = make_scans(30, 0, sd=0.5)
    even = agreement(scans, "filled", "truth", generator)
    assert abs(even.bias.estimate) < 0.1
    assert even.absolute.estimate < 0.3
    uneven = agreement(scans, "nac", "truth", generator)
    assert uneven.absolute.estimate > 4
    assert uneven.low < uneven.bias.low <= uneven.bias.estimate <= uneven.bias.high < uneven.high


def test_limits_of_agreement_hold_95_per_cent(make_scans, generator) -> None:
    scans = make_scans(60, 0, sd=20.0)
    found = agreement(scans, "filled", "truth", generator)
    inside = (found.difference > found.low) & (found.difference < found.high)
    assert float(inside.double().mean()) == pytest.approx(0.95, abs=0.02)


def test_slope_by_hand_and_its_interval(generator) -> None:
    x = torch.randn(40, 5, generator=generator)
    y = 2 + 0.7 * x + 0.5 * torch.randn(40, 5, generator=generator)
    persons = [f"p{i}" for i in range(40)]
    slope = slope_over_persons(x, y, persons, generator)
    by_hand = torch.linalg.lstsq(torch.stack([torch.ones(200), x.flatten()], 1), y.flatten()[:, None]).solution[1]
    assert slope.estimate == pytest.approx(float(by_hand), rel=1e-4)
    assert slope.low < 0.7 < slope.high
    assert slope.high - slope.low == pytest.approx(2 * 1.96 * 0.5 / 200**0.5, rel=0.3)


def test_scans_of_one_person_do_not_narrow_an_interval(generator) -> None:
    x = torch.randn(20, 3, generator=generator)
    y = x + torch.randn(20, 3, generator=generator)
    persons = [f"p{i}" for i in range(20)]
    one = slope_over_persons(x, y, persons, torch.Generator().manual_seed(0))
    twice = slope_over_persons(x.repeat(2, 1), y.repeat(2, 1), persons * 2, torch.Generator().manual_seed(0))
    assert twice == pytest.approx(one)


def test_nac_is_read_with_limits_of_the_own_sex(make_scans, limits) -> None:
    scan = make_scans(1, 0)[0]
    assert limits_for(scan, "nac", limits) is limits["nac"]["F"]
    assert limits_for(scan, "filled", limits) is limits["filled"]["all"]
    with pytest.raises(BadArgument, match="limits of None"):
        limits_for(replace(scan, sex=None), "nac", limits)


def test_findings_are_the_same_for_the_same_seed(make_scans, limits) -> None:
    scans = make_scans(6, 6)
    one, two = (found_in(scans, limits).findings["nac"] for _ in range(2))
    assert (one.area, one.agreement.slope, one.false_defects) == (two.area, two.agreement.slope, two.false_defects)


def test_what_cannot_be_assessed(make_scans, limits) -> None:
    with pytest.raises(BadArgument, match="normals with a defect"):
        normal_limits(make_scans(10, 1), IMAGES)
    with pytest.raises(BadArgument, match="normal scans"):
        found_in(make_scans(1, 5), limits)
    with pytest.raises(BadArgument, match="without a defect"):
        found_in(make_scans(5, 1), limits)
    scans = make_scans(5, 5)
    with pytest.raises(BadArgument, match="two stress scans"):
        found_in([*scans, scans[0]], limits)
