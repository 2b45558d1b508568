"""A tracer in a PET scanner: expected trues, scatter and randoms, then the coincidences that chance makes of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from photopeak.core import Camera, EnergyWindow, Projections, Step, Study, Volume
from photopeak.core.errors import BadArgument, BadValues

Scatter = Callable[[Tensor], Tensor]

PET_WINDOW = EnergyWindow(425.0, 650.0)
"""That of GE's Discovery PET/CT scanners; others differ by some 10 keV."""


def acquire_pet(
    name: str,
    activity: Volume,
    mu: Volume,
    camera: Camera,
    *,
    trues: float,
    scatter: Scatter,
    randoms: float,
    generator: torch.Generator,
) -> Study:
    """One bed position of one patient, decay, dead time and detector efficiencies taken as corrected.

    Parameters
    ----------
    activity : tracer concentration in any linear quantity (SUV, Bq/ml), not negative.
    mu : linear attenuation at 511 keV, 1/cm, on the grid of `activity`.
    camera : a PET camera that sees this grid.
    trues : expected unscattered true coincidences of the whole acquisition.
    scatter : expected trues to expected scatter, both [view, row, column].
    randoms : expected random coincidences, as a multiple of `trues`; alike in all bins.
    generator : source of the Poisson noise.

    Returns
    -------
    Study with volumes "activity" and "mu" as given; projections "raw" (Poisson), "clean" (its expectation), "scatter"
    and "randoms" (what the expectation holds besides trues). The fact "counts_per_activity" is the counts that a voxel
    of activity 1 gives in every view without attenuation: divide a reconstruction in counts by it.

    Raises
    ------
    GridMismatch, WrongQuantity, BadValues, BadArgument : what the camera refuses, or numbers that no tracer has.
    """
    if not (0 < trues < float("inf") and 0 <= randoms < float("inf")):
        raise BadArgument(
            f"trues {trues:g}, randoms {randoms:g}",
            needed="a positive number of trues, and randoms of at least 0",
            remedy="A whole-body bed position has some 1e7 trues, and randoms of half to once the trues.",
        )
    if bool((activity.data < 0).any()):
        raise BadValues("activity below 0", needed="a concentration", remedy="Clip noise before it is simulated anew.")
    activity.require_image(name="activity").grid.require_same(mu.grid, mine="activity", theirs="mu")
    unscaled = camera.system(activity.grid, mu)(activity.data)
    if not float(unscaled.sum()) > 0:
        raise BadValues(
            "activity outside the camera's field of view",
            needed="activity that some bin sees",
            remedy="Move the grid to the patient, or widen the field of view.",
        )
    scale = trues / float(unscaled.sum(dtype=torch.float64))
    seen = scale * unscaled
    scattered = scatter(seen)
    random = torch.full_like(seen, randoms * trues / seen.numel())
    expected = Projections(seen + scattered + random, camera, PET_WINDOW)
    return Study(
        name,
        volumes={"activity": activity, "mu": mu},
        projections={
            "raw": expected.with_counts(torch.poisson(expected.counts, generator=generator)),
            "clean": expected,
            "scatter": expected.with_counts(scattered),
            "randoms": expected.with_counts(random),
        },
        facts={"simulated": True, "modality": "PET", "counts_per_activity": scale},
        history=(Step(("raw", "clean", "scatter", "randoms"), "simulate.pet", ("activity", "mu"), {"trues": trues}),),
    )
