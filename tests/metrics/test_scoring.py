import pytest
import torch

from photopeak.core import COUNTS, FACTOR, Grid, Study, Volume
from photopeak.core.errors import GridMismatch, MissingInput, WrongQuantity
from photopeak.metrics import all_metrics, score
from photopeak.metrics.nrmse import nrmse


@pytest.fixture
def study(generator: torch.Generator) -> Study:
    grid = Grid.regular((12, 13, 14), 4.0)
    ac, ctac = (Volume(torch.rand(grid.shape, generator=generator), grid, COUNTS) for _ in range(2))
    coarse = ac.on(grid.resampled(8.0))
    return Study("toy", {"ac": ac, "ctac": ctac, "coarse": coarse, "acf": ac.with_data(ac.data, FACTOR)})


def test_metrics_are_found_by_file():
    assert {"nrmse", "nmse", "psnr", "ssim", "segment_error"} <= set(all_metrics())
    assert all_metrics()["nrmse"] is nrmse


def test_score_holds_every_metric_of_volumes(study):
    mask = study["ctac"].data > 0.5
    scores = score(study, of="ac", truth="ctac", mask=mask)
    assert set(scores) == {name for name, found in all_metrics().items() if found.of == "volumes"}
    assert scores["nrmse"] == nrmse(study["ac"], study["ctac"], mask)


@pytest.mark.parametrize(
    ("of", "error", "words"),
    [("coarse", GridMismatch, '"coarse"'), ("acf", WrongQuantity, '"acf"'), ("pet", MissingInput, '"pet"')],
)
def test_refusals_name_the_volume(study, of, error, words):
    with pytest.raises(error, match=words):
        score(study, of=of, truth="ctac")
