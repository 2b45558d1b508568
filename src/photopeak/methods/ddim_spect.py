"""DDIM-SPECT: a 2D diffusion from noise to a slice that sees the noisy slice (Gong et al., EJNMMI 2023, for PET).

The noisy slice, and with CT that of the map, are channels beside x_t; the loss is the squared error of the noise. Every
slice has its own noise and knows nothing of its neighbours, which is why its volumes flicker from slice to slice.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core.errors import BadArgument
from photopeak.diffusion.gaussian import GaussianDiffusion, Schedule
from photopeak.diffusion.samplers import sample_guided, times_from
from photopeak.learn.feed import to_network
from photopeak.learn.learned import Batch
from photopeak.methods.measured import Scan
from photopeak.methods.paired import PUBLISHED, Paired
from photopeak.nets.unet import slice_unet

Prediction = Literal["noise", "image"]


class DdimSpect(Paired):
    """Conditional DDIM of slices.

    Parameters
    ----------
    feed, iterations, ct, settings, neighbours : as for Paired; the method of the paper sees no neighbours.
    channels, fold : of the U-Net.
    diffusion_steps, schedule : T and the noise schedule.
    predicts : what the network answers, "noise" as in the paper, or "image".
    """

    name = "ddim_spect"

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        iterations: int = 50,
        ct: bool = True,
        settings: Sequence[str] = PUBLISHED,
        neighbours: int = 0,
        channels: Sequence[int] = (32, 64, 96),
        fold: int = 2,
        diffusion_steps: int = 1000,
        schedule: Schedule = "linear",
        predicts: Prediction = "noise",
    ) -> None:
        super().__init__(feed, iterations=iterations, ct=ct, settings=settings, neighbours=neighbours)
        if predicts not in ("noise", "image"):
            raise BadArgument(
                f"predicts={predicts!r}", needed='"noise" or "image"', remedy='The paper predicts "noise".'
            )
        self.arguments |= {
            "neighbours": neighbours,
            "channels": list(channels),
            "fold": fold,
            "diffusion_steps": diffusion_steps,
            "schedule": schedule,
            "predicts": predicts,
        }
        self.diffusion = GaussianDiffusion(diffusion_steps, schedule)
        self.predicts = predicts
        self.players["net"] = self._network(channels, fold)
        self.steps, self.chunk = min(25, diffusion_steps), 10

    def using(
        self,
        *,
        samples: int = 1,
        seed: int = 0,
        fraction: float | None = None,
        scatter: str | None = None,
        balance: bool = False,
        steps: int = 25,
        chunk: int = 10,
    ) -> Self:
        """This method, same weights, with other settings of use.

        Parameters
        ----------
        samples, seed, fraction, scatter, balance : as for Paired.
        steps : network evaluations of a slice.
        chunk : slices that the network sees at once; bounds memory.
        """
        if chunk < 1:
            raise BadArgument(f"chunk={chunk}", needed="at least 1 slice", remedy="10 is a good number.")
        other = super().using(samples=samples, seed=seed, fraction=fraction, scatter=scatter, balance=balance)
        other.steps, other.chunk = steps, chunk
        times_from(self.diffusion, steps, other._first())
        return other

    def settings(self) -> Mapping[str, Any]:
        return {**super().settings(), "steps": self.steps, "chunk": self.chunk}

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Squared error of the noise, or of the image, at a random time."""
        x0 = batch["ac"]
        times = torch.randint(self.diffusion.steps, (len(x0),), generator=generator)
        noise = torch.randn(x0.shape, generator=generator).to(x0)
        answer = self._answer(self.diffusion.at(x0, times, noise), batch, times)
        yield "net", F.mse_loss(answer, noise if self.predicts == "noise" else x0)

    def improved(self, scan: Scan, generator: torch.Generator) -> Tensor:
        seen, feed = self.seen_of(scan), self.feed
        condition = self.condition(seen, range(feed.depth))
        given = to_network(feed.padded(seen["given"]))[:, None]

        def estimate(x_t: Tensor, time: int, part: slice) -> Tensor:
            mine = {name: value[part] for name, value in condition.items()}
            answer = self._answer(x_t, mine, torch.full((len(x_t),), time))
            return self.diffusion.clean(x_t, answer, time) if self.predicts == "noise" else answer

        image = sample_guided(
            estimate,
            self._starts(given, generator),
            self.diffusion,
            times=times_from(self.diffusion, self.steps, self._first()),
            update=lambda x0, left: x0.clamp(*feed.clip),
            chunk=self.chunk,
        )
        return feed.cropped(image[:, 0])

    def _network(self, channels: Sequence[int], fold: int) -> nn.Module:
        return slice_unet(1 + self.channels_seen, 1, channels, fold=fold)

    def _first(self) -> int:
        """The time that sampling starts at."""
        return self.diffusion.steps - 1

    def _starts(self, given: Tensor, generator: torch.Generator) -> list[Tensor]:
        """x at the first time, of each walk [slice, 1, row, column]."""
        return [torch.randn(given.shape, generator=generator).to(given)]

    def _answer(self, x_t: Tensor, condition: Batch, times: Tensor) -> Tensor:
        answer: Tensor = self.players["net"](torch.cat([x_t, condition["seen"]], dim=1), times.to(x_t.device))
        return answer
