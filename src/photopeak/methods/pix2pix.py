"""Pix2Pix: a conditional GAN with L1 from slice to slice (Isola et al., CVPR 2017, arXiv 1611.07004).

As in the authors' PyTorch code: cross entropy, half the critic's loss, L1 times 100. Slices of 40 pixels reach a
single pixel at depth 6, where the paper's 256 need 8. Nothing clips the answer to the range of a tanh.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartSlices
from photopeak.methods.pet_slices import PetSlices
from photopeak.methods.slice_method import SliceMethod, in_chunks, with_place
from photopeak.nets.patch_critic import PatchCritic
from photopeak.nets.unet256 import UNet256


class Pix2PixSlices(SliceMethod):
    """Slices that match the measured ones (L1) and that a critic, who also sees what was given, takes for measured.

    The paper's noise is dropout, on when training. In use one sample is answered without it, and more than one are
    answered with it, each with its own.

    Parameters
    ----------
    feed, domain : of the domain.
    width, depth, dropout : of the U-Net.
    critic_width, critic_layers : of the critic; 3 layers see 70x70 pixels.
    l1 : weight of the mean absolute error (lambda).
    """

    betas = (0.5, 0.999)

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        width: int = 64,
        depth: int = 6,
        dropout: float = 0.5,
        critic_width: int = 64,
        critic_layers: int = 3,
        l1: float = 100.0,
        **domain: Any,
    ) -> None:
        super().__init__(feed, **domain)
        self.arguments |= {
            "width": width,
            "depth": depth,
            "dropout": dropout,
            "critic_width": critic_width,
            "critic_layers": critic_layers,
            "l1": l1,
        }
        self.l1 = l1
        shown = self.channels_shown
        self.generator = UNet256(shown + self.feed.places, 1, width=width, depth=depth, dropout=dropout)
        self.critic = PatchCritic(shown + 1, width=critic_width, layers=critic_layers, game="cross_entropy")
        self.players.update({"critic": self.critic, "generator": self.generator})

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Equations 1, 3 and 4 of the paper."""
        shown, target = self.shown(batch), batch["target"]
        masks = self.generator.masks(shown, generator)
        fake = self.generator(with_place(shown, batch["place"]), masks)
        seen = torch.cat([shown, fake], dim=1)
        yield "critic", self.critic.told_apart(torch.cat([shown, target], dim=1), seen)
        yield "generator", self.critic.fooled(seen) + self.l1 * F.l1_loss(fake, target)

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        masks: Sequence[Tensor] = ()
        if self.samples > 1:
            masks = self.generator.masks(condition["given"], generator)
        names = [f"mask{n}" for n in range(len(masks))]

        def network(part: Batch) -> Tensor:
            seen = with_place(self.shown(part), part["place"])
            fake: Tensor = self.generator(seen, [part[name] for name in names])
            return fake

        return in_chunks(network, {**condition, **dict(zip(names, masks, strict=True))})[:, 0]


class Pix2Pix(Pix2PixSlices, HeartSlices):
    """AC slices from NAC slices."""

    name = "pix2pix"


class Pix2PixPet(Pix2PixSlices, PetSlices):
    """PET slices from CT slices; the critic sees the maps as well."""

    name = "pix2pix_pet"
