"""DiffSPECT-3D: one diffusion prior of full-dose images for every dose and every number of views.

The prior draws transaxial slices from the whole attenuation map and is trained on full-dose labels alone (Algorithm 1).
Sampling (Algorithm 2) starts from the noisy image and keeps to it by a gradient, to the counts by EM, and to
neighbouring slices by total variation along z. Where the paper is in doubt, `using` says which reading is taken.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.diffusion.gaussian import GaussianDiffusion, Schedule
from photopeak.diffusion.learned_variance import variance_loss
from photopeak.diffusion.samplers import sample_guided, times_from
from photopeak.learn.feed import from_network, to_network
from photopeak.learn.learned import Batch
from photopeak.methods.diffspect_settings import Lambdas, Sampling
from photopeak.methods.measured import Scan
from photopeak.methods.volume_slices import VolumeSlices
from photopeak.nets.placed_unet import PlacedUNet
from photopeak.recon.tv import tv_update

Prediction = Literal["noise", "image", "velocity"]

VARIANCE_WEIGHT = 1e-3


class DiffSpect(VolumeSlices):
    """The prior, and the sampler that makes an image of it and of data.

    Parameters
    ----------
    feed, iterations : as for VolumeSlices.
    channels, fold : of the U-Net.
    diffusion_steps, schedule : T and the noise schedule.
    predicts : what the network answers: "noise" as in the paper, "image", or "velocity" (Salimans and Ho, ICLR 2022).
    ct : condition on the attenuation map.
    mu_dropout : share of training slices whose map is 0, so that one prior also works without it.
    learned_variance : a second output, the reverse variance; deterministic sampling makes no use of it.
    lambdas : columns of `Lambdas`, with those of its `views` under that name; the paper's fits unless given.
    """

    name = "diffspect"

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        iterations: int = 50,
        channels: Sequence[int] = (32, 64, 96),
        fold: int = 2,
        diffusion_steps: int = 1000,
        schedule: Schedule = "linear",
        predicts: Prediction = "noise",
        ct: bool = True,
        mu_dropout: float = 0.0,
        learned_variance: bool = False,
        lambdas: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(feed, iterations=iterations)
        if predicts not in ("noise", "image", "velocity") or not 0 <= mu_dropout <= ct:
            raise BadArgument(
                f"predicts={predicts!r}, mu_dropout={mu_dropout}, ct={ct}",
                needed='"noise", "image" or "velocity", and a share of 0 to 1 of maps, if there are maps',
                remedy='The paper predicts "noise" and drops nothing.',
            )
        self.diffusion = GaussianDiffusion(diffusion_steps, schedule)
        self.lambdas = Lambdas.of(lambdas) if lambdas else Lambdas.printed()
        self.predicts, self.ct, self.mu_dropout = predicts, ct, mu_dropout
        self.arguments |= {
            "channels": list(channels),
            "fold": fold,
            "diffusion_steps": diffusion_steps,
            "schedule": schedule,
            "predicts": predicts,
            "ct": ct,
            "mu_dropout": mu_dropout,
            "learned_variance": learned_variance,
            "lambdas": self.lambdas.to_dict() if lambdas else None,
        }
        seen, outputs = (self.feed.depth if ct else 0), (2 if learned_variance else 1)
        net = PlacedUNet(1 + seen, outputs, depth=self.feed.depth, channels=channels, fold=fold)
        self.players["net"] = net
        self.sampling = Sampling()

    def using(
        self,
        *,
        samples: int = 1,
        seed: int = 0,
        fraction: float | None = None,
        scatter: str | None = None,
        lambdas: Lambdas | Literal["printed"] | None = None,
        steps: int = 5,
        prior: bool = True,
        dps: bool = True,
        tv: bool = True,
        em: bool = True,
        every: int = 1,
        noises: int = 0,
        renew: bool = False,
        normalised: bool = False,
        balance: bool = True,
        sees_map: bool = True,
        chunk: int = 10,
    ) -> Self:
        """This method, same weights, with other settings of use.

        Parameters
        ----------
        samples, seed, fraction, scatter : as for VolumeSlices; each sample starts from at least one noise.
        lambdas : strengths by count fraction, "printed" for the paper's fits; those of the weights unless given.
        others : as for Sampling.
        """
        other = super().using(samples=samples, seed=seed, fraction=fraction, scatter=scatter)
        other.lambdas = Lambdas.printed() if lambdas == "printed" else lambdas or self.lambdas
        other.sampling = Sampling(
            steps=steps,
            prior=prior,
            dps=dps,
            tv=tv,
            em=em,
            every=every,
            noises=noises,
            renew=renew,
            normalised=normalised,
            balance=balance,
            sees_map=sees_map,
            chunk=chunk,
        )
        return other

    def settings(self) -> Mapping[str, Any]:
        used = self.fraction_used
        strengths = self.lambdas.to_dict() if used is None else self.lambdas.at(used, self.views_used)
        return {**super().settings(), **asdict(self.sampling), "lambdas": strengths}

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Squared error of what is predicted, at a random time (Algorithm 1)."""
        x0, condition = batch["ac"], dict(batch)
        times = torch.randint(self.diffusion.steps, (len(x0),), generator=generator)
        noise = torch.randn(x0.shape, generator=generator).to(x0)
        if self.mu_dropout:
            kept = torch.rand(len(x0), generator=generator) >= self.mu_dropout
            condition["mu"] = condition["mu"] * kept[:, None, None, None].to(x0)
        x_t = self.diffusion.at(x0, times, noise)
        answer = self._answer(x_t, condition, times)
        loss = F.mse_loss(answer[:, :1], self._target(x0, noise, times))
        if answer.shape[1] > 1:
            estimate = self._clean(x_t, answer[:, :1].detach(), times)
            loss = loss + VARIANCE_WEIGHT * variance_loss(self.diffusion, x0, estimate, answer[:, 1:], times)
        yield "net", loss

    @property
    def evaluations(self) -> int:
        """How often all slices of a volume pass the network for one answer."""
        how = self.sampling
        if self.samples == 1 or how.noises:
            return self.samples * (how.steps + max(how.noises, 1) - 1)
        return (self.samples + 1) * how.steps

    def answered(self, scan: Scan, generator: torch.Generator) -> Tensor:
        """Algorithm 2, for all slices of a volume together."""
        return self._walked(scan, generator, noises=self.sampling.noises or int(self.samples > 1))

    def centre(self, scan: Scan, images: Tensor) -> Tensor:
        """The walk without noise, if that is how it starts; samples need noise and err more, and so does their mean."""
        if self.sampling.noises or len(images) == 1:
            return super().centre(scan, images)
        return scan.image(self._walked(scan, stream(self.seed, 0), noises=0))

    def _walked(self, scan: Scan, generator: torch.Generator, *, noises: int) -> Tensor:
        how, strengths = self.sampling, self.lambdas.at(scan.fraction, scan.views)
        feed, device = self.feed, next(self.players["net"].parameters()).device
        seen = {name: value.to(device) for name, value in scan.seen().items()}
        seen["mu"] = seen["mu"] * how.sees_map
        given = to_network(feed.padded(seen["given"]))[:, None]
        last = self.diffusion.steps - 1
        start = max(round(strengths["start"] * last), how.steps - 1) if how.prior else last
        times = times_from(self.diffusion, how.steps, start)
        starts = [self._start(given, start, generator) for _ in range(noises)]

        def estimate(x_t: Tensor, time: int, part: slice) -> Tensor:
            numbers = range(feed.depth)[part]
            now = torch.full((len(x_t),), time)
            return self._clean(x_t, self._answer(x_t, self.condition(seen, numbers), now)[:, :1], now)

        def distance(x0: Tensor, part: slice) -> Tensor:
            squared = (given[part] - x0).square()
            return squared.sum((1, 2, 3)).sqrt().sum() if how.normalised else squared.sum()

        image = sample_guided(
            estimate,
            starts or [float(self.diffusion.abar[start]) ** 0.5 * given],
            self.diffusion,
            times=times,
            update=lambda x0, left: self._consistent(x0, left, scan, strengths),
            guidance=distance,
            weight=strengths["dps"] if how.dps else 0.0,
            renew=how.renew,
            chunk=how.chunk,
        )
        ratio = self._ratio(image)
        return scan.balanced(ratio) if how.em and how.balance else ratio

    def condition(self, seen: Mapping[str, Tensor], numbers: Sequence[int]) -> Batch:
        """The number of each slice, and with `ct` the whole map, weighted."""
        return super().condition(seen, numbers) if self.ct else {"number": torch.tensor(numbers)}

    def _start(self, given: Tensor, time: int, generator: torch.Generator) -> Tensor:
        """x at `time`: one noise for all slices, over the noisy image or, without the denoising prior, alone."""
        noise = torch.randn((1, *given.shape[1:]), generator=generator).to(given).expand_as(given)
        return self.diffusion.at(given, torch.full((len(given),), time), noise) if self.sampling.prior else noise

    def _consistent(self, x0: Tensor, left: int, scan: Scan, strengths: Mapping[str, float]) -> Tensor:
        """EM when it is due, then total variation along z (Eq. 12 and 9), in the network's range."""
        ratio, share = self._ratio(x0), strengths["em"]
        if self.sampling.em_due(left):
            ratio = (1 - share) * ratio + share * scan.consistent(ratio)
        better = to_network(ratio)
        if self.sampling.tv:
            better = tv_update(strength=strengths["tv"], axis="z")(better)
        return to_network(self.feed.padded(from_network(better)))[:, None]

    def _ratio(self, x0: Tensor) -> Tensor:
        """The image [z, y, x] over level of slices [slice, 1, row, column]."""
        return from_network(self.feed.cropped(x0[:, 0]).clamp(*self.feed.clip))

    def _answer(self, x_t: Tensor, condition: Batch, times: Tensor) -> Tensor:
        maps = [condition["mu"]] if self.ct else []
        place = [values.to(x_t.device) for values in (times, condition["number"])]
        answer: Tensor = self.players["net"](torch.cat([x_t, *maps], dim=1), *place)
        return answer

    def _target(self, x0: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        if self.predicts == "velocity":
            return self.diffusion.at(noise, times, -x0)
        return noise if self.predicts == "noise" else x0

    def _clean(self, x_t: Tensor, answer: Tensor, times: Tensor) -> Tensor:
        """The estimate of x_0 that an answer stands for."""
        if self.predicts == "image":
            return answer
        abar = self.diffusion.abar[times].reshape(-1, 1, 1, 1).to(x_t)
        if self.predicts == "velocity":
            return abar.sqrt() * x_t - (1 - abar).sqrt() * answer
        return (x_t - (1 - abar).sqrt() * answer) / abar.sqrt()
