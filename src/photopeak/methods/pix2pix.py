"""Pix2Pix: a conditional GAN with L1 from NAC to AC slices (Isola et al., CVPR 2017, arXiv 1611.07004).

As in the authors' PyTorch code: cross entropy, half the critic's loss, L1 times 100. Slices of 40 pixels reach a
single pixel at depth 6, where the paper's 256 need 8. Nothing clips the answer to the range of a tanh.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartSlices, in_chunks
from photopeak.nets.patch_critic import PatchCritic
from photopeak.nets.unet256 import UNet256


class Pix2Pix(HeartSlices):
    """AC slices that match the measured ones (L1) and that a critic, who also sees NAC, takes for measured.

    The paper's noise is dropout, on when training. In use one sample is answered without it, and more than one are
    answered with it, each with its own.

    Parameters
    ----------
    feed : arguments of SliceFeed.
    width, depth, dropout : of the U-Net.
    critic_width, critic_layers : of the critic; 3 layers see 70x70 pixels.
    l1 : weight of the mean absolute error (lambda).
    """

    name = "pix2pix"
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
    ) -> None:
        super().__init__(feed)
        self.arguments |= {
            "width": width,
            "depth": depth,
            "dropout": dropout,
            "critic_width": critic_width,
            "critic_layers": critic_layers,
            "l1": l1,
        }
        self.l1 = l1
        inputs = self.feed.context + self.feed.place("sa").shape[1]
        self.generator = UNet256(inputs, 1, width=width, depth=depth, dropout=dropout)
        self.critic = PatchCritic(self.feed.context + 1, width=critic_width, layers=critic_layers, game="cross_entropy")
        self.players = nn.ModuleDict({"critic": self.critic, "generator": self.generator})

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Equations 1, 3 and 4 of the paper."""
        nac, ac = batch["nac"], batch["ac"]
        masks = self.generator.masks(nac, generator)
        fake = self.generator(with_place(nac, batch["place"]), masks)
        seen = torch.cat([nac, fake], dim=1)
        yield "critic", self.critic.told_apart(torch.cat([nac, ac], dim=1), seen)
        yield "generator", self.critic.fooled(seen) + self.l1 * F.l1_loss(fake, ac)

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        nac = condition["nac"]
        masks: Sequence[Tensor] = ()
        if self.samples > 1:
            masks = self.generator.masks(nac, generator)
        names = [f"mask{n}" for n in range(len(masks))]

        def network(part: Batch) -> Tensor:
            fake: Tensor = self.generator(with_place(part["nac"], part["place"]), [part[name] for name in names])
            return fake

        return in_chunks(network, {**condition, **dict(zip(names, masks, strict=True))})[:, 0]


def with_place(image: Tensor, place: Tensor) -> Tensor:
    """Images [item, channel, row, column] with their place [item, 4] as four more constant channels."""
    return torch.cat([image, place[:, :, None, None].expand(-1, -1, *image.shape[-2:])], dim=1)
