"""How DiffSPECT-3D samples, and how strongly it follows the data by the share C of the usual counts that were measured.

The paper prints two fits and not whether C is a fraction or in percent; only the fraction gives what its text says of
them. Between the settings they were fitted at they are used as printed; below 0.71 % the first is negative and is 0,
and above 50 % the second rises to six times its least value, against the text, and is held.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from photopeak.core.errors import BadArgument

LARGEST_FITTED = 0.5


@dataclass(frozen=True)
class Sampling:
    """Settings of Algorithm 2, apart from strengths.

    Parameters
    ----------
    steps : network evaluations of a slice, 25 in the paper; the first is done once for each noise. `Lambdas` belong to
        the number that they were fitted with, 5 for those that ship.
    prior : start from the noisy image at the time that `Lambdas` says, or from noise alone.
    dps, tv, em : whether each kind of consistency is kept.
    every : EM whenever the number of steps left is a multiple of it; 10 in the paper.
    noises : starts that are averaged, 2 in the paper. 0 is what the mean of ever more of them tends to: the noisy image
        itself, which the network takes for one with noise and smooths accordingly.
    renew : whether the noise of the mean of several starts is scaled back (`sample_guided`).
    normalised : the gradient of the distance to the noisy image, not of its square.
    balance : with `em`, the answer is scaled so that it expects the counts that were measured; not in the paper.
    sees_map : whether the network sees the attenuation map; a prior trained with `mu_dropout` also works without.
    chunk : slices that the network sees at once; bounds memory.
    """

    steps: int = 5
    prior: bool = True
    dps: bool = True
    tv: bool = True
    em: bool = True
    every: int = 1
    noises: int = 0
    renew: bool = False
    normalised: bool = False
    balance: bool = True
    sees_map: bool = True
    chunk: int = 10

    def __post_init__(self) -> None:
        if min(self.steps, self.every, self.chunk) < 1 or self.noises < (0 if self.prior else 1):
            raise BadArgument(
                f"steps={self.steps}, every={self.every}, chunk={self.chunk}, noises={self.noises}, prior={self.prior}",
                needed="at least 1 of each; 0 noises only where sampling starts from the noisy image",
                remedy="The paper's are 25 steps, EM every 10, 2 noises.",
            )

    def em_due(self, left: int) -> bool:
        """Whether EM follows the estimate after which so many steps are left; it always follows the last one."""
        return self.em and left % self.every == 0


@dataclass(frozen=True)
class Lambdas:
    """Weights by count fraction, from a table: linear in the logarithm of the fraction, held beyond its ends.

    A tenth of the views leaves other errors than a tenth of the dose, and may have a table of its own.

    Parameters
    ----------
    fractions : of the counts of a full acquisition; ascending, more than 0, at most 1.
    dps : step along the gradient of ``|x_in - x_0|^2``, at least 0.
    em : share of the EM update in the clean estimate, 0 to 1.
    tv : strength of total variation along z, in the network's range, at least 0.
    start : time that sampling starts from, as a share of all steps, more than 0, at most 1.
    views : weights by the share of views, of which the row counts where views are missing and its start is the greater.
    """

    fractions: tuple[float, ...]
    dps: tuple[float, ...]
    em: tuple[float, ...]
    tv: tuple[float, ...]
    start: tuple[float, ...]
    views: "Lambdas | None" = None

    def __post_init__(self) -> None:
        columns = (self.fractions, self.dps, self.em, self.tv, self.start)
        for name, column in zip(("fractions", "dps", "em", "tv", "start"), columns, strict=True):
            object.__setattr__(self, name, tuple(float(value) for value in column))
        numbers = all(math.isfinite(v) and v >= 0 for column in columns for v in column)
        shares = all(v <= 1 for column in (self.fractions, self.em, self.start) for v in column)
        ascends = list(self.fractions) == sorted(set(self.fractions)) and min(self.fractions, default=0) > 0
        if not (numbers and shares and ascends and len({len(c) for c in columns}) == 1 and min(self.start) > 0):
            raise BadArgument(
                f"{self}",
                needed="as many numbers of at least 0 in each column; fractions ascend; fractions, em, start up to 1",
                remedy="Lambdas.printed() is the paper's.",
            )

    @classmethod
    def printed(cls, *, tv: float = 0.04, start: float = 0.4) -> "Lambdas":
        """The paper's fits; it states neither the strength of its total variation nor a start before the last time."""
        fractions = tuple(np.geomspace(0.005, 1.0, 93).tolist())
        constant = (1.0,) * len(fractions)
        return cls(
            fractions,
            tuple(printed_dps(c) for c in fractions),
            tuple(printed_em(c) for c in fractions),
            tuple(tv * one for one in constant),
            tuple(start * one for one in constant),
        )

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> "Lambdas":
        """The inverse of `to_dict`."""
        views = columns.get("views")
        plain = {name: tuple(column) for name, column in columns.items() if name != "views"}
        return cls(**plain, views=cls.of(views) if views else None)

    def to_dict(self) -> dict[str, Any]:
        """Columns by name, those of `views` under that name if there are any."""
        columns = {name: list(getattr(self, name)) for name in ("fractions", "dps", "em", "tv", "start")}
        return {**columns, "views": self.views.to_dict()} if self.views else columns

    def at(self, fraction: float, views: float = 1.0) -> dict[str, float]:
        """ "dps", "em", "tv" and "start" at a count fraction, from so large a share of the views."""
        where, known = math.log(fraction), np.log(self.fractions)
        columns = {"dps": self.dps, "em": self.em, "tv": self.tv, "start": self.start}
        row = {name: float(np.interp(where, known, column)) for name, column in columns.items()}
        if self.views is None or views >= 1:
            return row
        sparse = self.views.at(views)
        return sparse if sparse["start"] > row["start"] else row


def printed_dps(fraction: float) -> float:
    """``0.0698 ln C + 0.3454``, at least 0 (section II C 2)."""
    return max(0.0698 * math.log(fraction) + 0.3454, 0.0)


def printed_em(fraction: float) -> float:
    """``0.1559 exp(-4.8120 C) + 0.0079 exp(3.6508 C)``, C at most 0.5 (section II C 3)."""
    c = min(fraction, LARGEST_FITTED)
    return 0.1559 * math.exp(-4.8120 * c) + 0.0079 * math.exp(3.6508 * c)
