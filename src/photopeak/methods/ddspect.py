"""DDSPECT-3D: a 2.5D diffusion that sees neighbouring slices and knows the dose (Xie et al., DDPET-3D, for PET).

The paper's remedies against flicker between slices: neighbours as channels, one noise for all slices, and two noises
whose walks are averaged after the first step. The walk starts at the noisy image, at the largest of the times of even
steps, 960 of 1000 for 25; the paper starts at one that another network has denoised. Its steps with fresh noise, one in
five, are left out: they break the one noise for all slices.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from photopeak.diffusion.gaussian import Schedule
from photopeak.learn.learned import Batch
from photopeak.methods.ddim_spect import DdimSpect
from photopeak.nets.dosed_unet import DosedUNet

NOISES = 2


class DDSpect(DdimSpect):
    """Dose-aware conditional diffusion.

    Parameters
    ----------
    neighbours : slices on either side of image and map; the paper has 15 and ours fewer, for the sake of a CPU.
    schedule : the noise schedule.
    feed, others : as for DdimSpect.
    """

    name = "ddspect"

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        neighbours: int = 4,
        schedule: Schedule = "cosine",
        **others: Any,
    ) -> None:
        super().__init__(feed, neighbours=neighbours, schedule=schedule, **others)

    def _network(self, channels: Sequence[int], fold: int) -> nn.Module:
        return DosedUNet(1 + self.channels_seen, 1, channels=channels, fold=fold)

    def _first(self) -> int:
        return max(self.diffusion.steps - self.diffusion.steps // max(self.steps, 1), self.steps - 1)

    def _starts(self, given: Tensor, generator: torch.Generator) -> list[Tensor]:
        times = torch.full((len(given),), self._first())
        noises = (torch.randn((1, *given.shape[1:]), generator=generator).to(given) for _ in range(NOISES))
        return [self.diffusion.at(given, times, noise) for noise in noises]

    def _answer(self, x_t: Tensor, condition: Batch, times: Tensor) -> Tensor:
        fractions = condition["fraction"][:, 0].to(x_t)
        channels = torch.cat([x_t, condition["seen"]], dim=1)
        answer: Tensor = self.players["net"](channels, times.to(x_t.device), fractions)
        return answer
