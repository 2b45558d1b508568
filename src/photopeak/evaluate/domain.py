"""Where an input or an answer differs from what a method was trained on: said aloud, never hidden.

`differences` reads the header; the checks measure: the image's distance from the training scans, the correction factor
in the heart beside physics and training, and, where a map was predicted, whether NAC can be made again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from photopeak.cardiac.find import FoundHeart
from photopeak.core import Study
from photopeak.core.errors import BadArgument, OutOfDomain
from photopeak.evaluate.consistency import forward_residual
from photopeak.evaluate.ood import FEWEST_SCANS, FOLDS, HARD_LIMIT, Population, features, found_heart, population
from photopeak.evaluate.patients import heart_mask

Verdict = Literal["usual", "unusual", "refused", "not known"]

FACTOR_LIMITS = (1.0, 8.0)
"""Tissue only takes counts away; 8 is 14 cm of water for every photon of 140.5 keV, more than any arc averages to."""
DARKEST_OF_LEVEL = 0.2
UNUSUAL_SD = 3.0
USUAL_RESIDUAL = 0.24
"""Simulated scans: 0.12 to 0.16 for AC in the map that it was made with (NAC holds scatter, AC does not), 0.18 to 0.24
for Concord's answers in its own maps (24 validation scans), 0.28 and more for AC in a map that is 19 mm off, or for NAC
called AC."""

LARGEST_VOXEL_DIFFERENCE = 0.02
SIMULATED, UNKNOWN, TC99M = "SIMULATED", "unknown", "Tc-99m"


def differences(study: Study, domain: Mapping[str, Any], *, nac: str = "nac") -> list[str]:
    """One sentence for each way in which a study is outside a training domain.

    Parameters
    ----------
    domain : of a method's card: "camera_models", "voxel_mm", "isotope", "description".
    """
    found = []
    model = study.facts.get("camera_model", SIMULATED if study.facts.get("simulated") else UNKNOWN)
    if model not in domain["camera_models"]:
        found.append(
            f"Camera {model} was not in the training domain ({domain['description']}): "
            "its resolution, orbit and angular coverage are unknown to the network."
        )
    spacing, trained = study[nac].grid.spacing_mm, domain["voxel_mm"]
    if max(abs(s - trained) for s in spacing) > LARGEST_VOXEL_DIFFERENCE * trained:
        size = " x ".join(f"{s:.3g}" for s in spacing)
        found.append(f"Voxels of {size} mm differ from the {trained:g} mm of training; the heart was resampled.")
    isotope = study.facts.get("isotope", TC99M if study.facts.get("simulated") else None)
    if isotope is None:
        found.append(f"The isotope is not stated in the header; {domain['isotope']} was assumed.")
    elif isotope != domain["isotope"]:
        found.append(f"Isotope {isotope} was not in the training domain ({domain['isotope']}).")
    return found


@dataclass(frozen=True)
class Check:
    """One thing that was measured of an input or an answer.

    Parameters
    ----------
    name : what.
    found : the value as it is told.
    usual : what it is in training, or must be.
    verdict : "unusual" warns; "refused" stops unless the user wants the answer anyway.
    """

    name: str
    found: str
    usual: str
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.name}: {self.found} ({self.verdict}; usual: {self.usual})"


def image_check(study: Study, heart: FoundHeart, domain: Mapping[str, Any]) -> Check:
    """The distance of "nac" from the training scans; not known where the card has no population."""
    name = "distance from the training scans"
    if "population" not in domain:
        return Check(name, "–", "not in this method's card", "not known")
    usual = Population.from_dict(domain["population"])
    found = features(study["nac"], heart)
    distance, anatomy = usual.distance(found), usual.anatomical_distance(found)
    verdict: Verdict = "refused" if usual.refuses(found) else "unusual" if distance > usual.quantile_99 else "usual"
    most = "" if verdict == "usual" else f"; mostly {', '.join(usual.strangest(found))}"
    limits = (
        f"95 % below {usual.quantile_95:.2f}, 99 % below {usual.quantile_99:.2f}; "
        f"anatomy refused beyond {HARD_LIMIT * usual.quantile_99:.2f}"
    )
    return Check(name, f"{distance:.2f}, of the anatomy alone {anatomy:.2f}{most}", limits, verdict)


def factor_checks(study: Study, heart: FoundHeart, domain: Mapping[str, Any]) -> list[Check]:
    """AC over NAC in the heart: counts in all, and the extremes of voxels that are not dark."""
    low, high = FACTOR_LIMITS
    found = heart_factor(study, heart)
    possible = low <= found <= high
    told = f"{low:g} to {high:g}"
    verdict: Verdict = "usual" if possible else "refused"
    if "factor" in domain:
        mean, sd = domain["factor"]["mean"], domain["factor"]["sd"]
        told = f"{mean:.2f} ± {sd:.2f} in training; refused outside {told}"
        if possible and abs(found - mean) > UNUSUAL_SD * sd:
            verdict = "unusual"
    elif possible:
        verdict, told = "not known", f"refused outside {told}; training's is not in this method's card"
    mask = heart_mask(study["nac"].grid, heart.frame)
    nac, ac = study["nac"].data[mask], study["ac"].data[mask]
    bright = nac > DARKEST_OF_LEVEL * torch.quantile(nac, 0.95)
    ends = torch.quantile(ac[bright] / nac[bright], torch.tensor([0.01, 0.99]).to(ac)).tolist()
    strange: Verdict = "usual" if low <= ends[0] and ends[1] <= high else "unusual"
    return [
        Check("AC / NAC in the heart", f"{found:.2f}", told, verdict),
        Check("AC / NAC of voxels, 1 to 99 %", f"{ends[0]:.2f} to {ends[1]:.2f}", f"{low:g} to {high:g}", strange),
    ]


def consistency_check(study: Study, mu: str | None) -> Check:
    """Whether NAC can be made again of AC and the map that was predicted with it."""
    name = "NAC made again from AC, residual"
    if mu is None:
        return Check(name, "–", "this method predicts no attenuation map", "not known")
    residual = forward_residual(study, mu=mu)
    verdict: Verdict = "usual" if residual <= USUAL_RESIDUAL else "unusual"
    return Check(name, f"{100 * residual:.1f} %", f"at most {100 * USUAL_RESIDUAL:g} %", verdict)


def require_answerable(checks: Sequence[Check]) -> None:
    """Raise OutOfDomain, naming every check that is beyond its hard limit."""
    if beyond := [check for check in checks if check.verdict == "refused"]:
        raise OutOfDomain(
            "; ".join(f"{check.name} {check.found}" for check in beyond),
            needed="; ".join(check.usual for check in beyond),
            remedy="Check the series; --anyway answers all the same, and says so.",
        )


def heart_factor(study: Study, heart: FoundHeart) -> float:
    """Counts of AC over counts of NAC in the heart's volume of interest."""
    mask = heart_mask(study["nac"].grid, heart.frame)
    total = float(study["nac"].data[mask].sum())
    return float(study["ac"].data[mask].sum()) / total if total > 0 else float("inf")


