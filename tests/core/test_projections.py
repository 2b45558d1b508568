from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from photopeak.core import Camera, EnergyWindow, Grid, Projections, Volume
from photopeak.core.errors import BadValues, ShapeMismatch


@dataclass(frozen=True)
class StillCamera(Camera):
    """Views of three rows and four columns, never used to project."""

    names: tuple[str, ...] = ("front", "left")
    kind = "still"

    @property
    def projection_shape(self) -> tuple[int, int, int]:
        return len(self.names), 3, 4

    def views(self, indices: Sequence[int]) -> "StillCamera":
        return StillCamera(tuple(self.names[i] for i in indices))

    def system(self, grid: Grid, mu: Volume | None = None) -> Any:
        raise AssertionError("not needed here")

    def to_dict(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "StillCamera":
        return cls()


def test_some_views_take_their_counts_along():
    seen = Projections(torch.arange(24.0).reshape(2, 3, 4), StillCamera())
    left = seen.views([1])
    assert left.camera == StillCamera(("left",))
    assert torch.equal(left.counts, seen.counts[1:])


def test_other_counts_of_the_same_acquisition():
    seen = Projections(torch.ones(2, 3, 4), StillCamera(), EnergyWindow(120.0, 126.0))
    doubled = seen.with_counts(2 * seen.counts)
    assert (doubled.camera, doubled.window) == (seen.camera, seen.window)
    assert float(seen.counts.max()) == 1
    assert str(doubled) == "2 views of 3x4, still, 120-126 keV, 48 counts"


def test_counts_must_fit_the_camera():
    with pytest.raises(ShapeMismatch, match=r"\(2, 4, 3\).*\(2, 3, 4\)"):
        Projections(torch.ones(2, 4, 3), StillCamera())


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_counts_must_be_counts(bad):
    counts = torch.ones(2, 3, 4)
    counts[0, 0, 0] = bad
    with pytest.raises(BadValues, match="counts"):
        Projections(counts, StillCamera())
