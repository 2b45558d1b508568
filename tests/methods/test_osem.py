import pytest
import torch

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.polar import LVSurface, polar_map
from photopeak.core import Study
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.methods import method
from photopeak.methods.osem import Osem
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


def test_resolution_recovery_sharpens(patient: Study) -> None:
    plain = Osem("ac", as_="x", iterations=2)(patient)["x"].data
    sharp = Osem("ac", as_="x", iterations=2, recover=True)(patient)["x"].data
    assert float(sharp.max()) > float(plain.max())


def test_ac_without_mu_says_what_is_missing(patient: Study) -> None:
    bare = Study("x", projections=patient.projections)
    with pytest.raises(MissingInput, match="mu"):
        Osem("ac")(bare)
    assert torch.isfinite(Osem("nac", iterations=1)(bare)["nac"].data).all()


def test_unknown_result_is_refused() -> None:
    with pytest.raises(BadArgument, match="makes"):
        method("osem", makes="pet")
