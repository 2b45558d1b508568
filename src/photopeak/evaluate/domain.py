"""Where an input differs from what a method was trained on: said aloud, never hidden."""

from collections.abc import Iterable, Mapping
from typing import Any

from photopeak.core import Study
from photopeak.core.errors import BadArgument

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


def training_domain(studies: Iterable[Study], *, voxel_mm: float) -> dict[str, Any]:
    """What a training set covers, for the card of the method that learns from it."""
    models, isotopes, simulated = set(), set(), 0
    for study in studies:
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
    return {
        "camera_models": sorted(models),
        "voxel_mm": voxel_mm,
        "isotope": isotopes.pop(),
        "simulated_patients": simulated,
        "description": f"{kind}, {voxel_mm:g} mm",
    }
