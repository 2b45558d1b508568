import numpy as np
import pytest
from scipy.integrate import quad

from photopeak.core.errors import BadArgument
from photopeak.physics.cross_sections import (
    ADIPOSE,
    CORTICAL_BONE,
    ENERGIES_KEV,
    LUNG,
    MATERIALS,
    MUSCLE,
    WATER,
    Material,
    compton_energy_kev,
    klein_nishina,
    klein_nishina_total,
)

ELECTRON_RADIUS_CM = 2.8179403e-13
AVOGADRO = 6.02214076e23


@pytest.mark.parametrize(
    ("material", "energy_kev", "cm2_per_g"),
    [
        (WATER, 60.0, 0.2059),
        (WATER, 100.0, 0.1707),
        (WATER, 150.0, 0.1505),
        (WATER, 500.0, 0.09687),
        (MUSCLE, 100.0, 0.1693),
        (LUNG, 100.0, 0.1695),
        (ADIPOSE, 100.0, 0.1688),
        (CORTICAL_BONE, 30.0, 1.331),
        (CORTICAL_BONE, 60.0, 0.3148),
        (CORTICAL_BONE, 150.0, 0.1480),
    ],
)
def test_totals_are_those_of_nistir_5632_table_4(material: Material, energy_kev, cm2_per_g):
    assert float(material.mu_per_cm(energy_kev)) / material.density_g_per_cm3 == pytest.approx(cm2_per_g, rel=1e-3)


@pytest.mark.parametrize(
    ("material", "spect", "pet"), [(WATER, 0.1536, 0.0960), (MUSCLE, 0.1599, 0.0998), (CORTICAL_BONE, 0.2947, 0.1716)]
)
def test_attenuation_at_the_photopeaks(material: Material, spect, pet):
    assert float(material.mu_per_cm(140.5)) == pytest.approx(spect, rel=6e-3)
    assert float(material.mu_per_cm(511.0)) == pytest.approx(pet, rel=3e-3)


@pytest.mark.parametrize("material", MATERIALS, ids=lambda m: m.name)
def test_processes_add_up_and_fall_with_energy(material: Material):
    energy = np.linspace(30, 511, 400)
    parts = (
        material.coherent_per_cm(energy),
        material.incoherent_per_cm(energy),
        material.photoelectric_per_cm(energy),
    )
    assert np.allclose(sum(parts), material.mu_per_cm(energy), rtol=1e-12)
    for falling in (parts[0], parts[2], material.mu_per_cm(energy)):
        assert (np.diff(falling) < 0).all()
    assert len(material.coherent) == len(material.incoherent) == len(material.photoelectric) == len(ENERGIES_KEV)


def test_incoherent_is_klein_nishina_of_water_s_electrons():
    energy = np.array([100.0, 140.5, 300.0, 511.0])
    electrons_per_cm3 = AVOGADRO * 10 / 18.01528
    free = electrons_per_cm3 * klein_nishina_total(energy) * ELECTRON_RADIUS_CM**2
    assert WATER.incoherent_per_cm(energy) == pytest.approx(free, rel=0.015)


@pytest.mark.parametrize("other", [WATER, LUNG, ADIPOSE], ids=lambda m: m.name)
def test_soft_tissues_scale_with_energy_as_muscle_does(other: Material):
    energy = np.linspace(105, 140.5, 20)
    ours = other.mu_per_cm(energy) / other.mu_per_cm(140.5)
    assert ours == pytest.approx(MUSCLE.mu_per_cm(energy) / MUSCLE.mu_per_cm(140.5), rel=0.01)


def test_compton_energies():
    assert float(compton_energy_kev(140.5, 1.0)) == 140.5
    assert float(compton_energy_kev(510.99895, 0.0)) == pytest.approx(510.99895 / 2)
    cosine = np.linspace(-1, 1, 41)
    lengthened = 1 / compton_energy_kev(140.5, cosine) - 1 / 140.5
    assert lengthened == pytest.approx((1 - cosine) / 510.99895, rel=1e-9, abs=1e-15)


def test_klein_nishina_becomes_thomson_at_low_energy():
    cosine = np.linspace(-1, 1, 11)
    assert klein_nishina(1e-3, cosine) == pytest.approx((1 + cosine**2) / 2, rel=1e-4)
    assert float(klein_nishina_total(0.5)) == pytest.approx(8 * np.pi / 3, rel=3e-3)


@pytest.mark.parametrize("energy_kev", [40.0, 140.5, 511.0])
def test_the_total_is_the_integral(energy_kev):
    integral, _ = quad(lambda c: 2 * np.pi * float(klein_nishina(energy_kev, c)), -1, 1)
    assert float(klein_nishina_total(energy_kev)) == pytest.approx(integral, rel=1e-9)


@pytest.mark.parametrize("energy_kev", [29.0, 600.0, float("nan")])
def test_energies_beyond_the_table(energy_kev):
    with pytest.raises(BadArgument, match="energy_kev"):
        WATER.mu_per_cm(energy_kev)
