"""Palette: a diffusion from noise to AC slices that sees the NAC slices (Saharia et al., SIGGRAPH 2022).

The condition is concatenated to x_t, the loss is the squared error of the noise. Other than in the paper: one schedule
(DDPM's, T = 1000) for training and use instead of two, and use with DDIM. The estimate of the image is clipped, as
there: at the first steps an error of the noise is amplified more than a hundredfold.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core.errors import BadArgument
from photopeak.diffusion.gaussian import GaussianDiffusion, Schedule
from photopeak.diffusion.samplers import sample_ddim
from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import SampledSlices, in_chunks
from photopeak.nets.unet import slice_unet

Prediction = Literal["noise", "image"]


class Palette(SampledSlices):
    """Conditional DDPM.

    Parameters
    ----------
    feed : arguments of SliceFeed.
    channels : of the U-Net's levels.
    diffusion_steps, schedule : T and the noise schedule.
    predicts : what the network answers, "noise" as in the paper, or "image".
    clip : range of the image in the network's scale, in which 1 is the level of normal uptake and -1 is no counts.
    """

    name = "palette"
    steps = 50

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: Sequence[int] = (32, 64, 96),
        fold: int = 1,
        diffusion_steps: int = 1000,
        schedule: Schedule = "linear",
        predicts: Prediction = "noise",
        clip: tuple[float, float] = (-1.0, 3.0),
    ) -> None:
        super().__init__(feed)
        if predicts not in ("noise", "image"):
            raise BadArgument(
                f"predicts={predicts!r}", needed='"noise" or "image"', remedy='The paper predicts "noise".'
            )
        self.arguments |= {
            "channels": list(channels),
            "fold": fold,
            "diffusion_steps": diffusion_steps,
            "schedule": schedule,
            "predicts": predicts,
            "clip": list(clip),
        }
        self.diffusion = GaussianDiffusion(diffusion_steps, schedule)
        self.predicts, self.clip = predicts, clip
        places = self.feed.place("sa").shape[1]
        self.players = nn.ModuleDict({"net": slice_unet(1 + self.feed.context + places, 1, channels, fold=fold)})

    def check_steps(self, steps: int) -> None:
        self.diffusion.times(steps)

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Squared error of the noise, or of the image, at a random time."""
        x0 = batch["ac"]
        times = torch.randint(self.diffusion.steps, (len(x0),), generator=generator)
        noise = torch.randn(x0.shape, generator=generator).to(x0)
        x_t = self.diffusion.at(x0, times, noise)
        yield "net", F.mse_loss(self._answered(x_t, batch, times), noise if self.predicts == "noise" else x0)

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        nac, (low, high) = condition["nac"], self.clip

        def estimate(x_t: Tensor, time: int) -> Tensor:
            def network(part: Batch) -> Tensor:
                return self._answered(part["x_t"], part, torch.full((len(part["nac"]),), time))

            answered = in_chunks(network, {"nac": nac, "place": condition["place"], "x_t": x_t})
            return self.diffusion.clean(x_t, answered, time) if self.predicts == "noise" else answered

        start = torch.randn((len(nac), 1, *nac.shape[-2:]), generator=generator).to(nac)
        return sample_ddim(
            estimate,
            start,
            self.diffusion,
            steps=self.steps,
            generator=generator,
            update=lambda x0: x0.clamp(low, high),
        )[:, 0]

    def _answered(self, x_t: Tensor, batch: Batch, times: Tensor) -> Tensor:
        maps = batch["place"][:, :, None, None].expand(-1, -1, *x_t.shape[-2:])
        answer: Tensor = self.players["net"](torch.cat([x_t, batch["nac"], maps], dim=1), times.to(x_t.device))
        return answer