def training_domain(studies: Iterable[Study], *, voxel_mm: float) -> dict[str, Any]:
    """What a training set covers, for the card of the method that learns from it.

    With at least FEWEST_SCANS scans of FOLDS persons it has also the "population" of their features, and where all have
    an "ac" the mean and sd of its "factor" over NAC in the heart.
    """
    models, isotopes, simulated = set(), set(), 0
    found, persons, factors = [], [], []
    for study in studies:
        heart = found_heart(study)
        found.append(features(study["nac"], heart))
        persons.append(str(study.facts.get("person", study.name)))
        if "ac" in study:
            factors.append(heart_factor(study, heart))
        simulated += bool(study.facts.get("simulated"))
        models.add(study.facts.get("camera_model", SIMULATED if study.facts.get("simulated") else UNKNOWN))
        isotopes.add(study.facts.get("isotope", TC99M))
    if len(isotopes) != 1:
        raise BadArgument(
            f"training studies of {', '.join(sorted(isotopes))}",
            needed="one isotope",
            remedy="Train one method for each.",
        )
    kind = "simulated LEHR parallel-hole camera" if models == {SIMULATED} else ", ".join(sorted(models))
    measured: dict[str, Any] = {}
    if len(found) >= FEWEST_SCANS and len(set(persons)) >= FOLDS:
        measured["population"] = population(found, persons).to_dict()
        if len(factors) == len(found):
            spread = float(np.std(factors, ddof=1))
            measured["factor"] = {"mean": round(float(np.mean(factors)), 3), "sd": round(spread, 3)}
    return {
        "camera_models": sorted(models),
        "voxel_mm": voxel_mm,
        "isotope": isotopes.pop(),
        "simulated_patients": simulated,
        "description": f"{kind}, {voxel_mm:g} mm",
        **measured,
    }
