"""What slices of one kind look like: an unconditional diffusion, which DDIB and SDEdit translate with.

Ho et al., DDPM, NeurIPS 2020. Unconditional means that it never sees an image of the other kind; where the slice is, it
is told, as every method of ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core.errors import BadArgument
from photopeak.diffusion.gaussian import GaussianDiffusion, Schedule
from photopeak.diffusion.samplers import Estimate
from photopeak.learn.learned import Batch
from photopeak.methods.pet_slices import SampledPet
from photopeak.methods.slice_method import in_chunks, middle, with_place
from photopeak.nets.unet import slice_unet

Prediction = Literal["noise", "image"]


class SlicePrior(nn.Module):
    """A denoiser of slices.

    Parameters
    ----------
    places : numbers that say where a slice is.
    diffusion : whose times it knows.
    channels, fold : of the U-Net, as for `slice_unet`.
    predicts : what the network answers, "noise" as in the paper, or "image".
    """

    def __init__(
        self,
        places: int,
        diffusion: GaussianDiffusion,
        *,
        channels: Sequence[int],
        fold: int = 1,
        predicts: Prediction = "noise",
    ) -> None:
        super().__init__()
        if predicts not in get_args(Prediction):
            raise BadArgument(f"predicts={predicts!r}", needed='"noise" or "image"', remedy='DDPM predicts "noise".')
        self.diffusion, self.predicts = diffusion, predicts
        self.net = slice_unet(1 + places, 1, channels, fold=fold)

    def forward(self, x_t: Tensor, place: Tensor, times: Tensor) -> Tensor:
        """Noise or image [item, 1, row, column] in x_t of that shape, at places [item, number] and times [item]."""
        answer: Tensor = self.net(with_place(x_t, place), times.to(x_t.device))
        return answer

    def loss(self, x0: Tensor, place: Tensor, generator: torch.Generator) -> Tensor:
        """Squared error at a random time for each slice [item, 1, row, column] (DDPM, Eq. 14)."""
        times = torch.randint(self.diffusion.steps, (len(x0),), generator=generator)
        noise = torch.randn(x0.shape, generator=generator).to(x0)
        answer = self(self.diffusion.at(x0, times, noise), place, times)
        return F.mse_loss(answer, noise if self.predicts == "noise" else x0)

    def estimates(self, place: Tensor) -> Estimate:
        """What a sampler asks for, of a stack of slices at these places [item, number]."""

        def estimate(x_t: Tensor, time: int) -> Tensor:
            answer = in_chunks(
                lambda part: self(part["x_t"], part["place"], torch.full((len(part["x_t"]),), time)),
                {"x_t": x_t, "place": place},
            )
            return self.diffusion.clean(x_t, answer, time) if self.predicts == "noise" else answer

        return estimate


class PriorPet(SampledPet):
    """A CT-to-PET method that never sees a pair: it learns what slices of each kind look like, and no more.

    Parameters
    ----------
    feed : arguments of PetFeed.
    channels, fold, predicts : of every network, as for SlicePrior.
    diffusion_steps, schedule : T and the noise schedule.
    """

    knows: tuple[str, ...] = ("pet",)
    """The kinds of slices, "ct" or "pet", that it has a prior of."""

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: Sequence[int] = (32, 64, 96),
        fold: int = 2,
        predicts: Prediction = "noise",
        diffusion_steps: int = 1000,
        schedule: Schedule = "linear",
    ) -> None:
        super().__init__(feed)
        self.require_multiple(fold * 2 ** (len(channels) - 1), "the levels of the U-Net")
        self.arguments = {
            "feed": self.arguments["feed"],
            "channels": list(channels),
            "fold": fold,
            "predicts": predicts,
            "diffusion_steps": diffusion_steps,
            "schedule": schedule,
        }
        self.diffusion = GaussianDiffusion(diffusion_steps, schedule)
        for kind in self.knows:
            self.players[kind] = SlicePrior(
                self.feed.places, self.diffusion, channels=channels, fold=fold, predicts=predicts
            )

    def prior(self, kind: str) -> SlicePrior:
        """What slices of "ct" or "pet" look like, of those that it `knows`."""
        network: Any = self.players[kind]
        return network

    def uses_prior(self, other: "PriorPet") -> None:
        """Take the trained prior of PET slices of another such method, instead of training one."""
        if other.arguments != self.arguments:
            raise BadArgument(
                f"a {other.name} with {other.arguments}",
                needed=f"{self.arguments}",
                remedy="Give both the same arguments.",
            )
        self.prior("pet").load_state_dict(other.prior("pet").state_dict())

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        slices = {"ct": middle(batch["given"]), "pet": batch["target"]}
        for kind in self.knows:
            yield kind, self.prior(kind).loss(slices[kind], batch["place"], generator)
