"""Scans of made-up hearts whose defects are known."""

from collections.abc import Callable

import pytest
import torch

from photopeak.cardiac.segments import segment_of
from photopeak.evaluate.scan_maps import ScanMaps

RINGS, ANGLES = 24, 72
SEGMENT = torch.tensor(
    [[segment_of((r + 0.5) / RINGS, 360 * a / ANGLES) - 1 for a in range(ANGLES)] for r in range(RINGS)]
)
MakeScans = Callable[..., list[ScanMaps]]


@pytest.fixture
def make_scans(generator: torch.Generator) -> MakeScans:
    """Scans with noise of `sd` per cent; each ill one has lost `depth` of the uptake of one segment.

    Images: "truth" (no noise), "nac" (noise, and the inferior wall low), "filled" (half of the defect filled in).
    """

    def scans(normal: int, ill: int, sd: float = 3.0, state: str = "stress") -> list[ScanMaps]:
        made = []
        for number in range(normal + ill):
            uptake = torch.ones(17)
            if number >= normal:
                uptake[number % 12] = 0.4 + 0.1 * (number % 4)
            noise = 1 + sd / 100 * torch.randn(RINGS, ANGLES, generator=generator)
            low = torch.where(torch.arange(17) % 6 == 3, 0.8, 1.0)
            maps = {
                "truth": 100 * uptake[SEGMENT],
                "nac": 30 * (uptake * low)[SEGMENT] * noise,
                "filled": 100 * (0.5 + 0.5 * uptake)[SEGMENT] * noise,
            }
            defects = ("LAD",) if number >= normal else ()
            person = f"{'ill' if defects else 'well'}_{number}"
            made.append(ScanMaps(person, state, "FM"[number % 2], tuple(uptake.tolist()), defects, maps))
        return made

    return scans
