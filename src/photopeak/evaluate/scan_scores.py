"""Everything that the benchmark measures of one answer in one scan: our figures, both papers', and the 17 segments."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.polar import LVSurface, polar_map
from photopeak.cardiac.segments import segment_means
from photopeak.core import Study, Volume
from photopeak.evaluate.patients import HEART_RADIUS_MM, UNITS, heart_mask, heart_scores
from photopeak.learn.feed import SIDES, seen_from
from photopeak.metrics.compare import least_squares_factor
from photopeak.metrics.compat import CONVENTIONS, slice_scores

CROP_VOXELS, CROP_VOXEL_MM = 50, 3.2
SLICE_STEP, SLICES_EACH_SIDE = 4, 4
"""Slices every 12.8 mm, 51 mm to either side of the heart's centre, in each of the three orientations."""

FACTOR = "heart factor"
ALL_UNITS = {
    **UNITS,
    FACTOR: "1",
    **{
        f"{compat} {name}": unit
        for compat in CONVENTIONS
        for name, unit in (("RMSE", "1"), ("SSIM", "1"), ("PSNR", "dB"))
    },
}


def scan_scores(study: Study, *, of: str, truths: Sequence[str], heart: FoundHeart) -> dict[str, Any]:
    """Figures of ``study[of]`` against each truth, and the segment means of all of them; the papers' against the first.

    Returns
    -------
    scores : {"scores": {truth: {figure: number}}, "segments": {volume: [17 numbers]}}, units in ALL_UNITS; "heart
        factor" is the least-squares factor from the answer to the truth in the heart, 1 for a right scale.
    """
    surface = LVSurface.of(heart)
    mask = heart_mask(study[of].grid, heart.frame, HEART_RADIUS_MM)
    slices = heart_slices(study[of], heart)
    scores = {}
    for truth in truths:
        factor = least_squares_factor(study[of], study[truth], mask)
        scores[truth] = {
            **heart_scores(study, of=of, truth=truth, heart=heart),
            FACTOR: factor,
            **(_as_published(factor * slices, heart_slices(study[truth], heart)) if truth == truths[0] else {}),
        }
    named = {"answer": of, **{truth: truth for truth in truths}}
    segments = {name: segment_means(polar_map(study[volume], surface)).tolist() for name, volume in named.items()}
    return {"scores": scores, "segments": segments}


def heart_slices(volume: Volume, heart: FoundHeart) -> Tensor:
    """SA, VLA and HLA slices [slice, row, column] of 160 mm around the heart, 50 x 50 pixels."""
    grid = heart.frame.grid((CROP_VOXELS,) * 3, CROP_VOXEL_MM)
    cube = volume.on(grid, order=3).data.clamp(min=0)
    chosen = CROP_VOXELS // 2 + SLICE_STEP * torch.arange(-SLICES_EACH_SIDE, SLICES_EACH_SIDE + 1)
    return torch.cat([seen_from(cube, side)[chosen] for side in SIDES])


def _as_published(slices: Tensor, wanted: Tensor) -> Mapping[str, float]:
    """Figures by "convention name"; the scale of the answer is that which fits the truth best in the heart."""
    return {
        f"{compat} {name}": value
        for compat in CONVENTIONS
        for name, value in slice_scores(slices, wanted, compat=compat).items()
    }
