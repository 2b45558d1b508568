import pytest
import torch

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.polar import LVSurface, polar_map
from photopeak.core import Grid, Projections, Study
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.methods import method
from photopeak.methods.osem import Osem
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.testing import check_method


def test_makes_nac_and_ac_of_the_same_projections(patient: Study) -> None:
    wall = patient["lv"].data > 0.6
    ratio = float(patient["ac"].data[wall].mean() / patient["nac"].data[wall].mean())
    assert 2.2 < ratio < 4.5


def test_ac_is_more_uniform_than_nac_in_a_patient_without_defects(patient: Study) -> None:
    assert not patient.facts["patient"]["defects"], "the fixture's seed must draw a patient without defects"
    surface = LVSurface.of(FoundHeart.from_dict(patient.facts["heart"]))
    spread = {name: polar_map(patient[name], surface) for name in ("nac", "ac_clean")}
    spread = {name: float(m.std() / m.mean()) for name, m in spread.items()}
    assert spread["ac_clean"] < spread["nac"]


def test_contract(patient: Study) -> None:
    check_method(Osem("ac", iterations=1, subsets=10), patient)


def test_resolution_recovery_sharpens_a_point() -> None:
    grid = Grid.regular((9, 33, 33), 6.4)
    camera = ParallelHole.circular(views=16, arc_deg=360.0, shape=(9, 33), pixel_mm=6.4)
    point = torch.zeros(grid.shape)
    point[4, 16, 20] = 1000.0
    study = Study("point", projections={"raw": Projections(camera.system(grid)(point), camera)})
    plain, sharp = (
        Osem("nac", as_="x", subsets=4, cutoff_per_cm=None, recover=recover)(study)["x"].data
        for recover in (False, True)
    )
    assert float(sharp[4, 16, 20]) > 2 * float(plain[4, 16, 20])
    assert float(sharp.sum()) == pytest.approx(float(plain.sum()), rel=0.02)


def test_ac_without_mu_says_what_is_missing(patient: Study) -> None:
    bare = Study("x", projections=patient.projections)
    with pytest.raises(MissingInput, match="mu"):
        Osem("ac")(bare)
    assert torch.isfinite(Osem("nac", iterations=1)(bare)["nac"].data).all()


def test_unknown_result_is_refused() -> None:
    with pytest.raises(BadArgument, match="makes"):
        method("osem", makes="pet")
