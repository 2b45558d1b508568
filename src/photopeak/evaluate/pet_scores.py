"""What is measured of one synthetic PET: the figures of CPDM as it reports them, and what a physician would ask for.

CPDM (Nguyen et al., arXiv 2410.21932, Table 4) scores slices of its scanners' stored numbers, where every slice is
scaled to its own maximum of 2^15 - 1: SUV and the scale between slices are gone. Its figures stand here beside those in
SUV, which take an answer as it is: no factor is fitted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.ndimage import binary_dilation, binary_fill_holes, binary_opening, generate_binary_structure, label
from torch import Tensor

from photopeak.core import HU, SUV, Study, Volume
from photopeak.core.errors import BadValues
from photopeak.metrics.compat import flat_similarity
from photopeak.metrics.lpips import Lpips
from photopeak.metrics.mae import mae

STORED_MAX = 2**15 - 1
SLICES = 28
"""Of a study, evenly spaced; the paper takes 25 to 30 of each."""
LPIPS_AT_ONCE = 7

BODY_ABOVE_HU, LEAST_PART = -400.0, 0.1
"""Parts of the body that are smaller than a tenth of the largest are the couch, or noise."""
LIVER_FACTOR, LIVER_SDS = 1.5, 2.0
"""PERCIST 1.0 (Wahl et al., J Nucl Med 2009; 50:122S): 1.5 times the liver's mean, and 2 SD."""
SUV_WITHOUT_LIVER = 2.5
SMALLEST_ML = 0.2
OVERLAP = 0.25
NORMAL_95 = 1.96

PUBLISHED_UNITS = {"LPIPS": "1", "MAE": "of 32767", "SSIM": "1", "PSNR": "dB"}
SUV_UNITS = {
    "body MAE": "SUV",
    "body bias": "SUV",
    "body in 95 % interval": "%",
    "organ SUVmean error": "%",
    "lesion SUVmax error": "%",
    "lesion SUVmax bias": "%",
    "lesion SUVmean error": "%",
    "lesion sensitivity": "%",
    "false positives": "per patient",
}
"""Figures and units; a patient has those whose regions the study knows. Errors are absolute, a bias has its sign."""
ORGAN_FIGURE = "{} SUVmean bias"
RULE = (
    "A voxel is hot above 1.5 times the liver's mean plus 2 SD of the same image (SUV 2.5 where no liver is labelled). "
    "A group of hot voxels of 0.2 ml or more is right if a quarter of it lies in a lesion or is hot in the truth, else "
    "it is a false positive. A lesion is found if right groups fill a quarter of it; lesions that the truth does not "
    "show by the same rule are not counted."
)

Masks = Mapping[str, np.ndarray]


def pet_scores(
    study: Study, *, of: str, truths: Sequence[str], lpips: Lpips | None, slice_level: float | None = None
) -> dict[str, Any]:
    """Figures of the PET ``study[of]`` [SUV] against each truth on its grid; the paper's against the first.

    Parameters
    ----------
    study : with "ct" [HU], and where they are known "lesion" and "organ" (labels; `organs_of` names them).
    lpips : None where the trained numbers are not installed; the figure is left out then.
    slice_level : of an answer that has lost SUV, as that of ``compat="cpdm"``: what stands for a slice's maximum.

    Returns
    -------
    scores : {"scores": {truth: {figure: number}}}, units in PUBLISHED_UNITS, SUV_UNITS and "lesions", "lesions shown"
        as counts.

    Raises
    ------
    GridMismatch, WrongQuantity, BadValues : volumes that cannot be compared, or a truth without uptake.
    """
    body, organs, lesions = body_of(study["ct"]), organs_of(study), lesions_of(study)
    answer = study[of].require(SUV, name=of)
    spread = study.volumes.get(f"{of}_sd")
    scores: dict[str, dict[str, float]] = {}
    for name in truths:
        truth = study[name].require(SUV, name=name)
        inside = torch.from_numpy(body)
        error = (answer.data - truth.data)[inside].double()
        found = {"body MAE": mae(answer, truth, inside), "body bias": float(error.mean())}
        if spread is not None and bool(spread.data.any()):
            reach = NORMAL_95 * spread.data[inside].double()
            found["body in 95 % interval"] = 100 * float((error.abs() <= reach).double().mean())
        images = answer.numpy(), truth.numpy()
        found |= organ_scores(*images, organs) | lesion_scores(*images, lesions)
        voxel_ml = float(np.prod(truth.grid.spacing_mm)) / 1000
        found |= detection_scores(*images, lesions, organs.get("liver"), voxel_ml=voxel_ml)
        if name == truths[0]:
            found |= published_scores(answer.data, truth.data, lpips, slice_level)
        scores[name] = found
    return {"scores": scores}


