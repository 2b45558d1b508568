"""How much of a body a CT shows, and whether the uptake in it can be a dose."""

import numpy as np
import pytest
import torch

from photopeak.core import HU, SUV, Grid, Volume
from photopeak.core.errors import BadValues
from photopeak.evaluate.ct_field import dose_check, field_checks

GRID = Grid.regular((40, 80, 80), (10.0, 5.0, 5.0))


def body(radius_mm: float, *, fov_mm: float | None = None, grid: Grid = GRID) -> Volume:
    """A cylinder of soft tissue in air, in a round field of view beyond which the scanner has padded."""
    points = grid.points()
    across = np.hypot(points[..., 0], points[..., 1])
    hu = np.where(across <= radius_mm, 40.0, -1000.0)
    if fov_mm is not None:
        hu[across > fov_mm] = -3024
    return Volume.from_numpy(hu, grid, HU)


def verdicts(ct: Volume) -> tuple[str, str]:
    length, cut = field_checks(ct)
    return length.verdict, cut.verdict


def test_a_torso_with_air_around_it_is_usual() -> None:
    assert verdicts(body(150)) == ("usual", "usual")
    assert verdicts(body(150, fov_mm=190)) == ("usual", "usual")


@pytest.mark.parametrize(("slices", "verdict"), [(40, "usual"), (29, "unusual"), (10, "unusual"), (9, "refused")])
def test_a_short_ct(slices: int, verdict: str) -> None:
    assert verdicts(body(150, grid=Grid.regular((slices, 80, 80), (10.0, 5.0, 5.0))))[0] == verdict


def test_a_field_that_cuts_the_body_is_seen_at_the_border_and_at_the_padding() -> None:
    assert verdicts(body(250))[1] == "refused"
    assert verdicts(body(150, fov_mm=120))[1] == "refused"
    assert field_checks(body(150, fov_mm=120))[1].found == "100 % of the edge"
    assert verdicts(body(202))[1] == "unusual"


def test_air_alone_is_refused() -> None:
    with pytest.raises(BadValues, match="without tissue"):
        field_checks(body(-1.0))


@pytest.mark.parametrize(("suv", "verdict"), [(0.2, "unusual"), (0.9, "usual"), (2.5, "unusual")])
def test_a_body_holds_about_its_dose(suv: float, verdict: str) -> None:
    ct = body(150)
    pet = Volume(torch.where(ct.data > 0, suv, 7.0), GRID, SUV)
    check = dose_check(pet, ct)
    assert (check.found, check.verdict) == (f"{suv:.2f}", verdict)
