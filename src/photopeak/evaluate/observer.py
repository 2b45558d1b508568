"""A channelised Hotelling observer of polar maps: could an ideal linear reader with human-like channels find defects?

Channels are differences of Gaussians about the place that the reader is told to look at (sparse set of Abbey and
Barrett, J Opt Soc Am A 2001; 18:473). Template and test never share a person: persons are split into folds, each is
scored by a template of the others, and scores are put on one scale by the spread of those that made the template.
With few persons the area is that of a poorly trained reader, below what the images hold, and its interval does not
cover the training: read it beside that of other images from the same persons, not by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from photopeak.cardiac.perfusion import relative_uptake
from photopeak.cardiac.segments import SEGMENTS, segment_centres
from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.evaluate.roc import Areas, areas
from photopeak.evaluate.scan_maps import ScanMaps

RING_MM, WALL_RADIUS_MM = 3.6, 28.0
"""Distance of rings along an average wall, and its mid-wall radius beyond the shoulder."""
FIRST_SIGMA_MM, RATIO, CHANNELS, WIDENING = 6.0, 1.6, 4, 1.67
FOLDS = 5
RIDGE = 1e-3


@dataclass(frozen=True, eq=False)
class Seen:
    """What the observer sees of the cases of one image.

    Parameters
    ----------
    channels : [case, channel].
    present : bool [case].
    persons : whose case it is.
    """

    channels: Tensor
    present: Tensor
    persons: tuple[str, ...]


def difference_of_gaussians(rings: int, angles: int, segment: int) -> Tensor:
    """Channel templates [channel, ring, angle] about the middle of a segment (1 to 17).

    Each is a Gaussian of norm 1 in sum less one that is 1.67 times as wide; distances are along an average wall.
    """
    if not 1 <= segment <= len(SEGMENTS):
        raise BadArgument(f"segment {segment}", needed="1 to 17", remedy="Number segments as the AHA does.")
    radius, angle_deg = segment_centres()[segment - 1]
    ring = (torch.arange(rings, dtype=torch.float64) + 0.5)[:, None]
    angle = torch.arange(angles, dtype=torch.float64)[None] * 2 * np.pi / angles - np.deg2rad(angle_deg)
    angle = torch.remainder(angle + np.pi, 2 * np.pi) - np.pi
    # Near the apex the circle around the axis shrinks; the chord keeps distances finite and continuous there.
    at, middle = ring * RING_MM, radius * rings * RING_MM
    around = torch.minimum(at, torch.tensor(WALL_RADIUS_MM)) * min(middle, WALL_RADIUS_MM)
    squared = (at - middle) ** 2 + around * 2 * (1 - torch.cos(angle))
    sigmas = FIRST_SIGMA_MM * RATIO ** torch.arange(CHANNELS, dtype=torch.float64)
    return torch.stack([_gaussian(squared, s) - _gaussian(squared, WIDENING * s) for s in sigmas.tolist()])


def look(scans: Sequence[ScanMaps], image: str, generator: torch.Generator) -> Seen:
    """Channel outputs of an image at the worst segment of each scan with a defect.

    A normal scan is looked at in a segment drawn from those of the scans with defects, so that place tells nothing. A
    generator in the same state draws the same places for every image.
    """
    ill = [int(np.argmin(scan.truth_segments)) + 1 for scan in scans if not scan.is_normal]
    if not ill:
        raise BadArgument("scans without any defect", needed="some with one", remedy="Add scans with defects.")
    places = iter(ill)
    drawn = iter(torch.randint(len(ill), (len(scans),), generator=generator).tolist())
    outputs = []
    for scan in scans:
        segment = ill[next(drawn)] if scan.is_normal else next(places)
        uptake = relative_uptake(scan[image])
        rings, angles = uptake.shape
        outputs.append((difference_of_gaussians(rings, angles, segment) * uptake).sum((-2, -1)))
    present = torch.tensor([not scan.is_normal for scan in scans])
    return Seen(torch.stack(outputs), present, tuple(scan.person for scan in scans))


def hotelling(channels: Tensor, present: Tensor) -> tuple[Tensor, float, float]:
    """The Hotelling template [channel] of training cases, and the middle and spread of their scores.

    Parameters
    ----------
    channels : [case, channel].
    present : bool [case]; two of each kind or more.
    """
    if channels.ndim != 2 or present.shape != channels.shape[:1]:
        raise ShapeMismatch(
            f"channels of shape {tuple(channels.shape)} and truths of {tuple(present.shape)}",
            needed="[case, channel] and [case]",
            remedy="Give one truth for each case.",
        )
    if not torch.isfinite(channels).all():
        raise BadValues("channel outputs with NaN or infinity", needed="finite numbers", remedy="Mend the maps.")
    kinds = [channels[present].double(), channels[~present].double()]
    if min(len(kind) for kind in kinds) < 2:
        raise BadArgument(
            f"{len(kinds[0])} training cases with and {len(kinds[1])} without a defect",
            needed="2 of each",
            remedy="Add cases, or take fewer folds.",
        )
    within = sum((torch.cov(kind.T) for kind in kinds), torch.zeros(())) / 2
    # A little of the mean variance keeps few cases from making directions that do not vary.
    within = within + RIDGE * within.diagonal().mean() * torch.eye(len(within), dtype=torch.float64)
    template = torch.linalg.solve(within, kinds[0].mean(0) - kinds[1].mean(0))
    means = [float((kind @ template).mean()) for kind in kinds]
    return template, sum(means) / 2, float(torch.sqrt(template @ within @ template))


def observe(seen: Seen, generator: torch.Generator, folds: int = FOLDS) -> Tensor:
    """Scores [case], each by a template of other persons.

    Parameters
    ----------
    generator : deals the persons into folds; in the same state for every image that is compared.
    """
    persons = sorted(set(seen.persons))
    if not 2 <= folds <= len(persons):
        raise BadArgument(
            f"{folds} folds of {len(persons)} persons", needed="2 folds up to one a person", remedy="Add persons."
        )
    ill = {person for person, present in zip(seen.persons, seen.present.tolist(), strict=True) if present}
    order = torch.randperm(len(persons), generator=generator).tolist()
    # Dealing those with defects first gives every fold its share of both kinds.
    dealt = sorted((persons[i] for i in order), key=lambda person: person not in ill)
    fold_of = {person: number % folds for number, person in enumerate(dealt)}
    fold = torch.tensor([fold_of[person] for person in seen.persons])
    scores = torch.empty(len(fold), dtype=torch.float64)
    for number in range(folds):
        held = fold == number
        template, middle, spread = hotelling(seen.channels[~held], seen.present[~held])
        scores[held] = (seen.channels[held].double() @ template - middle) / spread
    return scores


def observer_areas(scans: Sequence[ScanMaps], images: Sequence[str], seed: int = 0, folds: int = FOLDS) -> Areas:
    """Areas of the observer for all images, on the same scans, places and folds; one scan of each person.

    Raises
    ------
    BadArgument : several scans of one person, which DeLong's interval would take for independent.
    """
    if len({scan.person for scan in scans}) < len(scans):
        raise BadArgument("several scans of one person", needed="one of each", remedy="Take stress scans only.")
    scores = []
    for image in images:
        generator = torch.Generator().manual_seed(seed)
        seen = look(scans, image, generator)
        scores.append(observe(seen, generator, folds))
    return areas(torch.stack(scores), seen.present)


def _gaussian(squared_mm: Tensor, sigma_mm: float) -> Tensor:
    value = torch.exp(-squared_mm / (2 * sigma_mm**2))
    return value / value.sum()
