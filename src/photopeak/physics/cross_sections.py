"""How photons of 30 to 511 keV meet water and the tissues of the body.

Mass attenuation by process from NIST XCOM (Berger, Hubbell et al., NIST Standard Reference Database 8, version 1.5),
mixed by weight to the compositions of ICRU Report 44 as tabulated by NIST (Hubbell & Seltzer, NISTIR 5632, table 2).
Compton scattering is Klein & Nishina 1929 (Z Phys 52:853): free electrons at rest.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from photopeak.core.errors import BadArgument

Array = np.ndarray

ELECTRON_KEV = 510.99895
ENERGIES_KEV = (30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0, 200.0, 300.0, 400.0, 500.0, 600.0)
LOWEST_KEV, HIGHEST_KEV = 30.0, 511.0


@dataclass(frozen=True)
class Material:
    """Mass attenuation coefficients at `ENERGIES_KEV`, cm2/g.

    Parameters
    ----------
    density_g_per_cm3 : the tissue's own; lung as inflated here, 0.26.
    coherent, incoherent, photoelectric : one number for each of `ENERGIES_KEV`.
    """

    name: str
    density_g_per_cm3: float
    coherent: tuple[float, ...]
    incoherent: tuple[float, ...]
    photoelectric: tuple[float, ...]

    def coherent_per_cm(self, energy_kev: Array | float) -> Array:
        """Linear coefficient of coherent (Rayleigh) scattering, 1/cm."""
        return self._per_cm(self.coherent, energy_kev)

    def incoherent_per_cm(self, energy_kev: Array | float) -> Array:
        """Linear coefficient of incoherent (Compton) scattering, 1/cm."""
        return self._per_cm(self.incoherent, energy_kev)

    def photoelectric_per_cm(self, energy_kev: Array | float) -> Array:
        """Linear coefficient of photoelectric absorption, 1/cm."""
        return self._per_cm(self.photoelectric, energy_kev)

    def mu_per_cm(self, energy_kev: Array | float) -> Array:
        """Linear attenuation of a narrow beam: all processes, coherent scattering included, 1/cm."""
        processes = (self.coherent, self.incoherent, self.photoelectric)
        return np.sum([self._per_cm(process, energy_kev) for process in processes], axis=0)

    def _per_cm(self, mass_cm2_per_g: tuple[float, ...], energy_kev: Array | float) -> Array:
        energy = np.asarray(energy_kev, dtype=float)
        if not ((energy >= LOWEST_KEV) & (energy <= HIGHEST_KEV)).all():
            raise BadArgument(
                f"energy_kev from {energy.min():g} to {energy.max():g}",
                needed=f"{LOWEST_KEV:g} to {HIGHEST_KEV:g} keV",
                remedy="The table covers SPECT and PET photons only.",
            )
        in_logs = CubicSpline(np.log(ENERGIES_KEV), np.log(mass_cm2_per_g))
        return self.density_g_per_cm3 * np.exp(in_logs(np.log(energy)))


# fmt: off
WATER = Material(
    "water", 1.0,
    (0.04694, 0.02874, 0.01936, 0.01392, 0.008165, 0.005349, 0.002442, 0.001388, 6.215e-4, 3.506e-4, 2.247e-4, 1.56e-4),
    (0.1829, 0.1827, 0.1803, 0.1770, 0.1697, 0.1626, 0.1474, 0.1353, 0.1179, 0.1058, 0.09663, 0.08939),
    (0.1458, 0.05680, 0.02725, 0.01493, 0.005770, 0.002763, 7.308e-4, 2.887e-4, 8.160e-5, 3.493e-5, 1.883e-5, 1.173e-5),
)
MUSCLE = Material(
    "skeletal muscle", 1.05,
    (0.04553, 0.02789, 0.01879, 0.01351, 0.007924, 0.005191, 0.002370, 0.001347, 6.033e-4, 3.404e-4, 2.181e-4, 1.52e-4),
    (0.1814, 0.1812, 0.1788, 0.1755, 0.1682, 0.1612, 0.1460, 0.1341, 0.1169, 0.1048, 0.09575, 0.08858),
    (0.1513, 0.05942, 0.02867, 0.01577, 0.006137, 0.002952, 7.872e-4, 3.125e-4, 8.880e-5, 3.813e-5, 2.060e-5, 1.284e-5),
)
LUNG = Material(
    "lung", 0.26,
    (0.04620, 0.02830, 0.01907, 0.01371, 0.008045, 0.005271, 0.002406, 0.001368, 6.128e-4, 3.457e-4, 2.216e-4, 1.54e-4),
    (0.1815, 0.1813, 0.1789, 0.1756, 0.1683, 0.1613, 0.1461, 0.1342, 0.1170, 0.1049, 0.09583, 0.08865),
    (0.1538, 0.06035, 0.02909, 0.01600, 0.006220, 0.002990, 7.963e-4, 3.160e-4, 8.970e-5, 3.851e-5, 2.079e-5, 1.296e-5),
)
ADIPOSE = Material(
    "adipose tissue", 0.95,
    (0.03574, 0.02179, 0.01464, 0.01049, 0.006130, 0.004003, 0.001820, 0.001032, 4.617e-4, 2.603e-4, 1.668e-4, 1.16e-4),
    (0.1857, 0.1848, 0.1819, 0.1782, 0.1706, 0.1632, 0.1477, 0.1356, 0.1182, 0.1059, 0.09678, 0.08953),
    (.08488, 0.03297, 0.01579, 0.008637, 0.003332, 0.001593, 4.212e-4, 1.663e-4, 4.693e-5, 2.008e-5, 1.082e-5, 6.74e-6),
)
CORTICAL_BONE = Material(
    "cortical bone", 1.92,
    (0.09079, 0.05676, 0.03895, 0.02838, 0.01693, 0.01121, 0.005201, 0.002985, 0.001350, 7.650e-4, 4.912e-4, 3.418e-4),
    (0.1629, 0.1643, 0.1632, 0.1609, 0.1552, 0.1493, 0.1359, 0.1251, 0.1092, 0.09796, 0.08953, 0.08286),
    (1.077, 0.4445, 0.2221, 0.1255, 0.05072, 0.02506, 0.006969, 0.002838, 8.292e-4, 3.618e-4, 1.971e-4, 1.235e-4),
)
# fmt: on
MATERIALS = (WATER, MUSCLE, LUNG, ADIPOSE, CORTICAL_BONE)


def compton_energy_kev(energy_kev: Array | float, cosine: Array | float) -> Array:
    """Energy of a photon after a Compton scatter through an angle of the given cosine, keV."""
    return np.asarray(energy_kev / (1 + energy_kev / ELECTRON_KEV * (1 - cosine)))


def klein_nishina(energy_kev: Array | float, cosine: Array | float) -> Array:
    """Differential cross section of one electron, in squared classical electron radii per steradian."""
    kept = compton_energy_kev(energy_kev, cosine) / energy_kev
    return np.asarray(0.5 * kept**2 * (kept + 1 / kept - 1 + np.square(cosine)))


def klein_nishina_total(energy_kev: Array | float) -> Array:
    """`klein_nishina` over all directions, in squared classical electron radii."""
    a = np.asarray(energy_kev) / ELECTRON_KEV
    log = np.log1p(2 * a)
    first = (1 + a) / a**2 * (2 * (1 + a) / (1 + 2 * a) - log / a)
    return np.asarray(2 * math.pi * (first + log / (2 * a) - (1 + 3 * a) / (1 + 2 * a) ** 2))
