"""Less dose: fewer counts, or fewer views, of an acquisition that was made.

A photon of a thinned acquisition is a photon of the full one that a coin has kept, each independently: the same law as
decimating list-mode data, and Poisson again. Scaled Poisson counts are not (their variance is not their mean).
"""

from collections.abc import Sequence

import torch

from photopeak.core import Projections
from photopeak.core.errors import BadArgument, BadValues


def poisson(expected: Projections, generator: torch.Generator) -> Projections:
    """Counts that chance makes of expected counts."""
    rate = expected.counts.to(generator.device)
    return expected.with_counts(torch.poisson(rate, generator=generator).to(expected.counts))


def thinned(projections: Projections, fraction: float, generator: torch.Generator) -> Projections:
    """Each count kept with probability `fraction`: an acquisition of that fraction of the dose or time.

    Expectations that belong to the counts ("scatter", "clean") go down by the plain factor `fraction`.

    Parameters
    ----------
    projections : whole numbers of counts.
    fraction : more than 0, at most 1.

    Raises
    ------
    BadArgument, BadValues : the fraction is another; the counts are not whole.
    """
    return split(projections, fraction, generator)[0]


def split(projections: Projections, fraction: float, generator: torch.Generator) -> tuple[Projections, Projections]:
    """The counts that are kept and the counts that are not: together all of them, and independent of each other.

    Independent where the counts are Poisson, so that one part may judge what was made of the other
    (``recon.stopping.Stop.held_out``). Arguments and errors as for `thinned`.
    """
    if not 0 < fraction <= 1:
        raise BadArgument(
            f"fraction={fraction}", needed="more than 0, at most 1", remedy="0.1 is a tenth of the counts."
        )
    counts = projections.counts
    if not torch.equal(counts, counts.round()):
        raise BadValues(
            "counts that are not whole numbers",
            needed="measured or Poisson counts",
            remedy="Draw them first (photopeak.simulate.dose.poisson); an expectation is scaled, not thinned.",
        )
    trials = counts.to(generator.device, torch.float64)
    kept = torch.binomial(trials, torch.full_like(trials, fraction), generator=generator).to(counts)
    return projections.with_counts(kept), projections.with_counts(counts - kept)


def dropped(projections: Projections, keep: int | Sequence[int]) -> Projections:
    """A few-view acquisition.

    Parameters
    ----------
    keep : how many views, spread evenly over those that there are, or the indices of the views.

    Raises
    ------
    BadArgument : no view, a view twice, or one that does not exist.
    """
    views = projections.camera.projection_shape[0]
    if isinstance(keep, int):
        if not 1 <= keep <= views:
            raise BadArgument(f"keep={keep}", needed=f"1 to {views} views", remedy="Keep fewer.")
        return projections.views([k * views // keep for k in range(keep)])
    indices = [int(k) for k in keep]
    if not indices or len(set(indices)) < len(indices) or not all(0 <= k < views for k in indices):
        raise BadArgument(f"keep={indices}", needed=f"different views, 0 to {views - 1}", remedy="Check the indices.")
    return projections.views(indices)
