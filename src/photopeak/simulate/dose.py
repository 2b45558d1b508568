"""Less dose: fewer counts, or fewer views, of an acquisition that was made.

A photon of a thinned acquisition is a photon of the full one that a coin has kept, each independently: the same law as
decimating list-mode data, and Poisson again. Scaled Poisson counts are not (their variance is not their mean).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

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


_NAME = re.compile(r"full|(?!$)(?:(?P<percent>\d+(?:\.\d+)?(?:e-\d+)?)%(?:$|, (?=\d)))?(?:(?P<views>\d+) views?)?")


@dataclass(frozen=True)
class Setting:
    """A low-dose or few-view acquisition, cut out of a full one.

    Parameters
    ----------
    fraction : part of the counts of each view that is kept, more than 0, at most 1.
    views : how many views are kept: the middle ones of a pinhole camera's central row, views spread evenly of any other
        camera; all unless given.

    Raises
    ------
    BadArgument : another fraction, or fewer than one view.
    """

    fraction: float = 1.0
    views: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise BadArgument(f"fraction={self.fraction}", needed="more than 0, at most 1", remedy="0.1 is a tenth.")
        if self.views is not None and self.views < 1:
            raise BadArgument(f"{self.views} views", needed="at least 1", remedy="None keeps all of them.")

    @classmethod
    def named(cls, name: str) -> "Setting":
        """The setting that prints as `name`: "5%", "7 views", "5%, 7 views" or "full".

        Raises
        ------
        BadArgument : no such name, or a setting that cannot be.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise BadArgument(
                f"setting {name!r}", needed='such as "5%", "7 views", "5%, 7 views" or "full"', remedy="Correct it."
            )
        percent, views = found["percent"], found["views"]
        return cls(round(float(percent) / 100, 12) if percent else 1.0, int(views) if views else None)

    def __str__(self) -> str:
        percent = [f"{100 * self.fraction:.10g}%"] if self.fraction < 1 else []
        views = [f"{self.views} view{'s' * (self.views > 1)}"] if self.views else []
        return ", ".join(percent + views) or "full"

    def applied(self, projections: Projections, generator: torch.Generator) -> Projections:
        """The counts that this setting leaves of a full acquisition: thinned, then the views kept.

        Every view is thinned, whether it is kept or not, so that few views have the counts that they have among all.

        Raises
        ------
        BadArgument : more views than there are, or a number that the central row has no middle of.
        BadValues : counts to be thinned that are not whole.
        """
        less = thinned(projections, self.fraction, generator) if self.fraction < 1 else projections
        if self.views is None:
            return less
        central = getattr(projections.camera, "central", None)
        return dropped(less, self.views if central is None else central(self.views))


SETTINGS = tuple(Setting(fraction) for fraction in (0.01, 0.05, 0.1, 0.2, 0.5)) + tuple(
    Setting(views=views) for views in (9, 7, 5, 3, 1)
)
"""Of Tables I and II of DiffSPECT-3D (arXiv 2412.16573), for the camera of 19 modules."""
