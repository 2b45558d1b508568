"""UP-GAN: networks in a row, each of which sees where the one before it was unsure (Upadhyay et al., MICCAI 2021).

arXiv 2106.15542. Every generator answers with a generalised Gaussian for each pixel, and is judged by its likelihood,
by the absolute error of its mean and by a critic of least squares; the later ones rely more on the likelihood.

Readings and differences: a later generator sees the CT, the answer before it, and its scale and shape; the generators
learn side by side, each from the detached answer of the one before it, where the paper trains one after the other;
alpha and beta are bound by the network and not clamped in the loss; the U-Nets are small.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.core import Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.learn.learned import Batch
from photopeak.methods.pet_slices import PetSlices
from photopeak.methods.slice_method import in_chunks, with_place
from photopeak.nets.patch_critic import PatchCritic
from photopeak.nets.spread_unet import Spread, SpreadUNet
from photopeak.recon.tv import tv_update

PHASES = ((1.0, 1e-4), (0.5, 1e-3), (0.1, 1e-2))
"""Weights of the absolute error and of the likelihood, for each generator."""


class UPGAN(PetSlices):
    """The cascade; "pet" is the mean of the last generator, and "pet_sd" its own standard deviation.

    Parameters
    ----------
    feed, maps, attention : as for PetSlices.
    channels, fold : of each generator's U-Net, as for `slice_unet`.
    critic_width, critic_layers : of each critic.
    phases : weights of the absolute error and of the likelihood, a pair for each generator.
    adversarial : weight of what the critic says.
    """

    name = "upgan"
    betas = (0.5, 0.999)

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        maps: Sequence[str] = (),
        attention: Mapping[str, Any] | None = None,
        channels: Sequence[int] = (16, 32, 48),
        fold: int = 2,
        critic_width: int = 16,
        critic_layers: int = 3,
        phases: Sequence[Sequence[float]] = PHASES,
        adversarial: float = 1e-3,
    ) -> None:
        super().__init__(feed, maps=maps, attention=attention)
        if not phases or any(len(pair) != 2 or min(pair) < 0 for pair in phases):
            raise BadArgument(
                f"phases {phases}", needed="two weights for each of one or more generators", remedy=f"As {PHASES}."
            )
        self.require_multiple(fold * 2 ** (len(channels) - 1), "the levels of the U-Net")
        self.arguments |= {
            "channels": list(channels),
            "fold": fold,
            "critic_width": critic_width,
            "critic_layers": critic_layers,
            "phases": [list(pair) for pair in phases],
            "adversarial": adversarial,
        }
        self.phases, self.adversarial = tuple((l1, nll) for l1, nll in phases), adversarial
        for number in range(len(phases)):
            inputs = self.channels_shown + self.feed.places + (3 if number else 0)
            self.players[f"generator{number}"] = SpreadUNet(inputs, channels=channels, fold=fold)
            self.players[f"critic{number}"] = PatchCritic(
                1, width=critic_width, layers=critic_layers, game="least_squares"
            )

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Equation 2, of every generator in its turn."""
        target, before = batch["target"], None
        for number, (l1, likelihood) in enumerate(self.phases):
            critic: Any = self.players[f"critic{number}"]
            spread = self._improved(number, batch, before)
            yield f"critic{number}", critic.told_apart(target, spread.mean)
            loss = l1 * F.l1_loss(spread.mean, target) + likelihood * spread.surprise(target).mean()
            yield f"generator{number}", loss + self.adversarial * critic.fooled(spread.mean)
            before = Spread(spread.mean.detach(), spread.alpha.detach(), spread.beta.detach())

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        return in_chunks(lambda part: self._last(part).mean, condition)[:, 0]

    @torch.inference_mode()
    def make(self, study: Study) -> Mapping[str, Volume]:
        self.players.eval()
        volumes = self.volumes(self.prepared(study))
        rows, columns = volumes["given"].shape[1:]
        device = next(self.players.parameters()).device
        condition = {name: value.to(device) for name, value in self.condition(volumes).items()}
        both = in_chunks(self._mean_and_sd, condition)[..., :rows, :columns].to(volumes["given"])
        suv = tv_update(strength=self.tv, axis="z")(self.feed.suv_from_network(both[:, 0]))
        sd, grid = both[:, 1] * self.feed.suv_level / 2, study["ct"].grid
        return {"pet": self.on_ct(suv, grid), "pet_sd": self.on_ct(sd, grid)}

    def _mean_and_sd(self, batch: Batch) -> Tensor:
        spread = self._last(batch)
        return torch.cat([spread.mean, spread.sd], dim=1)

    def _last(self, batch: Batch) -> Spread:
        spread = self._improved(0, batch, None)
        for number in range(1, len(self.phases)):
            spread = self._improved(number, batch, spread)
        return spread

    def _improved(self, number: int, batch: Batch, before: Spread | None) -> Spread:
        """What a generator makes of the CT, and of what the one before it answered (Eq. 4)."""
        seen = self.shown(batch)
        if before is not None:
            seen = torch.cat([seen, before.mean, before.alpha, before.beta], dim=1)
        spread: Spread = self.players[f"generator{number}"](with_place(seen, batch["place"]))
        return spread
