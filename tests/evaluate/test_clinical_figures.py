"""The clinical pictures: what is put in is drawn, the notice is in each, the same bytes for the same input."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch

from photopeak.core.errors import BadArgument
from photopeak.evaluate.breakeven import ShiftCurve
from photopeak.evaluate.clinical import Clinical, assess, normal_limits
from photopeak.evaluate.clinical_figures import (
    agreement_figure,
    break_even_figure,
    contrast_figure,
    maps_figure,
    roc_figure,
)

IMAGES = ("nac", "filled")
CURVES = [ShiftCurve(np.array([0.0, 5.0, 10.0]), np.array([[1.0, 2.0 + k, 6.0]])) for k in range(3)]


def pixels(png: bytes) -> np.ndarray:
    from matplotlib.image import imread

    return imread(io.BytesIO(png))[..., :3]


@pytest.fixture
def clinical(make_scans) -> Clinical:
    limits = normal_limits(make_scans(20, 0), IMAGES)
    made = torch.Generator().manual_seed(0)
    return assess(make_scans(6, 6), limits, reference="filled", images=IMAGES, generator=made)


@pytest.fixture
def pictures(clinical: Clinical, make_scans) -> dict[str, Callable[[], bytes]]:
    scan, contrast = make_scans(1, 0)[0], torch.tensor([0.1, 0.3, 0.5])
    agreements = {image: row.agreement for image, row in clinical.findings.items()}
    return {
        "agreement": lambda: agreement_figure(agreements, "filled"),
        "roc": lambda: roc_figure(clinical),
        "maps": lambda: maps_figure(scan, {"NAC": "nac", "truth": "truth"}),
        "break-even": lambda: break_even_figure(CURVES, {"nac": [9.0] * 3, "padm": [2.0] * 3}, "error, %"),
        "contrast": lambda: contrast_figure({"nac": contrast / 2}, contrast, "ac"),
    }


def test_every_picture_bears_the_notice_and_is_the_same_twice(pictures) -> None:
    for name, draw in pictures.items():
        png = draw()
        foot = pixels(png)[-60:]
        reddish = (foot[..., 0] > foot[..., 1] + 0.3) & (foot[..., 0] > foot[..., 2] + 0.3)
        assert reddish.sum() > 500, name
        assert draw() == png, name


def test_a_wider_bias_moves_the_picture_of_agreement(clinical: Clinical) -> None:
    one, other = (clinical.findings[image].agreement for image in IMAGES)
    assert agreement_figure({"x": one}, "ac") != agreement_figure({"x": other}, "ac")


def test_a_hole_is_dark_where_it_is(make_scans) -> None:
    """The anterior wall is up: a hole there darkens the upper half of the disc only."""
    scan = make_scans(1, 0, sd=0.0)[0]
    even = torch.full((24, 72), 100.0)
    holed = even.clone()
    holed[10:16, :6] = holed[10:16, -6:] = 10.0
    whole, hole = (pixels(maps_figure(scan.with_maps(nac=m), {"a": "nac"})).sum(-1) for m in (even, holed))
    darker = np.argwhere(whole - hole > 0.5)
    disc = np.argwhere((whole < 2.9) & (np.arange(len(whole))[:, None] < 0.8 * len(whole)))
    assert len(darker) > 1000
    assert np.quantile(darker[:, 0], 0.9) < disc[:, 0].mean()


def test_nothing_to_draw(make_scans) -> None:
    for draw in (
        lambda: agreement_figure({}, "ac"),
        lambda: maps_figure(make_scans(1, 0)[0], {}),
        lambda: break_even_figure([], {}, "%"),
        lambda: contrast_figure({}, torch.zeros(2), "ac"),
    ):
        with pytest.raises(BadArgument, match="no "):
            draw()
