import pytest
import torch

from photopeak.core import COUNTS, HU, Grid, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues, WrongQuantity
from photopeak.physics.mumap import mu_from_ct

VOLTAGES_140 = (80, 100, 120, 140)
VOLTAGES_511 = (80, 100, 110, 120, 130, 140)
BREAKS_511 = {80: 50, 100: 52, 110: 43, 120: 47, 130: 37, 140: 30}
TABLES = [(kvp, 140.5) for kvp in VOLTAGES_140] + [(kvp, 511.0) for kvp in VOLTAGES_511]


def _ct(*hu: float) -> Volume:
    return Volume(torch.tensor(hu, dtype=torch.float64).reshape(1, 1, -1), Grid.regular((1, 1, len(hu)), 4.0), HU)


def _mu(*hu: float, kvp: float, energy_kev: float) -> list[float]:
    return mu_from_ct(_ct(*hu), kvp=kvp, energy_kev=energy_kev).data.flatten().tolist()


@pytest.mark.parametrize("kvp", VOLTAGES_140)
def test_water_for_spect(kvp):
    assert _mu(0, kvp=kvp, energy_kev=140.5) == pytest.approx([0.1538])


@pytest.mark.parametrize("kvp", VOLTAGES_511)
def test_water_for_pet(kvp):
    assert _mu(0, kvp=kvp, energy_kev=511.0) == pytest.approx([0.096])


@pytest.mark.parametrize(("kvp", "energy"), TABLES)
def test_air_is_zero_and_nothing_is_negative(kvp, energy):
    air, outside, water = _mu(-1000, -3024, 0, kvp=kvp, energy_kev=energy)
    assert air == pytest.approx(0, abs=1e-12)
    assert outside == 0
    assert water > 0


@pytest.mark.parametrize(("kvp", "energy"), TABLES)
def test_bilinear_without_a_jump_and_rising(kvp, energy):
    hu = BREAKS_511[kvp] if energy == 511.0 else 0
    below, above = _mu(hu - 1e-6, hu + 1e-6, kvp=kvp, energy_kev=energy)
    assert above == pytest.approx(below, abs=1.5e-4)
    values = _mu(-900, -500, -100, 0, 100, 500, 1500, kvp=kvp, energy_kev=energy)
    assert values == sorted(values)
    assert len(set(values)) == len(values)


def test_dense_bone_at_120_kv():
    assert _mu(1000, kvp=120, energy_kev=140.5) == pytest.approx([0.1538 + 0.1039])
    assert _mu(1000, kvp=120, energy_kev=511.0) == pytest.approx([2000 * 5.10e-5 + 0.0471])


def test_the_map_stays_on_the_grid_and_knows_its_energy():
    ct = _ct(-1000, 0, 50)
    mu = mu_from_ct(ct, kvp=120)
    assert mu.grid is ct.grid
    assert mu.quantity == attenuation(140.5)
    assert mu_from_ct(ct, kvp=120, energy_kev=511.0).quantity == attenuation(511.0)


@pytest.mark.parametrize(("kvp", "energy"), [(115, 140.5), (110, 140.5), (115, 511.0), (0, 511.0)])
def test_unknown_tube_voltage(kvp, energy):
    with pytest.raises(BadArgument, match=rf"kvp={kvp}"):
        mu_from_ct(_ct(0), kvp=kvp, energy_kev=energy)


ABELLA_NODES = {80: (0.1258, 0.1340), 100: (0.1330, 0.1430), 120: (0.1401, 0.1519), 140: (0.1489, 0.1629)}


def _abella(*hu: float, kvp: float) -> list[float]:
    return mu_from_ct(_ct(*hu, 0), kvp=kvp, energy_kev=511.0, table="abella").data.flatten().tolist()[:-1]


@pytest.mark.parametrize("kvp", ABELLA_NODES)
def test_trilinear_passes_its_nodes(kvp):
    assert _abella(-1000, -500, 0, 1000, 3000, kvp=kvp) == pytest.approx(
        [0, 0.0465, 0.093, *ABELLA_NODES[kvp]], abs=6e-5
    )
    assert _abella(-3024, kvp=kvp) == [0]


def test_trilinear_is_linear_between_tube_voltages():
    low, high, between = (_abella(-700, 40, 900, 2500, kvp=kvp) for kvp in (100, 120, 115))
    expected = [0.25 * one + 0.75 * other for one, other in zip(low, high, strict=True)]
    assert between == pytest.approx(expected, rel=1e-12)
    assert _abella(2500, kvp=120) > _abella(2500, kvp=119.9) > _abella(2500, kvp=80.1) > _abella(2500, kvp=80)


def test_both_tables_agree_on_soft_tissue_within_six_percent():
    carney = _mu(-100, 0, 40, 80, kvp=120, energy_kev=511.0)
    assert _abella(-100, 0, 40, 80, kvp=120) == pytest.approx(carney, rel=0.06)
    assert _abella(0, kvp=120) < _mu(0, kvp=120, energy_kev=511.0)


@pytest.mark.parametrize("kvp", [79.9, 141, 0, float("nan")])
def test_trilinear_ends_where_it_was_measured(kvp):
    with pytest.raises(BadArgument, match="80 to 140"):
        _abella(0, kvp=kvp)


def test_tables_that_cannot_be():
    with pytest.raises(BadArgument, match=r"table='burger' at 511 keV"):
        mu_from_ct(_ct(0), kvp=120, energy_kev=511.0, table="burger")
    with pytest.raises(BadArgument, match=r"table='abella' at 140.5 keV"):
        mu_from_ct(_ct(0), kvp=120, table="abella")


def test_unknown_photon_energy():
    with pytest.raises(BadArgument, match="energy_kev=159"):
        mu_from_ct(_ct(0), kvp=120, energy_kev=159.0)


def test_only_hu_are_ct_numbers():
    counts = _ct(0).with_data(torch.zeros(1, 1, 1), COUNTS)
    with pytest.raises(WrongQuantity, match='"ct" holds counts'):
        mu_from_ct(counts, kvp=120)


@pytest.mark.parametrize("hu", [(0.0, 1e5), (-5000.0, 0.0), (0.0, float("nan")), (-1000.0, -1000.0)])
def test_numbers_that_are_no_hu(hu):
    with pytest.raises(BadValues, match="CT numbers"):
        mu_from_ct(_ct(*hu), kvp=120)
