"""CPDM: a Brownian bridge told where uptake and what attenuation is (arXiv 2410.21932), in its NAC-to-AC form.

The paper goes from CT to PET; the benchmark of NAC-to-AC methods starts its bridge at NAC instead. Readings: the
attention map is the myocardium seen in NAC (the paper segments high uptake from CT with a second network that learnt
from thresholded PET), the attenuation map exp(-mu) stays where a study has CT, and the bridge is in pixels, because
slices of 40 x 40 need no compression. x_t, NAC and both maps are concatenated.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from photopeak.core import Grid, Study, attenuation
from photopeak.core.errors import BadArgument
from photopeak.core.units import TC99M_KEV
from photopeak.learn.feed import Side
from photopeak.learn.learned import Batch
from photopeak.methods.bbdm import BBDM

MAPS = ("attention", "attenuation")
WATER_PER_CM = 0.15


class CPDM(BBDM):
    """The bridge with its two maps.

    Parameters
    ----------
    feed, channels, fold, bridge_steps, variance : as in BBDM.
    maps : "attention", "attenuation" or both; without "attenuation" it reads nothing but NAC.
    threshold : share of the level above which NAC is myocardium, inside the sphere in which the level is taken.
    """

    name = "cpdm"
    reads: tuple[str, ...] = ("nac", "mu")

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: Sequence[int] = (32, 64, 96),
        fold: int = 1,
        bridge_steps: int = 1000,
        variance: float = 1.0,
        maps: Sequence[str] = MAPS,
        threshold: float = 0.4,
    ) -> None:
        if not maps or not set(maps) <= set(MAPS) or not 0 < threshold < 1:
            raise BadArgument(
                f"maps {list(maps)}, threshold {threshold:g}",
                needed=f"{' or '.join(MAPS)}, between 0 and 1",
                remedy="Use bbdm for a bridge without maps.",
            )
        self.maps: tuple[str, ...] = tuple(name for name in MAPS if name in maps)
        self.threshold = threshold
        self.reads = ("nac", "mu") if "attenuation" in maps else ("nac",)
        super().__init__(feed, channels=channels, fold=fold, bridge_steps=bridge_steps, variance=variance)
        self.arguments |= {"maps": list(self.maps), "threshold": threshold}
        points = Grid.regular(self.feed.shape, self.feed.voxel_mm).points()
        self._near = torch.from_numpy(np.linalg.norm(points, axis=-1) <= self.feed.level_radius_mm)

    @property
    def condition_channels(self) -> int:
        return self.feed.context * (1 + len(self.maps))

    def cubes(self, study: Study, grid: Grid) -> dict[str, Tensor]:
        cubes = super().cubes(study, grid)
        if "attenuation" in self.maps:
            mu = study["mu"].require(attenuation(TC99M_KEV), name="mu").on(grid).data
            cubes["attenuation"] = attenuation_map(mu)
        return cubes

    def condition(self, cubes: Mapping[str, Tensor], side: Side, numbers: Sequence[int] | None = None) -> Batch:
        nac = cubes["nac"]
        attention = {"attention": self._attention(nac)} if "attention" in self.maps else {}
        return super().condition({**cubes, **attention}, side, numbers)

    def seen(self, batch: Batch) -> Tensor:
        return torch.cat([batch["nac"], *(batch[name] for name in self.maps)], dim=1)

    def _attention(self, ratio: Tensor) -> Tensor:
        """1 where NAC over level [z, y, x] is myocardium, else 0."""
        return ((ratio > self.threshold) & self._near.to(ratio.device)).to(ratio)


def attenuation_map(mu_per_cm: Tensor) -> Tensor:
    """M_mu = exp(-mu) in a network's range: 1 in air, 0 in water. As it stands it only runs from 0.86 to 1."""
    water = float(np.exp(-WATER_PER_CM))
    return (torch.exp(-mu_per_cm) - water) / (1 - water)
