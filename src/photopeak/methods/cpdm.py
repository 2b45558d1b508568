"""CPDM: a Brownian bridge told where uptake and what attenuation is (arXiv 2410.21932).

`CPDMPet` is the paper's: from CT to PET between latents, x_t beside the maps. `CPDM` is its NAC-to-AC form; readings:
the attention map is the myocardium seen in NAC (the paper segments high uptake from CT with a second network that
learnt from thresholded PET), the attenuation map exp(-mu) stays where a study has CT, and the bridge is in pixels,
because slices of 40 x 40 need no compression. x_t, NAC and both maps are concatenated.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core import Grid, Study, attenuation
from photopeak.core.errors import BadArgument
from photopeak.core.units import TC99M_KEV
from photopeak.learn.feed import Side, from_network
from photopeak.learn.learned import Batch
from photopeak.methods.bbdm import BBDM, LatentBridgeSlices
from photopeak.methods.pet_slices import DOUBLE_WATER_PER_CM, MAPS, SampledPet

WATER_PER_CM = 0.15
PUBLISHED_KVP = 140.0


class CPDM(BBDM):
    """The bridge from NAC to AC with its two maps.

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
        self.maps = tuple(name for name in MAPS if name in maps)
        self.threshold = threshold
        self.reads = ("nac", "mu") if "attenuation" in maps else ("nac",)
        super().__init__(feed, channels=channels, fold=fold, bridge_steps=bridge_steps, variance=variance)
        self.arguments |= {"maps": list(self.maps), "threshold": threshold}
        points = Grid.regular(self.feed.shape, self.feed.voxel_mm).points()
        self._near = torch.from_numpy(np.linalg.norm(points, axis=-1) <= self.feed.level_radius_mm)

    @property
    def channels_shown(self) -> int:
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

    def _attention(self, ratio: Tensor) -> Tensor:
        """1 where NAC over level [z, y, x] is myocardium, else 0."""
        return ((ratio > self.threshold) & self._near.to(ratio.device)).to(ratio)


def attenuation_map(mu_per_cm: Tensor) -> Tensor:
    """M_mu = exp(-mu) in a network's range: 1 in air, 0 in water. As it stands it only runs from 0.86 to 1."""
    water = float(np.exp(-WATER_PER_CM))
    return (torch.exp(-mu_per_cm) - water) / (1 - water)


class CPDMPet(LatentBridgeSlices, SampledPet):
    """The bridge from CT to PET, between latents of a `vqgan_pet`, with one map or both.

    Each map is averaged to the latents' size and brought to their channels by a 1x1 convolution that learns with the
    bridge. Other than in the paper, the network also sees the latents of the CT slice and its neighbours, the
    attenuation map follows the tube voltage and is scaled to a network's range, attention is a probability, PET is in
    SUV, and ten steps are taken unless told.

    Parameters
    ----------
    feed, attention, code, channels, fold, bridge_steps, variance : as for `bbdm_pet`.
    maps : "attention", "attenuation" or both.
    compat : "cpdm" for what was published: 140 kVp whatever the tube voltage was, exp(-mu) as it is, from 0.84 to 1,
        a mask of 0 and 1 for attention, no sight of the CT but as the bridge's start, and every PET slice over its own
        maximum, by which SUV is lost (`PetFeed.per_slice`; the code must be trained like that too).
    """

    name = "cpdm_pet"
    steps = 10

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        maps: Sequence[str] = MAPS,
        compat: Literal["", "cpdm"] = "",
        **arguments: Any,
    ) -> None:
        if not maps or compat not in ("", "cpdm"):
            raise BadArgument(
                f"maps {list(maps)}, compat={compat!r}",
                needed=f'{" or ".join(MAPS)}, and "cpdm" or ""',
                remedy="Use bbdm_pet for a bridge without maps.",
            )
        self.compat = compat
        super().__init__({**(feed or {}), "per_slice": True} if compat else feed, maps=maps, **arguments)
        self.arguments |= {"compat": compat}
        rescale = nn.ModuleDict({name: nn.Conv2d(1, self.image_channels, 1, bias=False) for name in self.maps})
        self.players["net"] = nn.ModuleDict({"unet": self.players["net"], "rescale": rescale})

    @property
    def unet(self) -> nn.Module:
        networks: Any = self.players["net"]
        unet: nn.Module = networks["unet"]
        return unet

    @property
    def channels_seen(self) -> int:
        return self.image_channels * (len(self.maps) + (0 if self.compat else self.feed.context))

    def kvp(self, study: Study) -> float:
        return PUBLISHED_KVP if self.compat else super().kvp(study)

    def seen(self, batch: Batch) -> Tensor:
        """The maps as latents, and unless `compat` the latents of the slice with its neighbours."""
        networks: Any = self.players["net"]
        averaged = {name: F.avg_pool2d(self._map(name, batch[name]), self.code.size_divisor) for name in self.maps}
        maps = [networks["rescale"][name](value) for name, value in averaged.items()]
        return torch.cat(maps if self.compat else [self.latents(batch), *maps], dim=1)

    def _map(self, name: str, value: Tensor) -> Tensor:
        """A map of the batch, -1 to about 1, as the paper has it where that is asked for."""
        if not self.compat:
            return value
        return torch.exp(-DOUBLE_WATER_PER_CM * from_network(value)) if name == "attenuation" else (value > 0).to(value)