def published_scores(
    estimate: Tensor, truth: Tensor, lpips: Lpips | None, slice_level: float | None = None
) -> dict[str, float]:
    """MAE, SSIM, PSNR and LPIPS as in Table 4 of CPDM: each the mean over slices, range 1, background included.

    Every slice is divided by the truth's own maximum in it, or the estimate's by `slice_level`, and cut to 0..1. Slices
    keep their pixels; the paper's are of 256 x 256.

    Parameters
    ----------
    estimate, truth : [z, y, x], SUV.
    lpips, slice_level : as for `pet_scores`.

    Raises
    ------
    BadValues : a truth without uptake.
    """
    lit = torch.nonzero(truth.amax(dim=(1, 2)) > 0).flatten()
    if not len(lit):
        raise BadValues("a truth without uptake", needed="a PET", remedy="Check the truth.")
    chosen = lit[torch.linspace(0, len(lit) - 1, min(SLICES, len(lit))).round().long()]
    peak = truth[chosen].amax(dim=(1, 2), keepdim=True)
    of_one = peak if slice_level is None else slice_level
    e, t = ((one[chosen] / scale).clamp(0, 1).double() for one, scale in ((estimate, of_one), (truth, peak)))
    scores = {
        "MAE": STORED_MAX * float((e - t).abs().mean()),
        "SSIM": float(flat_similarity(e, t, 1.0).mean(dim=(1, 2)).mean()),
        "PSNR": float(-10 * (e - t).square().mean(dim=(1, 2)).log10().mean()),
    }
    if lpips is not None:
        pairs = zip(*((2 * one[:, None].float() - 1).split(LPIPS_AT_ONCE) for one in (e, t)), strict=True)
        with torch.no_grad():
            scores["LPIPS"] = float(torch.cat([lpips(a, b) for a, b in pairs]).mean())
    return scores


def organ_scores(answer: np.ndarray, truth: np.ndarray, organs: Masks) -> dict[str, float]:
    """Signed error of each organ's SUVmean in %, and the mean of their sizes."""
    bias = {organ: _per_cent(answer[where].mean(), truth[where].mean()) for organ, where in organs.items()}
    if not bias:
        return {}
    mean = float(np.mean([abs(one) for one in bias.values()]))
    return {"organ SUVmean error": mean, **{ORGAN_FIGURE.format(organ): one for organ, one in bias.items()}}


def lesion_scores(answer: np.ndarray, truth: np.ndarray, lesions: Sequence[np.ndarray]) -> dict[str, float]:
    """Errors of SUVmax (in the lesion and one voxel around it) and SUVmean in %, means over a patient's lesions."""
    if not lesions:
        return {}
    peaks, means = [], []
    for lesion in lesions:
        around = binary_dilation(lesion)
        peaks.append(_per_cent(answer[around].max(), truth[around].max()))
        means.append(_per_cent(answer[lesion].mean(), truth[lesion].mean()))
    return {
        "lesion SUVmax error": float(np.abs(peaks).mean()),
        "lesion SUVmax bias": float(np.mean(peaks)),
        "lesion SUVmean error": float(np.abs(means).mean()),
    }


