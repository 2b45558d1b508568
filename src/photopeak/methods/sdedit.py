"""SDEdit: noise on a CT slice until CT and PET look alike, taken off by a diffusion that knows PET (Meng et al., 2022).

ICLR 2022. The method was made for sketches in the colours of the picture; a CT in the range of PET is a poor sketch,
as the benchmark of CPDM shows. Other than in the paper, the way back is DDIM's, without fresh noise, and its estimates
stay in the range of PET. No pair is ever seen.
"""

from collections.abc import Mapping
from copy import copy
from typing import Any, Self

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.diffusion.samplers import sample_guided, times_from
from photopeak.learn.learned import Batch
from photopeak.methods.slice_method import middle
from photopeak.methods.slice_prior import PriorPet


class SDEdit(PriorPet):
    """A prior of PET that starts half-way from a CT. Samples differ in the noise.

    Its arguments are those of PriorPet; `uses_prior` takes the prior of a trained DDIB.
    """

    name = "sdedit"
    steps = 25
    strength, repeats = 0.5, 3

    def check_steps(self, steps: int) -> None:
        self._times(steps)

    def using(
        self,
        *,
        steps: int | None = None,
        samples: int = 1,
        seed: int = 0,
        tv: float = 0.0,
        strength: float = 0.5,
        repeats: int = 3,
    ) -> Self:
        """Settings of use.

        Parameters
        ----------
        steps : network evaluations of each repeat.
        samples, seed, tv : as for PetSlices.
        strength : share of T up to which noise is put on (t_0); 0.5 as published, more forgets more of the CT.
        repeats : times that noise is put on and taken off (K); 3 as published.
        """
        if not 0 < strength <= 1 or repeats < 1:
            raise BadArgument(
                f"strength={strength:g}, repeats={repeats}",
                needed="more than 0 and at most 1, at least 1",
                remedy="0.5 and 3 are the published ones.",
            )
        other = copy(self)
        other.strength, other.repeats = strength, repeats
        return super(SDEdit, other).using(steps=steps, samples=samples, seed=seed, tv=tv)

    def settings(self) -> Mapping[str, Any]:
        return {**super().settings(), "strength": self.strength, "repeats": self.repeats}

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        """Algorithm 2 of the paper, K times."""
        low, high = self.feed.clip
        times, prior = self._times(self.steps), self.prior("pet").estimates(condition["place"])
        image = middle(condition["given"])
        for _ in range(self.repeats):
            noise = torch.randn(image.shape, generator=generator).to(image)
            start = self.diffusion.at(image, torch.full((len(image),), times[0]), noise)
            image = sample_guided(
                lambda x_t, time, _: prior(x_t, time),
                [start],
                self.diffusion,
                times=times,
                update=lambda x0, _: x0.clamp(low, high),
            )
        return image[:, 0]

    def _times(self, steps: int) -> list[int]:
        return times_from(self.diffusion, steps, max(1, round(self.strength * self.diffusion.steps)) - 1)
