"""Palette: a diffusion from noise to the slices wanted that sees those given (Saharia et al., SIGGRAPH 2022).

The condition is concatenated to x_t, the loss is the squared error of the noise. Other than in the paper: one schedule
(DDPM's, T = 1000) for training and use instead of two, and use with DDIM. The estimate of the image is clipped, as
there: at the first steps an error of the noise is amplified more than a hundredfold.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.diffusion.gaussian import GaussianDiffusion, Schedule
from photopeak.diffusion.samplers import sample_ddim
from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartSlices
from photopeak.methods.pet_slices import SampledPet
from photopeak.methods.slice_method import SampledSlices, in_chunks, with_place
from photopeak.nets.unet import slice_unet

Prediction = Literal["noise", "image"]


class PaletteSlices(SampledSlices):
    """Conditional DDPM.

    Parameters
    ----------
    feed, domain : of the domain.
    channels, fold : of the U-Net: its levels' channels, and the blocks of pixels that it works on.
    diffusion_steps, schedule : T and the noise schedule.
    predicts : what the network answers, "noise" as in the paper, or "image".
    clip : range of the image in the network's scale; that of the feed unless given.
    """

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
        clip: tuple[float, float] | None = None,
        **domain: Any,
    ) -> None:
        super().__init__(feed, **domain)
        self.require_multiple(fold * 2 ** (len(channels) - 1), "the levels of the U-Net")
        self.predicts, self.clip = predicts, clip or self.feed.clip
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
            "clip": list(self.clip),
        }
        self.diffusion = GaussianDiffusion(diffusion_steps, schedule)
        self.players["net"] = slice_unet(1 + self.channels_shown + self.feed.places, 1, channels, fold=fold)

    def check_steps(self, steps: int) -> None:
        self.diffusion.times(steps)

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Squared error of the noise, or of the image, at a random time."""
        x0 = batch["target"]
        times = torch.randint(self.diffusion.steps, (len(x0),), generator=generator)
        noise = torch.randn(x0.shape, generator=generator).to(x0)
        x_t = self.diffusion.at(x0, times, noise)
        answered = self._answered(x_t, self.shown(batch), batch["place"], times)
        yield "net", F.mse_loss(answered, noise if self.predicts == "noise" else x0)

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        shown, (low, high) = self.shown(condition), self.clip

        def estimate(x_t: Tensor, time: int) -> Tensor:
            def network(part: Batch) -> Tensor:
                times = torch.full((len(part["x_t"]),), time)
                return self._answered(part["x_t"], part["shown"], part["place"], times)

            answered = in_chunks(network, {"shown": shown, "place": condition["place"], "x_t": x_t})
            return self.diffusion.clean(x_t, answered, time) if self.predicts == "noise" else answered

        start = torch.randn((len(shown), 1, *shown.shape[-2:]), generator=generator).to(shown)
        return sample_ddim(
            estimate,
            start,
            self.diffusion,
            steps=self.steps,
            generator=generator,
            update=lambda x0: x0.clamp(low, high),
        )[:, 0]

    def _answered(self, x_t: Tensor, shown: Tensor, place: Tensor, times: Tensor) -> Tensor:
        seen = with_place(torch.cat([x_t, shown], dim=1), place)
        answer: Tensor = self.players["net"](seen, times.to(x_t.device))
        return answer


class Palette(PaletteSlices, HeartSlices):
    """From noise to AC slices."""

    name = "palette"


class PalettePet(PaletteSlices, SampledPet):
    """From noise to PET slices."""

    name = "palette_pet"
