"""What the numbers of a volume mean, and the constants that join units.

Lengths are millimetres and attenuation is 1/cm, as the field writes them; `MM_PER_CM` is the only bridge.
"""

from dataclasses import dataclass

MM_PER_CM = 10.0

TC99M_KEV = 140.5
ANNIHILATION_KEV = 511.0

MATTER_PER_CM = 0.02
"""Air attenuates less, lung more."""
BODY_PER_CM = 0.05
"""Lung attenuates less, everything else in a body more."""


@dataclass(frozen=True)
class Quantity:
    """A physical quantity: its name, its unit, and the photon energy where the meaning depends on it."""

    name: str
    unit: str
    energy_kev: float | None = None

    def __str__(self) -> str:
        at = "" if self.energy_kev is None else f" at {self.energy_kev:g} keV"
        return f"{self.name} [{self.unit}{at}]"


COUNTS = Quantity("counts", "counts")
HU = Quantity("CT number", "HU")
SUV = Quantity("standardised uptake value", "g/ml")
BQML = Quantity("activity concentration", "Bq/ml")
FACTOR = Quantity("factor", "1")


def attenuation(energy_kev: float) -> Quantity:
    """Linear attenuation coefficient, 1/cm, at one photon energy."""
    return Quantity("linear attenuation", "1/cm", energy_kev)
