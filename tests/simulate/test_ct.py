from dataclasses import replace

import numpy as np
import pytest
import torch

from photopeak.core import HU, Grid, Volume
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.physics.cross_sections import CORTICAL_BONE, MATERIALS, WATER
from photopeak.physics.mumap import mu_from_ct
from photopeak.simulate.anatomy import Anatomy, build_anatomy
from photopeak.simulate.ct import EFFECTIVE_KEV, VOLTAGES, composition, ct_noise_free, draw_density, with_noise
from photopeak.simulate.draws import Draw
from photopeak.simulate.population import draw_patient


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    """Some slices through liver and lungs of somebody with fat enough to fill voxels."""
    grid = Grid.regular((10, 60, 84), (14.0, 5.0, 5.0), centre_mm=(0.0, 0.0, -40.0))
    return build_anatomy(replace(draw_patient(stream(3, 0), name="p"), fat_mm=22.0), grid, oversample=1)


def _over_water(kvp: float) -> dict[str, float]:
    kev = EFFECTIVE_KEV[kvp]
    water = float(WATER.mu_per_cm(kev))
    return {m.name: float(m.mu_per_cm(kev)) / m.density_g_per_cm3 / water for m in MATERIALS}


def _ct(anatomy: Anatomy, kvp: float) -> Volume:
    return ct_noise_free(anatomy, [], _over_water(kvp), {})


@pytest.mark.parametrize("kvp", EFFECTIVE_KEV)
def test_the_attenuation_at_511_comes_back(anatomy: Anatomy, kvp: float) -> None:
    """Carney's tables know nothing of our spectra or mixtures; what is not fat comes out right, fat 2 to 4 % low."""
    mu, truth = mu_from_ct(_ct(anatomy, kvp), kvp=kvp, energy_kev=511.0).numpy(), anatomy.mu(511.0).numpy()
    for tissue, within in (("liver", 0.01), ("muscle", 0.01), ("adipose", 0.05), ("lung", 0.03), ("bone", 0.02)):
        weight = anatomy.fractions[tissue] > (0.6 if tissue == "bone" else 0.95)
        assert weight.sum() >= 3, tissue
        assert mu[weight].mean() == pytest.approx(truth[weight].mean(), rel=within), tissue


@pytest.mark.parametrize(("kvp", "bone_over_water"), [(80.0, 2.995), (100.0, 2.646), (120.0, 2.441), (140.0, 2.319)])
def test_effective_energies_are_those_of_carneys_cortical_bone(kvp: float, bone_over_water: float) -> None:
    """(0.1716/cm - offset) / slope of each of its lines."""
    assert _over_water(kvp)["cortical bone"] * CORTICAL_BONE.density_g_per_cm3 == pytest.approx(
        bone_over_water, rel=0.01
    )


def test_ct_numbers_are_the_usual_ones(anatomy: Anatomy) -> None:
    image = _ct(anatomy, 120.0).numpy()
    inside = {tissue: image[part > 0.98].mean() for tissue, part in anatomy.fractions.items() if (part > 0.98).any()}
    assert 45 < inside["liver"] < 75
    assert -100 < inside["adipose"] < -60
    assert -800 < inside["lung"] < -650
    assert image.min() == pytest.approx(-1000, abs=0.5)


def test_bone_is_denser_at_low_voltage_and_fat_lighter(anatomy: Anatomy) -> None:
    low, high = (_ct(anatomy, kvp).numpy() for kvp in (80.0, 140.0))
    bone, fat = anatomy.fractions["bone"] > 0.5, anatomy.fractions["adipose"] > 0.9
    assert low[bone].mean() > high[bone].mean() + 100
    assert low[fat].mean() < high[fat].mean() - 8


def test_a_lesion_is_seen_in_lung(anatomy: Anatomy) -> None:
    spot = np.zeros(anatomy.grid.shape, np.float32)
    place = np.unravel_index(anatomy.fractions["lung"].argmax(), spot.shape)
    spot[place] = 1
    with_spot = ct_noise_free(anatomy, [(spot, 1.04)], _over_water(120.0), {}).numpy()
    assert with_spot[place] == pytest.approx(42, abs=12)
    assert np.array_equal(with_spot[spot == 0], _ct(anatomy, 120.0).numpy()[spot == 0])


def test_every_tissue_is_made_of_something(anatomy: Anatomy) -> None:
    assert set(anatomy.fractions) - set(composition(anatomy.patient)) == {"air"}


def test_densities_and_voltages_differ_between_people() -> None:
    draw = Draw(stream(0, 1))
    livers = [draw_density(draw)["liver"] for _ in range(200)]
    assert np.std(livers) == pytest.approx(0.006, rel=0.25)
    assert set(VOLTAGES) == set(EFFECTIVE_KEV)


def test_noise_has_the_wanted_sd_and_more_of_it_in_thick_slices() -> None:
    grid = Grid.regular((2, 80, 80), 4.0)
    radius = np.hypot(*np.moveaxis(grid.points()[..., :2], -1, 0))
    body = np.where(radius < np.array([100.0, 140.0])[:, None, None], 0.0, -1000.0)
    flat = Volume.from_numpy(body, grid, HU)
    noisy = with_noise(flat, 12.0, stream(0, 3))
    thin, thick = (noisy.data[k][torch.from_numpy(radius[k] < 80)].std().item() for k in (0, 1))
    assert (thin * thick) ** 0.5 == pytest.approx(12.0, rel=0.06)
    assert thick / thin == pytest.approx(np.exp(0.25 * 0.1536 * 8), rel=0.1)
    assert noisy.data.min() >= -1024


@pytest.mark.parametrize("sd", [-1.0, float("nan"), 2000.0])
def test_noise_that_no_ct_has(sd: float) -> None:
    flat = Volume(torch.zeros(2, 2, 2), Grid.regular((2, 2, 2), 4.0), HU)
    with pytest.raises(BadArgument, match="noise"):
        with_noise(flat, sd, stream(0, 0))
