"""LDM: a diffusion from noise to the latents of PET slices that sees the latents of the CT (Rombach et al., CVPR 2022).

The code is a trained `vqgan_pet`, frozen; the condition is concatenated, as in the paper's translations, and the loss
is the squared error of the noise (Eq. 2). Code, U-Net and sight of the CT are those of the bridge between latents; only
where a walk starts and how it goes differ. Other than in the paper: latents are scaled to variance 1, the schedule is
DDPM's, the U-Net is small, and it sees neighbour slices and where the slice is.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.diffusion.gaussian import GaussianDiffusion, Schedule
from photopeak.diffusion.samplers import sample_ddim
from photopeak.learn.learned import Batch
from photopeak.methods.bbdm import LatentBridgeSlices
from photopeak.methods.pet_slices import SampledPet
from photopeak.methods.slice_method import in_chunks
from photopeak.methods.slice_prior import Prediction


class LDM(LatentBridgeSlices, SampledPet):
    """Latent diffusion from noise to PET, with none, one or both maps. Samples differ in the noise they start from.

    Parameters
    ----------
    feed, maps, attention : as for PetSlices.
    code : arguments of Code, those of the VQGAN that `uses_code` takes the weights from.
    channels, fold : of the U-Net, as for `slice_unet`.
    diffusion_steps, schedule : T and the noise schedule.
    predicts : what the network answers, "noise" as in the paper, or "image", which is the latent.
    """

    name = "ldm"
    steps = 50

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        maps: Sequence[str] = (),
        attention: Mapping[str, Any] | None = None,
        code: Mapping[str, Any] | None = None,
        channels: Sequence[int] = (64, 96),
        fold: int = 1,
        diffusion_steps: int = 1000,
        schedule: Schedule = "linear",
        predicts: Prediction = "noise",
    ) -> None:
        super().__init__(feed, maps=maps, attention=attention, code=code, channels=channels, fold=fold)
        if predicts not in ("noise", "image"):
            raise BadArgument(
                f"predicts={predicts!r}", needed='"noise" or "image"', remedy='The paper predicts "noise".'
            )
        for name in ("bridge_steps", "variance"):
            del self.arguments[name]
        self.arguments |= {"diffusion_steps": diffusion_steps, "schedule": schedule, "predicts": predicts}
        self.diffusion, self.predicts = GaussianDiffusion(diffusion_steps, schedule), predicts

    def check_steps(self, steps: int) -> None:
        self.diffusion.times(steps)

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        z0 = self.encoded(batch["target"])
        times = torch.randint(self.diffusion.steps, (len(z0),), generator=generator)
        noise = torch.randn(z0.shape, generator=generator).to(z0)
        answered = self._step(self.diffusion.at(z0, times, noise), self.seen(batch), batch["place"], times)
        yield "net", F.mse_loss(answered, noise if self.predicts == "noise" else z0)

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        known = {"seen": in_chunks(self.seen, condition), "place": condition["place"]}

        def estimate(z_t: Tensor, time: int) -> Tensor:
            def network(part: Batch) -> Tensor:
                return self._step(part["z_t"], part["seen"], part["place"], torch.full((len(part["z_t"]),), time))

            answered = in_chunks(network, {**known, "z_t": z_t})
            return self.diffusion.clean(z_t, answered, time) if self.predicts == "noise" else answered

        count, _, *plane = known["seen"].shape
        start = torch.randn((count, self.image_channels, *plane), generator=generator).to(known["seen"])
        latents = sample_ddim(estimate, start, self.diffusion, steps=self.steps, generator=generator)
        return in_chunks(lambda part: self.decoded(part["latents"]), {"latents": latents})[:, 0]
