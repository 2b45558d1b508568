"""Named parallel-hole collimators, and what share of the photons they let through.

Hole data are those of the SIMIND Monte Carlo program's public collimator table (M. Ljungberg, Lund; ``collim.col``, as
PyTomography 3.4.0 ships it): lead, hexagonal holes, diameter between flats. The Discovery 670 models of OpenGATE
(``contrib/spect``) give the same LEHR, MEGP and HEGP for GE; its Symbia Intevo models the same LEHR, ME and HE for
Siemens. Entries that contradict another source are left out, as are square holes and focussing collimators.

Intrinsic resolution belongs to the crystal and its electronics: 3.8 mm is usual in models of 9.5 mm NaI (public SIMIND
studies of the Symbia; OpenGATE takes 3.9). A camera's own acceptance test is better:
``dataclasses.replace(named_collimator("GE LEHR"), intrinsic_fwhm_mm=3.6)``.
"""

import math

from photopeak.core.errors import BadArgument
from photopeak.physics.response import GE_LEHR, Collimator

NAI_FWHM_MM = 3.8
TC99M_PHOTONS_PER_DECAY = 0.885
SHARE_IN_WINDOW = 0.72

# manufacturer, name: diameter, length and wall in mm
_HOLES_MM = {
    ("GE", "LEGP"): (1.9, 35.0, 0.2),
    ("GE", "ELEGP"): (2.5, 40.0, 0.4),
    ("GE", "MEGP"): (3.0, 58.0, 1.05),
    ("GE", "HEGP"): (4.0, 66.0, 1.8),
    ("GE", "Ventri LEHR"): (1.4, 30.0, 0.15),
    ("GE", "Ventri LEGP"): (1.9, 32.0, 0.2),
    ("Siemens", "LEHR"): (1.11, 24.05, 0.16),
    ("Siemens", "LEAP"): (1.45, 24.05, 0.2),
    ("Siemens", "LEHS"): (2.54, 24.05, 0.36),
    ("Siemens", "LEUHR"): (1.16, 35.8, 0.13),
    ("Siemens", "ME"): (2.94, 40.64, 1.14),
    ("Siemens", "HE"): (4.0, 59.7, 2.0),
    ("Philips", "LEHR"): (1.22, 27.0, 0.152),
    ("Philips", "LEGP"): (1.4, 24.7, 0.18),
    ("Philips", "CHR"): (2.03, 48.0, 0.152),
    ("Philips", "MEGP"): (3.4, 58.4, 0.86),
    ("Philips", "HEGP"): (3.81, 58.4, 1.73),
    ("Mediso", "LEHR"): (1.5, 35.0, 0.2),
    ("Mediso", "LEUHR"): (1.2, 34.0, 0.2),
    ("Mediso", "LEGP"): (1.9, 35.0, 0.2),
    ("Mediso", "LEHS"): (2.5, 26.0, 0.3),
    ("Mediso", "MEGP"): (2.5, 35.0, 1.2),
    ("Mediso", "HEGP"): (3.4, 55.0, 1.6),
}

COLLIMATORS: dict[tuple[str, str], Collimator] = {("GE", "LEHR"): GE_LEHR} | {
    (maker, name): Collimator(
        f"{maker} {name}", hole_mm=hole, length_mm=length, intrinsic_fwhm_mm=NAI_FWHM_MM, septa_mm=wall
    )
    for (maker, name), (hole, length, wall) in _HOLES_MM.items()
}


def named_collimator(name: str, manufacturer: str | None = None) -> Collimator:
    """The collimator that users and DICOM headers call by a name; case, blanks and punctuation do not matter.

    Parameters
    ----------
    name : "GE LEHR", or "LEHR" together with a manufacturer.
    manufacturer : "GE", or as headers write it: "GE MEDICAL SYSTEMS", "SIEMENS NM", "Philips Medical Systems".

    Raises
    ------
    BadArgument : no collimator, or more than one, goes by this name; the message lists them.
    """
    wanted, makers = _letters(name), (manufacturer or "").lower().split()
    found = [
        collimator
        for (maker, short), collimator in COLLIMATORS.items()
        if (not makers or maker.lower() in makers) and wanted in (_letters(short), _letters(collimator.name))
    ]
    if len(found) != 1:
        made_by = f" of manufacturer {manufacturer!r}" if makers else ""
        near = found or COLLIMATORS.values()
        raise BadArgument(
            f"collimator {name!r}{made_by}",
            needed=f"one of {', '.join(collimator.name for collimator in near)}",
            remedy="Give its full name, or describe it: photopeak.physics.response.Collimator(...).",
        )
    return found[0]


def geometric_efficiency(collimator: Collimator) -> float:
    """Share of isotropically emitted photons that pass hexagonal holes, at any distance (Anger 1964).

    ``g = K^2 (d / l)^2 d^2 / (d + t)^2`` with diameter d, effective length l and wall t; K^2 = sqrt(3) / (8 pi), whose
    root is the textbooks' K = 0.26: the solid angle of a hole at the length of the hole, times the open share.
    """
    hole, wall = collimator.hole_mm, collimator.septa_mm
    return math.sqrt(3) / (8 * math.pi) * (hole**2 / (collimator.effective_length_mm * (hole + wall))) ** 2


def sensitivity(
    collimator: Collimator,
    *,
    photons_per_decay: float = TC99M_PHOTONS_PER_DECAY,
    share_in_window: float = SHARE_IN_WINDOW,
) -> float:
    """Counts per second and MBq in air of one head, from geometry; penetration and scatter in the walls are left out.

    Parameters
    ----------
    photons_per_decay : of the energy imaged; 0.885 for Tc-99m.
    share_in_window : of the photons that reach the crystal, those counted in the window. 0.72 brings two GE LEHR heads
        to the 130 counts/s/MBq measured by Imbert et al. (J Nucl Med 2012).
    """
    for name, share in (("photons_per_decay", photons_per_decay), ("share_in_window", share_in_window)):
        if not 0 < share <= 1:
            raise BadArgument(f"{name}={share:g}", needed="more than 0, at most 1", remedy="Give a share, not percent.")
    return 1e6 * geometric_efficiency(collimator) * photons_per_decay * share_in_window


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())
