"""DDIB: from CT to the noise that it would come from, and from that noise to PET (Su et al., ICLR 2023).

Two diffusions that never saw a pair: one knows CT slices, the other PET slices. DDIM without noise takes a slice of the
one to the normal distribution that both share, and from there to a slice of the other. Nothing is clipped on the way,
or the way would not lead back. Both are trained in the same turns, which makes a step as dear as two.
"""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.diffusion.inversion import invert_ddim
from photopeak.diffusion.samplers import sample_ddim
from photopeak.learn.learned import Batch
from photopeak.methods.slice_method import middle
from photopeak.methods.slice_prior import PriorPet


class DDIB(PriorPet):
    """The dual implicit bridge. It has no chance in it: all samples are alike.

    Its arguments are those of PriorPet.
    """

    name = "ddib"
    knows = ("ct", "pet")
    steps = 50
    rounds = 1

    def check_steps(self, steps: int) -> None:
        self.diffusion.times(steps)

    def using(
        self, *, steps: int | None = None, samples: int = 1, seed: int = 0, tv: float = 0.0, rounds: int = 1
    ) -> Self:
        """Settings of use.

        Parameters
        ----------
        steps : times visited there, and as many on the way back.
        samples, seed, tv : as for PetSlices.
        rounds : evaluations for each step to noise, see `invert_ddim`; the paper's is 1.
        """
        if rounds < 1:
            raise BadArgument(f"rounds={rounds}", needed="at least 1", remedy="4 make the way there an exact inverse.")
        other = super().using(steps=steps, samples=samples, seed=seed, tv=tv)
        other.rounds = rounds
        return other

    def settings(self) -> Mapping[str, Any]:
        return {**super().settings(), "rounds": self.rounds}

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        """The Algorithm of section 3.1: encode with the CT's diffusion, decode with the PET's."""
        there, back = (prior.estimates(condition["place"]) for prior in map(self.prior, self.knows))
        given = middle(condition["given"])
        noise = invert_ddim(there, given, self.diffusion, steps=self.steps, rounds=self.rounds)
        return sample_ddim(back, noise, self.diffusion, steps=self.steps, generator=generator)[:, 0]
