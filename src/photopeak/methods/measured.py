"""What a camera measured of one patient, where a network works in it, and at which scale.

Networks work on the grid of their feed, in ratios to a level; projections are explained on the grid of the attenuation
map, in the counts of the data themselves. A `Scan` goes between the two, so that nobody needs to know the dose for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from photopeak.cardiac.find import FoundHeart
from photopeak.core import COUNTS, Grid, Step, Study, SystemOperator, Volume
from photopeak.core.errors import BadArgument, BadValues, GridMismatch, MissingInput
from photopeak.learn.volume_feed import VolumeFeed
from photopeak.physics.support import Within, body_of
from photopeak.recon.iterate import mlem
from photopeak.recon.updates import Update, em_update

LEAST_EXPLAINED = 0.5
"""Share of the counts in bins that see the body; less is the body of another patient, or in another place."""
LEAST_RATIO = 1e-3
"""EM starts from no less of the level, since a voxel at 0 could never rise."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Counts and the system that explains them; nothing shines outside the body that the map shows.

    Parameters
    ----------
    system : on the grid of the attenuation map, of the views that were kept.
    counts, background : [view, row, column]; the background is expected, or 0.
    grid : of the attenuation map.
    body : bool [z, y, x].
    """

    system: SystemOperator
    counts: Tensor
    background: Tensor | float
    grid: Grid
    body: Tensor

    @classmethod
    def of(cls, study: Study, *, counts: str = "raw", scatter: str | None = None) -> "Measured":
        """The projections `counts` of a study through its "mu", with the expected scatter if it is named.

        Raises
        ------
        GridMismatch : the map lies where the camera does not look, as that of another frame of reference does.
        WrongQuantity, BadValues, BadArgument : as the camera's system, for a map that cannot be.
        """
        seen, mu = study.projections[counts], study["mu"]
        body = body_of(mu)
        background = study.projections[scatter].counts if scatter else 0.0
        measured = cls(Within(seen.camera.system(mu.grid, mu), body), seen.counts, background, mu.grid, body)
        measured._require_body()
        return measured

    def _require_body(self) -> None:
        sees = self.system(self.body.to(self.counts)) > 0
        total = float(self.counts.sum())
        share = float(self.counts[sees].sum()) / total if total > 0 else 1.0
        if share < LEAST_EXPLAINED:
            raise GridMismatch(
                f'"mu" with a body that {share:.0%} of the counts can come from',
                needed=f"at least {LEAST_EXPLAINED:.0%}",
                remedy="Register the CT to the camera: the two have different frames of reference.",
            )

    def image(self, iterations: int) -> Tensor:
        """MLEM image [z, y, x], in the counts of the data."""
        return mlem(self.system, self.counts, iterations=iterations, background=self.background)

    @cached_property
    def update(self) -> Update:
        """One EM step."""
        return em_update(self.system, self.counts, background=self.background)

    def balance(self, image: Tensor, around: Tensor | None = None) -> float:
        """The factor with which an image [z, y, x] expects as many counts as were measured where it can be seen.

        Parameters
        ----------
        around : activity [z, y, x] beside the image, which expects its own share of the counts and stays as it is.

        Raises
        ------
        BadValues : the camera sees nothing of the image, so that no factor helps.
        """
        expected = self.system(image)
        others = torch.zeros_like(expected) if around is None else self.system(around)
        counted = (self.counts - self.background - others)[expected + others > 0].sum().clamp(min=0)
        if not expected.sum() > 0:
            raise BadValues(
                "an answer without activity that the camera sees",
                needed="an image of the patient",
                remedy="Train the network for longer, or check that the map lies in the field of view.",
            )
        return float(counted / expected.sum())


@dataclass(frozen=True)
class Field:
    """The network's grid in that of the study."""

    study: Grid
    network: Grid

    @classmethod
    def of(cls, study: Study, feed: VolumeFeed) -> "Field":
        """The map's own grid if it fits the feed, else the feed's about the heart, or about the middle of the map."""
        grid = study["mu"].grid
        if feed.fits(grid):
            return cls(grid, grid)
        known = study.facts.get("heart")
        centre = FoundHeart.from_dict(known).frame.centre_mm if known else grid.centre_mm.tolist()
        return cls(grid, feed.grid(centre))

    def cut(self, image: Tensor) -> Tensor:
        """An image [z, y, x] of the study on the network's grid."""
        return Volume(image, self.study, COUNTS).on(self.network, order=3).data

    def put(self, image: Tensor) -> Tensor:
        """An image [z, y, x] of the network on the study's grid, 0 beyond."""
        return Volume(image, self.network, COUNTS).on(self.study, order=3).data