def detection_scores(
    answer: np.ndarray, truth: np.ndarray, lesions: Sequence[np.ndarray], liver: np.ndarray | None, *, voxel_ml: float
) -> dict[str, float]:
    """Lesions that are found and hot places that are none, by RULE; images [z, y, x] in SUV.

    Uptake that the truth shows too, as that of heart or bowel, is neither.
    """
    fewest = max(1, round(SMALLEST_ML / voxel_ml))
    true_groups = hot_groups(truth, hot_level(truth, liver), fewest)
    known = np.logical_or.reduce([true_groups > 0, *lesions])
    groups = hot_groups(answer, hot_level(answer, liver), fewest)
    sizes, right = (np.bincount(one, minlength=groups.max() + 1)[1:] for one in (groups.ravel(), groups[known]))
    is_right = np.concatenate([[False], right >= OVERLAP * sizes])
    shown = [lesion for lesion in lesions if (true_groups > 0)[lesion].mean() >= OVERLAP]
    found = [lesion for lesion in shown if is_right[groups][lesion].mean() >= OVERLAP]
    scores = {"false positives": float((~is_right[1:]).sum()), "lesions": len(lesions), "lesions shown": len(shown)}
    return {**scores, **({"lesion sensitivity": 100 * len(found) / len(shown)} if shown else {})}


def hot_level(image: np.ndarray, liver: np.ndarray | None) -> float:
    """The SUV above which a voxel is hot: PERCIST's for lesions, of the image's own liver."""
    if liver is None:
        return SUV_WITHOUT_LIVER
    return float(LIVER_FACTOR * image[liver].mean() + LIVER_SDS * image[liver].std())


def hot_groups(image: np.ndarray, level: float, fewest: int) -> np.ndarray:
    """Numbers from 1 of groups of touching voxels above a level, 0 elsewhere and in groups of fewer voxels."""
    groups, _ = label(image > level, generate_binary_structure(3, 3))
    sizes = np.bincount(groups.ravel())
    keep = sizes >= fewest
    keep[0] = False
    return (np.cumsum(keep) * keep)[groups]


def body_of(ct: Volume) -> np.ndarray:
    """The voxels [z, y, x] of the body in a CT [HU], lungs and gas in it included, without the couch.

    Raises
    ------
    WrongQuantity : another volume than a CT.
    BadValues : a CT without a body.
    """
    dense = np.pad(ct.require(HU, name="ct").numpy() > BODY_ABOVE_HU, 1, mode="edge")
    dense = binary_opening(dense)[1:-1, 1:-1, 1:-1]
    parts, count = label(dense)
    if not count:
        raise BadValues(
            f"a CT with nothing above {BODY_ABOVE_HU:g} HU", needed="a body", remedy="Check that it is in HU."
        )
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    body = (sizes >= LEAST_PART * sizes.max())[parts]
    return np.stack([binary_fill_holes(plane) for plane in body])


def organs_of(study: Study) -> Masks:
    """Voxels [z, y, x] of each organ of ``facts["truth"]["organs"]`` that "organ" holds; none of a real study."""
    named = study.facts.get("truth", {}).get("organs", {})
    if "organ" not in study or not named:
        return {}
    labels = study["organ"].numpy()
    masks = {name: labels == about["label"] for name, about in named.items()}
    return {name: mask for name, mask in masks.items() if mask.any()}


def lesions_of(study: Study) -> list[np.ndarray]:
    """Voxels [z, y, x] of each label of "lesion"; none where nobody has drawn any."""
    if "lesion" not in study:
        return []
    labels = study["lesion"].numpy().round().astype(int)
    return [labels == number for number in np.unique(labels[labels > 0])]


def _per_cent(found: float, true: float) -> float:
    if not true > 0:
        raise BadValues("a region without uptake in the truth", needed="SUV above 0", remedy="Check the truth.")
    return 100 * float(found - true) / float(true)
