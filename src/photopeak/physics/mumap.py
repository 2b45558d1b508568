"""CT numbers to linear attenuation, for the photons of SPECT (140.5 keV) and of PET (511 keV).

140.5 keV: bilinear tables of the NM/CT 670 family's Optima CT540 as listed by PyTomography, water 0.1538/cm.
511 keV: Carney et al., Med Phys 2006; 33:976, bilinear with a break point for each tube voltage, or Abella et al., Phys
Med Biol 2012; 57:2477, trilinear, with water at 0.093/cm (3 % less than it has) and a flatter line for dense bone.
"""

from bisect import bisect_left
from typing import Literal

import torch
from torch import Tensor

from photopeak.core import HU, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues
from photopeak.core.units import ANNIHILATION_KEV, TC99M_KEV

Table511 = Literal["carney", "abella"]

_WATER_140 = 0.1538
_SLOPES_140: dict[int, tuple[float, ...]] = {
    80: (1.694e-4, 7.981e-5),
    100: (1.694e-4, 9.586e-5),
    120: (1.658e-4, 1.039e-4),
    140: (1.655e-4, 1.130e-4),
}
_CARNEY_511: dict[int, tuple[float, ...]] = {
    80: (3.64e-5, 0.0626, 50.0),
    100: (4.43e-5, 0.0544, 52.0),
    110: (4.92e-5, 0.0488, 43.0),
    120: (5.10e-5, 0.0471, 47.0),
    130: (5.51e-5, 0.0424, 37.0),
    140: (5.64e-5, 0.0408, 30.0),
}
_ABELLA_WATER = 0.093
_ABELLA_BONE_HU = 1000.0
_ABELLA_511: dict[int, tuple[float, ...]] = {
    80: (3.28e-5, 0.41e-5),
    100: (4.00e-5, 0.50e-5),
    120: (4.71e-5, 0.589e-5),
    140: (5.59e-5, 0.698e-5),
}


def mu_from_ct(ct: Volume, *, kvp: float, energy_kev: float = TC99M_KEV, table: Table511 = "carney") -> Volume:
    """Attenuation map of a CT, on the CT's grid.

    Parameters
    ----------
    ct : HU.
    kvp : tube voltage of the CT, from its header (0018,0060).
    energy_kev : 140.5 or 511.
    table : of 511 keV, "carney", of six tube voltages, or "abella", of all from 80 to 140 kVp, linear between four.

    Raises
    ------
    WrongQuantity : the volume is not in HU.
    BadArgument : no table of that name, or none for this tube voltage or photon energy.
    BadValues : numbers that are no HU.
    """
    hu = ct.require(HU, name="ct").data
    low, high = (float(v) for v in torch.aminmax(hu))
    if not (low >= -3100 and high <= 32768 and high > -950):
        raise BadValues(
            f"CT numbers from {low:g} to {high:g}", needed="HU", remedy="Apply rescale slope and intercept first."
        )
    if table not in ("carney", "abella") or (table == "abella" and energy_kev != ANNIHILATION_KEV):
        raise BadArgument(
            f"table={table!r} at {energy_kev:g} keV",
            needed=f'"carney" or "abella", the latter at {ANNIHILATION_KEV:g} keV only',
            remedy="Leave out the table at other energies.",
        )
    if energy_kev == TC99M_KEV:
        below, above = _table(_SLOPES_140, kvp)
        mu = torch.where(hu < 0, below * hu, above * hu) + _WATER_140
    elif energy_kev == ANNIHILATION_KEV and table == "abella":
        mu = _trilinear(hu, kvp)
    elif energy_kev == ANNIHILATION_KEV:
        slope, offset, break_hu = _table(_CARNEY_511, kvp)
        mu = torch.where(hu <= break_hu, 9.6e-5 * (hu + 1000), slope * (hu + 1000) + offset)
    else:
        raise BadArgument(
            f"energy_kev={energy_kev:g}", needed=f"{TC99M_KEV} or {ANNIHILATION_KEV:g}", remedy="Ask for one of these."
        )
    return ct.with_data(mu.clamp(min=0), attenuation(energy_kev))


def _table(table: dict[int, tuple[float, ...]], kvp: float) -> tuple[float, ...]:
    if kvp not in table:
        raise BadArgument(
            f"kvp={kvp:g}",
            needed=f"one of {', '.join(map(str, table))}",
            remedy="Read KVP (0018,0060) of the CT; choose the nearest table knowingly.",
        )
    return table[int(kvp)]


def _trilinear(hu: Tensor, kvp: float) -> Tensor:
    """1/cm at 511 keV: lines that meet in air, in water and at 1000 HU."""
    tissue, bone = _between(_ABELLA_511, kvp)
    below = hu.clamp(max=0) / 1000 * _ABELLA_WATER
    return _ABELLA_WATER + below + tissue * hu.clamp(0, _ABELLA_BONE_HU) + bone * (hu - _ABELLA_BONE_HU).clamp(min=0)


def _between(table: dict[int, tuple[float, ...]], kvp: float) -> tuple[float, ...]:
    """A row, linear between the two nearest tube voltages of the table."""
    voltages = sorted(table)
    if not voltages[0] <= kvp <= voltages[-1]:
        raise BadArgument(
            f"kvp={kvp:g}",
            needed=f"{voltages[0]} to {voltages[-1]}",
            remedy="Read KVP (0018,0060) of the CT; beyond these voltages nothing was measured.",
        )
    high = voltages[max(1, bisect_left(voltages, kvp))]
    low = voltages[voltages.index(high) - 1]
    share = (kvp - low) / (high - low)
    return tuple((1 - share) * one + share * other for one, other in zip(table[low], table[high], strict=True))
