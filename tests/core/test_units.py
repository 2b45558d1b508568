import pytest

from photopeak.core import COUNTS, HU, SUV, attenuation
from photopeak.core.units import ANNIHILATION_KEV, MM_PER_CM, TC99M_KEV


def test_attenuation_belongs_to_an_energy():
    assert attenuation(TC99M_KEV) == attenuation(140.5)
    assert attenuation(TC99M_KEV) != attenuation(ANNIHILATION_KEV)
    assert str(attenuation(TC99M_KEV)) == "linear attenuation [1/cm at 140.5 keV]"


def test_quantities_are_told_apart_by_name_and_unit():
    assert len({COUNTS, HU, SUV}) == 3
    assert str(SUV) == "standardised uptake value [g/ml]"


def test_a_quantity_is_frozen():
    with pytest.raises(AttributeError):
        COUNTS.unit = "kcounts"


def test_the_bridge_from_mm_to_cm():
    assert 250.0 / MM_PER_CM == 25.0
