from collections.abc import Mapping
from typing import Any

import pytest
import torch

from photopeak.core import COUNTS, Grid, Method, Study, Volume
from photopeak.core.errors import MissingInput
from photopeak.testing import check_method

GRID = Grid.regular((2, 3, 4), 4.0)


class Scale(Method):
    name, reads, writes = "scale", ("nac",), ("ac",)

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def make(self, study: Study) -> Mapping[str, Volume]:
        return {"ac": study["nac"].with_data(self.factor * study["nac"].data)}

    def settings(self) -> Mapping[str, Any]:
        return {"factor": self.factor}


class FromCounts(Scale):
    reads_projections = ("emission",)


def test_a_method_is_a_function_of_studies():
    study = Study("p17", {"nac": Volume(torch.ones(GRID.shape), GRID, COUNTS)})
    check_method(Scale(3.0), study)
    made = Scale(3.0)(study)
    assert float(made["ac"].data.mean()) == 3
    assert str(made.history[0]) == "ac: scale(factor=3.0) from nac"


@pytest.mark.parametrize(("kind", "missing"), [(Scale, "nac"), (FromCounts, "nac, emission")])
def test_missing_inputs_are_all_named(kind, missing):
    with pytest.raises(MissingInput, match=f"without {missing}"):
        kind(3.0)(Study("p17"))
