"""What is said of one patient's answer: in the heart, in the wall of the left ventricle, and in its 17 segments.

Every figure follows one least-squares factor per patient in the mask that it is measured in, since perfusion is read
relative to its maximum. The same found surface samples both images, so differences are not differences of contours.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import HeartFrame
from photopeak.cardiac.polar import LVSurface, polar_map
from photopeak.cardiac.segments import segment_means
from photopeak.core import Grid, Study
from photopeak.metrics.compare import least_squares_factor
from photopeak.metrics.nrmse import nrmse
from photopeak.metrics.psnr import psnr
from photopeak.metrics.segment_error import segment_error
from photopeak.metrics.ssim import ssim

HEART_RADIUS_MM = 64.0
WALL_FRACTION = 0.5
NORMAL_95 = 1.96

UNITS = {
    "heart NRMSE": "%",
    "heart PSNR": "dB",
    "heart SSIM": "1",
    "LV-wall NRMSE": "%",
    "17-segment MAE": "% of max",
    "wall in 95 % interval": "%",
}
"""Figures of `heart_scores` and their units; those of the wall need the truth of a simulation ("lv")."""


def heart_mask(grid: Grid, frame: HeartFrame, radius_mm: float = HEART_RADIUS_MM) -> Tensor:
    """The heart volume of interest [z, y, x]: a sphere around the middle of the left ventricle."""
    distance = np.linalg.norm(grid.points() - np.array(frame.centre_mm), axis=-1)
    return torch.from_numpy(distance <= radius_mm)


def heart_scores(study: Study, *, of: str, truth: str, heart: FoundHeart) -> Mapping[str, float]:
    """Figures of one volume against another in the heart of one patient; names and units in UNITS."""
    estimate, reference = study[of], study[truth]
    mask = heart_mask(reference.grid, heart.frame)
    scaled = estimate.with_data(estimate.data * least_squares_factor(estimate, reference, mask), reference.quantity)
    surface = LVSurface.of(heart)
    segments, expected = (segment_means(polar_map(volume, surface)) for volume in (estimate, reference))
    scores = {
        "heart NRMSE": nrmse(scaled, reference, mask),
        "heart PSNR": psnr(scaled, reference, mask),
        "heart SSIM": ssim(scaled, reference, mask),
        "17-segment MAE": segment_error(segments, expected),
    }
    if "lv" in study:
        wall = study["lv"].data > WALL_FRACTION
        scores["LV-wall NRMSE"] = nrmse(estimate, reference, wall, scaled=True)
        if f"{of}_sd" in study and bool(study[f"{of}_sd"].data.any()):
            factor = least_squares_factor(estimate, reference, wall)
            reach = NORMAL_95 * factor * study[f"{of}_sd"].data[wall]
            error = (factor * estimate.data - reference.data)[wall].abs()
            scores["wall in 95 % interval"] = 100 * float((error <= reach).float().mean())
    return {name: scores[name] for name in UNITS if name in scores}
