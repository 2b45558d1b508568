"""RegGAN: a GAN whose answer is registered to a shifted target (Kong et al., NeurIPS 2021, arXiv 2110.06465).

The published "NC+R" setting: an unconditional critic, a registration network that learns with the generator, and no
cycle. The authors' random affine transforms, which make a misregistration of their own, are left out: NAC and AC of a
cohort have the one they have.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartSlices
from photopeak.methods.slice_method import in_chunks, with_place
from photopeak.nets.patch_critic import PatchCritic
from photopeak.nets.registration import Registration, roughness, warp
from photopeak.nets.resnet_generator import ResNetGenerator


class RegGAN(HeartSlices):
    """A generator trained through a registration, which is not needed in use.

    Parameters
    ----------
    feed : arguments of SliceFeed.
    width, blocks : of the generator.
    critic_width, critic_layers : of the critic, which gives one score a slice.
    registration : channels of the registration network's levels.
    correction : weight of the mean absolute error of the warped answer.
    smooth : weight of the flow's mean squared gradient.
    """

    name = "reggan"
    betas = (0.5, 0.999)

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        width: int = 64,
        blocks: int = 9,
        critic_width: int = 64,
        critic_layers: int = 3,
        registration: Sequence[int] = (32, 64, 64, 64),
        correction: float = 20.0,
        smooth: float = 10.0,
    ) -> None:
        super().__init__(feed)
        self.arguments |= {
            "width": width,
            "blocks": blocks,
            "critic_width": critic_width,
            "critic_layers": critic_layers,
            "registration": list(registration),
            "correction": correction,
            "smooth": smooth,
        }
        self.correction, self.smooth = correction, smooth
        inputs = self.feed.context + self.feed.places
        self.translate = ResNetGenerator(inputs, 1, width=width, blocks=blocks)
        self.register = Registration(channels=registration)
        self.critic = PatchCritic(1, width=critic_width, layers=critic_layers, game="least_squares", pooled=True)
        together = nn.ModuleDict({"translate": self.translate, "register": self.register})
        self.players = nn.ModuleDict({"critic": self.critic, "generator": together})

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Adversarial, correction and smoothness loss of the paper; generator and registration lower the same sum."""
        ac = batch["target"]
        fake = self.translate(with_place(batch["given"], batch["place"]))
        yield "critic", self.critic.told_apart(ac, fake)
        flow = self.register(fake, ac)
        error = F.l1_loss(warp(fake, flow), ac)
        yield "generator", self.critic.fooled(fake) + self.correction * error + self.smooth * roughness(flow)

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        return in_chunks(lambda part: self.translate(with_place(part["given"], part["place"])), condition)[:, 0]
