"""Whether a CT shows enough of a body to estimate a PET from it, and whether the estimate holds a plausible dose."""

import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.core import HU, SUV, Volume
from photopeak.core.errors import BadValues
from photopeak.evaluate.domain import Check, Verdict

TISSUE_HU = -300.0
UNSEEN_BELOW_HU = -1024.0
"""What a scanner did not reconstruct."""
LEAST_MM, USUAL_MM = 100.0, 300.0
USUAL_CUT, LARGEST_CUT = 0.02, 0.25
USUAL_MEAN_SUV = (0.4, 1.6)
"""Mean over a whole body of SUVbw is at most 1, what the dose over the weight is; a torso holds more
of it than arms and legs. In simulated torsos it is 0.67 to 1.14."""
APART_MM = 10.0


def field_checks(ct: Volume) -> list[Check]:
    """How long the CT is, and how much of the body its field of view cuts off.

    Parameters
    ----------
    ct : HU on its own grid, with whatever padding the scanner has put around the field.

    Raises
    ------
    BadValues : no body in it at all.
    """
    hu = ct.require(HU, name="ct").data
    step = max(1, round(APART_MM / ct.grid.spacing_mm[0]))
    some = hu[::step]
    tissue = some > TISSUE_HU
    if not bool(tissue.any()):
        raise BadValues("a CT without tissue", needed="a body in the field", remedy="Check the series.")
    length_mm = ct.grid.shape[0] * ct.grid.spacing_mm[0]
    edge = _edge(some)
    cut = float((tissue & edge).sum() / edge.sum())
    return [
        Check(
            "length along the body",
            f"{length_mm:.0f} mm",
            f"{USUAL_MM:g} mm or more, at least {LEAST_MM:g}",
            _verdict(length_mm < LEAST_MM, length_mm < USUAL_MM),
        ),
        Check(
            "tissue at the edge of the field",
            f"{100 * cut:.0f} % of the edge",
            f"less than {100 * USUAL_CUT:.0f} %, at most {100 * LARGEST_CUT:.0f} %",
            _verdict(cut > LARGEST_CUT, cut > USUAL_CUT),
        ),
    ]


def dose_check(pet: Volume, ct: Volume) -> Check:
    """The mean SUV in tissue beside what a body can hold of the dose.

    Parameters
    ----------
    pet, ct : SUV and HU on one grid.
    """
    ct.grid.require_same(pet.grid, mine="ct", theirs="pet")
    found = mean_suv(pet, ct)
    low, high = USUAL_MEAN_SUV
    return Check(
        "mean SUV in tissue", f"{found:.2f}", f"{low:g} to {high:g}", "usual" if low <= found <= high else "unusual"
    )


def mean_suv(pet: Volume, ct: Volume) -> float:
    """Mean SUV where the CT has tissue."""
    return float(pet.require(SUV, name="pet").data[ct.data > TISSUE_HU].mean())


def _edge(hu: Tensor) -> Tensor:
    """Outermost pixels of the field of view in every slice [z, y, x]: beside padding, or at the border."""
    seen = (hu >= UNSEEN_BELOW_HU).to(torch.float32)[:, None]
    inner = -F.max_pool2d(F.pad(-seen, (1, 1, 1, 1), value=0.0), 3, 1)
    return ((seen > 0) & (inner == 0))[:, 0]


def _verdict(refused: bool, unusual: bool) -> Verdict:
    return "refused" if refused else "unusual" if unusual else "usual"