@dataclass(frozen=True, eq=False)
class Scan:
    """One measurement as a network sees it.

    Parameters
    ----------
    measured, field : the data, and the network's place in it.
    start : what the network's answer replaces, counts [z, y, x] on the study's grid: MLEM of the data.
    level : counts that are 1 for the network.
    given, mu : the start over level, and the map over `mu_per_cm`, on the network's grid.
    brightest : of the network's range, over level.
    fraction, views : shares of the counts and of the views of a full acquisition, at most 1.
    """

    measured: Measured
    field: Field
    start: Tensor
    level: float
    given: Tensor
    mu: Tensor
    brightest: float
    fraction: float
    views: float = 1.0

    @classmethod
    def of(
        cls,
        study: Study,
        feed: VolumeFeed,
        *,
        iterations: int,
        scatter: str | None,
        fraction: float,
        views: float = 1.0,
    ) -> "Scan":
        """Reconstruct a study's "raw" by MLEM and scale it."""
        measured, field = Measured.of(study, scatter=scatter), Field.of(study, feed)
        known = known_start(study, iterations, scatter)
        start = measured.image(iterations) if known is None else known
        cut = field.cut(start).clamp(min=0)
        level = feed.level(cut)
        mu = field.cut(study["mu"].data).clamp(min=0) / feed.mu_per_cm
        return cls(measured, field, start, level, cut / level, mu, feed.brightest, fraction, views)

    def seen(self) -> dict[str, Tensor]:
        """What a network may be conditioned on, by the names and in the range that training examples have."""
        return {"given": self.given.clamp(max=self.brightest), "mu": self.mu, "fraction": torch.tensor([self.fraction])}

    def consistent(self, ratio: Tensor) -> Tensor:
        """One EM step of an image [z, y, x] over level; what surrounds it is MLEM's."""
        before = self.image(ratio.clamp(min=LEAST_RATIO))
        after = self.measured.update(before)
        return ratio + self.field.cut(after - before).to(ratio) / self.level

    def balanced(self, ratio: Tensor) -> Tensor:
        """An image [z, y, x] over level, times the factor with which it expects as many counts as were measured.

        What lies beyond the network's grid is MLEM's and keeps the counts that it explains.
        """
        if self.field.study.same_as(self.field.network):
            return ratio * self.measured.balance(self.image(ratio))
        around = self.image(torch.zeros_like(ratio))
        return ratio * self.measured.balance(self.image(ratio) - around, around)

    def image(self, ratio: Tensor) -> Tensor:
        """Counts [z, y, x] on the study's grid, of an image over level; nothing outside the body."""
        change = self.field.put((ratio.to(self.given) - self.given) * self.level)
        return (self.start + change).clamp(min=0) * self.measured.body.to(change)


def start_step(iterations: int, scatter: str | None) -> Step:
    """How a study's history tells of a "mlem" that is the start of these methods."""
    return Step(("mlem",), "mlem", ("mu", "raw"), {"iterations": iterations, "scatter": scatter})


def known_start(study: Study, iterations: int, scatter: str | None) -> Tensor | None:
    """The "mlem" that a study brings, if its history says that it is what would be made here; many methods share it.

    The last step that made "mlem" counts, and none if "mu" is newer.
    """
    made = [step for step in study.history if {"mlem", "mu"} & set(step.made)]
    return study["mlem"].data if "mlem" in study and made[-1:] == [start_step(iterations, scatter)] else None


def counts_fraction(study: Study, given: float | None, usual: Mapping[str, float]) -> float:
    """The share of a full acquisition's counts: as given, as ``facts["dose"]`` says, or as counted.

    Parameters
    ----------
    given : wins, if there is one.
    usual : "counts" and "views" of a full acquisition in training, 0 where unknown. Facts hold the "fraction" of the
        counts of each view, and may hold "full_views", of which the views at hand are a part.

    Raises
    ------
    BadArgument : outside (0, 1].
    MissingInput : neither given nor in the facts, and the usual counts are not known.
    """
    dose = study.facts.get("dose", {})
    if given is not None:
        fraction = given
    elif "fraction" in dose:
        fraction = float(dose["fraction"]) * views_share(study, usual)
    elif usual["counts"] > 0:
        fraction = min(float(study.projections["raw"].counts.sum()) / usual["counts"], 1.0)
    else:
        raise MissingInput(
            "an unknown count fraction", needed="the share of a full acquisition", remedy="Give fraction=0.1, say."
        )
    if not 0 < fraction <= 1:
        raise BadArgument(f"fraction={fraction:g}", needed="more than 0, at most 1", remedy="0.1 is a tenth.")
    return fraction


def views_share(study: Study, usual: Mapping[str, float]) -> float:
    """The share of a full acquisition's views, as ``facts["dose"]`` tells or else as in training; `usual` as above."""
    views = study.projections["raw"].camera.projection_shape[0]
    full = float(study.facts.get("dose", {}).get("full_views", usual["views"]))
    return views / max(full, views)
