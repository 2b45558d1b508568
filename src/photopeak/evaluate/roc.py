"""Areas under ROC curves with DeLong's intervals and paired test (DeLong et al., Biometrics 1988; 44:837).

Cases must be independent: one scan of each person.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm, rankdata
from torch import Tensor

from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.evaluate.bands import NORMAL_95
from photopeak.evaluate.stats import Interval

FEWEST_OF_A_KIND = 2


@dataclass(frozen=True, eq=False)
class Areas:
    """Areas of several methods on the same cases.

    Parameters
    ----------
    auc : [method].
    covariance : [method, method], DeLong's.
    present, absent : number of cases of each kind.
    """

    auc: np.ndarray
    covariance: np.ndarray
    present: int
    absent: int

    def interval(self, method: int = 0) -> Interval:
        """The area of a method and its 95 % interval on the logit scale, which stays within 0 and 1.

        At an area of 0 or 1 the variance is zero and says nothing; the interval is then that of the rule of three for
        the smaller kind of cases.
        """
        auc, variance = float(self.auc[method]), float(self.covariance[method, method])
        if auc in (0.0, 1.0):
            unseen = min(3 / min(self.present, self.absent), 1.0)
            return Interval(auc, max(auc - unseen, 0.0), min(auc + unseen, 1.0))
        logit, reach = np.log(auc / (1 - auc)), NORMAL_95 * np.sqrt(variance) / (auc * (1 - auc))
        low, high = (float(1 / (1 + np.exp(-(logit + sign * reach)))) for sign in (-1, 1))
        return Interval(auc, low, high)

    def pvalue(self, one: int, other: int) -> float:
        """Two-sided p of equal areas; 1 where no case is ranked otherwise."""
        variance = self.covariance[one, one] + self.covariance[other, other] - 2 * self.covariance[one, other]
        difference = self.auc[one] - self.auc[other]
        if variance <= 0:
            return 1.0 if difference == 0 else 0.0
        return float(2 * norm.sf(abs(difference) / np.sqrt(variance)))


def areas(scores: Tensor, present: Tensor) -> Areas:
    """Areas of methods that scored the same cases.

    Parameters
    ----------
    scores : [method, case]; greater is more abnormal.
    present : bool [case], the truth.

    Raises
    ------
    ShapeMismatch : not one truth for each case.
    BadArgument : fewer than 2 cases of a kind.
    """
    values, truth = _cases(scores, present)
    ill, well = values[:, truth], values[:, ~truth]
    m, n = ill.shape[1], well.shape[1]
    # The share of the other kind that each case outranks, from its rank among all less its rank among its own kind.
    everyone = rankdata(np.concatenate([ill, well], axis=1), axis=1)
    of_ill = (everyone[:, :m] - rankdata(ill, axis=1)) / n
    of_well = 1 - (everyone[:, m:] - rankdata(well, axis=1)) / m
    covariance = np.atleast_2d(np.cov(of_ill)) / m + np.atleast_2d(np.cov(of_well)) / n
    return Areas(of_ill.mean(axis=1), covariance, m, n)


def roc_curve(scores: Tensor, present: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive fractions [threshold] of scores [case], from (0, 0) to (1, 1)."""
    values, truth = _cases(scores[None], present)
    thresholds = np.unique(values)[::-1][:, None]
    called = values >= thresholds
    false, true = (called[:, kind].mean(axis=1) for kind in (~truth, truth))
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], true])


def _cases(scores: Tensor, present: Tensor) -> tuple[np.ndarray, np.ndarray]:
    values, truth = torch.as_tensor(scores).double().numpy(), torch.as_tensor(present).numpy()
    if values.ndim != 2 or truth.dtype != bool or truth.shape != values.shape[1:]:
        raise ShapeMismatch(
            f"scores of shape {values.shape} and a truth of {truth.dtype} {truth.shape}",
            needed="[method, case] and bool [case]",
            remedy="Give one truth for each case.",
        )
    if not np.isfinite(values).all():
        raise BadValues("scores with NaN or infinity", needed="a score of every case", remedy="Mend the case.")
    if min(truth.sum(), (~truth).sum()) < FEWEST_OF_A_KIND:
        raise BadArgument(
            f"{truth.sum()} cases with and {(~truth).sum()} without a defect",
            needed=f"at least {FEWEST_OF_A_KIND} of each",
            remedy="Add cases.",
        )
    return values, truth
