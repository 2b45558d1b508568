"""CT numbers to linear attenuation, for the photons of SPECT (140.5 keV) and of PET (511 keV).

140.5 keV: bilinear tables of the NM/CT 670 family's Optima CT540 as listed by PyTomography, water 0.1538/cm.
511 keV: Carney et al., Med Phys 2006; 33:976, bilinear with a break point for each tube voltage.
"""

import torch

from photopeak.core import HU, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues
from photopeak.core.units import ANNIHILATION_KEV, TC99M_KEV

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


def mu_from_ct(ct: Volume, *, kvp: float, energy_kev: float = TC99M_KEV) -> Volume:
    """Attenuation map of a CT, on the CT's grid.

    Parameters
    ----------
    ct : HU.
    kvp : tube voltage of the CT, from its header (0018,0060).
    energy_kev : 140.5 or 511.

    Raises
    ------
    WrongQuantity : the volume is not in HU.
    BadArgument : no table for this tube voltage or photon energy.
    BadValues : numbers that are no HU.
    """
    hu = ct.require(HU, name="ct").data
    low, high = (float(v) for v in torch.aminmax(hu))
    if not (low >= -3100 and high <= 32768 and high > -950):
        raise BadValues(
            f"CT numbers from {low:g} to {high:g}", needed="HU", remedy="Apply rescale slope and intercept first."
        )
    if energy_kev == TC99M_KEV:
        below, above = _table(_SLOPES_140, kvp)
        mu = torch.where(hu < 0, below * hu, above * hu) + _WATER_140
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
