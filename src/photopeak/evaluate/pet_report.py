"""The report of one PET that was estimated from CT: projections, uncertainty, planes beside the CT, and its origin."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.evaluate.ct_field import mean_suv
from photopeak.evaluate.domain import Check
from photopeak.evaluate.page import encoded, page, write_page
from photopeak.evaluate.pet_mip import (
    HIGHEST_SUV,
    PET_NOTICE,
    SOFT_TISSUE_HU,
    planes_figure,
    spread_figure,
    uptake_figure,
)

UNDETERMINED = (
    "FDG uptake is not determined by CT. Two people with the same CT can have different uptake; this image shows what "
    "is usual for such a body in the training data, not what this person's tissues took up. It may omit lesions that "
    "are there and show lesions that are not, and no SUV in it was measured."
)


def write_pet_report(
    study: Study,
    path: Path,
    *,
    warnings: Sequence[str] = (),
    provenance: Mapping[str, str],
    checks: Sequence[Check] = (),
    ct: str = "ct",
    pet: str = "pet",
    sd: str = "pet_sd",
) -> Path:
    """Write the report of `study` as one HTML file; it is whole or absent.

    Parameters
    ----------
    warnings : what the reader must know first, one sentence each; that CT does not determine uptake is always said.
    provenance : how the estimate was made: method, hash of the weights, seed, version.
    checks : what was measured of the input and the answer.
    ct, pet, sd : names of HU, SUV and its standard deviation (zero: one sample), on one axial grid.

    Raises
    ------
    MissingInput : the study lacks one of the volumes.
    GridMismatch : volumes on different grids, or on an oblique one.
    BadArgument : `path` is a folder.
    """
    if path.is_dir():
        raise BadArgument(f"path {path}, a folder", needed="the file to write", remedy='Add a name: "report.html".')
    spread = bool(study[sd].data.any())
    text = page(
        "pet_report.html",
        notice=PET_NOTICE,
        study=study,
        warnings=warnings,
        undetermined=UNDETERMINED,
        highest_suv=HIGHEST_SUV,
        soft_tissue_hu=SOFT_TISSUE_HU,
        uptake=encoded(uptake_figure(study[pet])),
        spread=encoded(spread_figure(study[sd])) if spread else None,
        planes=encoded(planes_figure(study[ct], study[pet])),
        figures=_figures(study, ct, pet, sd, spread=spread),
        checks=checks,
        provenance=provenance,
        calibrated=_calibrated(study),
    )
    return write_page(text, path)


def _calibrated(study: Study) -> str:
    """How the sd of a study's PET was calibrated; empty where it was not."""
    fitted = next((step.settings for step in study.history if step.by == "evaluate.calibration"), None)
    if fitted is None:
        return ""
    return (
        f"PET ± 1.96 sd held 95 % of the voxels of the bodies in {fitted['studies']} scans that the method was not "
        "trained on; outside of the body it is not calibrated"
    )


def _figures(study: Study, ct: str, pet: str, sd: str, *, spread: bool) -> dict[str, str]:
    """What the table tells."""
    uptake = study[pet]
    told = {
        "voxels": str(uptake.grid),
        "tube voltage": f"{study.facts['kvp']:g} kVp" if "kvp" in study.facts else "not known",
        "greatest SUV": f"{float(uptake.data.max()):.1f}",
        "mean SUV in tissue": f"{mean_suv(uptake, study[ct]):.2f}",
    }
    if spread:
        inside = uptake.data > 1
        share = study[sd].data[inside] / uptake.data[inside]
        told["sd where SUV is above 1, median"] = f"{100 * float(torch.median(share)):.0f} %" if share.numel() else "–"
    return told
