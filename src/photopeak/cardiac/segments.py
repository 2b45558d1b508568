"""The 17 segments of the left ventricle (AHA, Cerqueira et al., Circulation 2002; 105:539)."""

import math

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument

SEGMENTS = (
    "basal anterior",
    "basal anteroseptal",
    "basal inferoseptal",
    "basal inferior",
    "basal inferolateral",
    "basal anterolateral",
    "mid anterior",
    "mid anteroseptal",
    "mid inferoseptal",
    "mid inferior",
    "mid inferolateral",
    "mid anterolateral",
    "apical anterior",
    "apical septal",
    "apical inferior",
    "apical lateral",
    "apex",
)

TERRITORIES = {"LAD": (1, 2, 7, 8, 13, 14, 17), "RCA": (3, 4, 9, 10, 15), "LCX": (5, 6, 11, 12, 16)}
"""Segment numbers by the artery that usually supplies them: a label, not the truth of a patient."""

_LEVELS = ((0.65, 1.0, 6), (0.30, 0.65, 6), (0.10, 0.30, 4))
"""Each level's limits from apex (0) to base (1), and its number of sectors: 35, 35 and 30 % with the apex."""


def segment_of(ring: float, angle_deg: float) -> int:
    """Segment number 1 to 17 at a fraction from apex to base and an angle from anterior toward lateral."""
    if not 0 <= ring <= 1:
        raise BadArgument(
            f"ring {ring:g}", needed="a fraction from 0 (apex) to 1 (base)", remedy="Divide by the number of rings."
        )
    first = 1
    for low, high, sectors in _LEVELS:
        if low <= ring <= high:
            return first + math.floor(0.5 - angle_deg * sectors / 360) % sectors
        first += sectors
    return len(SEGMENTS)


def segment_means(polar: Tensor) -> Tensor:
    """Mean of a polar map [ring, angle] in each of the 17 segments."""
    rings, angles = polar.shape
    number = torch.tensor(
        [[segment_of((r + 0.5) / rings, 360 * a / angles) for a in range(angles)] for r in range(rings)]
    )
    return torch.stack([polar[number == segment].mean() for segment in range(1, len(SEGMENTS) + 1)])


def segment_centres() -> list[tuple[float, float]]:
    """Middle of each segment, 1 to 17, as (radius, angle_deg) in a disc of radius 1."""
    centres = [((low + high) / 2, -k * 360 / sectors) for low, high, sectors in _LEVELS for k in range(sectors)]
    return [*centres, (0.0, 0.0)]


def segment_outlines() -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Line pieces between segments, as ((radius, angle_deg), (radius, angle_deg)) of a disc of radius 1.

    Two ends at one angle are a spoke; two ends at one radius are a full circle.
    """
    lines: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for low, high, sectors in _LEVELS:
        lines.append(((low, 0.0), (low, 360.0)))
        lines += [((low, a), (high, a)) for a in ((k + 0.5) * 360 / sectors for k in range(sectors))]
    return lines
