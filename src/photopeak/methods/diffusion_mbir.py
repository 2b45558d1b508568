"""DiffusionMBIR: a 2D prior, made three-dimensional by total variation along z and the data (Chung et al., CVPR 2023).

After each denoising of all slices, one step towards the data and towards little variation along z. Other than there:
DDIM steps instead of 2000 of a variance-exploding diffusion; EM in place of the conjugate gradients, since counts are
Poisson; the proximal step of the variation itself in place of one ADMM iteration; and nothing flows from the last slice
to the first.

The network is DiffSPECT-3D's prior, so that one training serves both. What DiffSPECT-3D adds is left out: no start at
the noisy image, no gradient towards it, one noise, a noise of its own for every slice, and strengths that know no dose.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.learn.checkpoint import load_checkpoint
from photopeak.methods.diffspect import DiffSpect
from photopeak.methods.diffspect_settings import Lambdas, Sampling

STRENGTHS: Mapping[str, Sequence[float]] = {"fractions": [1], "dps": [0], "em": [1], "tv": [0.04], "start": [1]}
"""The paper's weight of the variation, in the network's range; the whole EM step, where it takes the data as they are.
"""
LEFT_OUT: Mapping[str, Any] = {"prior": False, "dps": False, "noises": 1, "balance": False}


class DiffusionMbir(DiffSpect):
    """Reconstruct with a prior of slices.

    Parameters
    ----------
    feed, others : as for DiffSpect.
    ct : condition on the attenuation map; the paper's prior has no condition.
    lambdas : columns of `Lambdas`; `STRENGTHS` unless given.
    """

    name = "diffusion_mbir"

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        ct: bool = False,
        lambdas: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        super().__init__(feed, ct=ct, lambdas=lambdas or STRENGTHS, **others)
        self.sampling = Sampling(every=1, **LEFT_OUT)

    @classmethod
    def restored(cls, path: Path) -> Self:
        """As for every method; weights of DiffSPECT-3D's prior are taken too."""
        if load_checkpoint(path)[1].get("method") != DiffSpect.name:
            return super().restored(path)
        prior = DiffSpect.restored(path)
        method = cls(**{**prior.arguments, "lambdas": None})
        method.use_weights(prior.players.state_dict())
        method.card = prior.card
        return method

    def using(
        self,
        *,
        samples: int = 1,
        seed: int = 0,
        fraction: float | None = None,
        scatter: str | None = None,
        lambdas: Lambdas | Literal["printed"] | None = None,
        steps: int = 25,
        every: int = 1,
        sees_map: bool = True,
        chunk: int = 10,
        **others: Any,
    ) -> Self:
        """This method, same weights, with other settings of use; they mean what they do for DiffSpect.

        Raises
        ------
        BadArgument : settings of what DiffSPECT-3D adds.
        """
        if others:
            raise BadArgument(
                f"{', '.join(others)} of {self.name}", needed="what it has", remedy='That is in "diffspect".'
            )
        return super().using(
            samples=samples,
            seed=seed,
            fraction=fraction,
            scatter=scatter,
            lambdas=lambdas,
            steps=steps,
            every=every,
            sees_map=sees_map,
            chunk=chunk,
            **LEFT_OUT,
        )

    def _start(self, given: Tensor, time: int, generator: torch.Generator) -> Tensor:
        """Noise alone, other noise in every slice."""
        return torch.randn(given.shape, generator=generator).to(given)
