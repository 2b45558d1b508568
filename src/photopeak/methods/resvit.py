"""ResViT: residual vision transformer as a conditional GAN's generator (Dalmaz et al., IEEE TMI 41, 2022).

Losses as in its public settings: least-squares GAN 1, L1 100; the critic sees the NAC slices beside the AC slice.
Differences: one stage of training instead of two (see `nets.resvit.Tokens`), and a transformer without ImageNet
weights. The paper's source-reconstruction loss is for its many-to-many model and has no place in NAC to AC.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn

from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartSlices
from photopeak.methods.slice_method import in_chunks, with_place
from photopeak.nets.resvit import ResViT as Generator


class ResViT(HeartSlices):
    """AC slices straight from NAC slices, judged patch by patch.

    Parameters
    ----------
    feed : arguments of SliceFeed.
    channels, blocks, attending, shrink, width, layers, heads : of `nets.resvit.ResViT`. The paper's are the defaults
        but for shrink, 2 there: with slices of 40 pixels the bottleneck's 10 pixels can be halved only once.
    critic_channels, critic_layers : first layer's channels and strides of 2 of the PatchGAN; the paper's are 64 and 3.
    l1_weight : of L1, beside 1 of the critic.
    """

    name = "resvit"
    betas = (0.5, 0.999)

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: int = 64,
        blocks: int = 9,
        attending: Sequence[int] = (1, 6),
        shrink: int = 1,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        critic_channels: int = 64,
        critic_layers: int = 3,
        l1_weight: float = 100.0,
    ) -> None:
        super().__init__(feed)
        network = {
            "channels": channels,
            "blocks": blocks,
            "attending": list(attending),
            "shrink": shrink,
            "width": width,
            "layers": layers,
            "heads": heads,
        }
        critic = {"critic_channels": critic_channels, "critic_layers": critic_layers, "l1_weight": l1_weight}
        self.arguments |= {**network, **critic}
        self.l1_weight = l1_weight
        context, places = self.feed.context, self.feed.places
        arguments: dict[str, Any] = network
        self.players = nn.ModuleDict(
            {
                "critic": PatchDiscriminator(
                    spatial_dims=2,
                    channels=critic_channels,
                    in_channels=context + 1,
                    num_layers_d=critic_layers,
                    norm=("INSTANCE", {"affine": True}),
                ),
                "generator": Generator(context + places, 1, size=self.feed.size, **arguments),
            }
        )

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        nac, ac = batch["given"], batch["target"]
        fake = self._translated(batch)
        real_verdict, fake_verdict = self._verdict(nac, ac), self._verdict(nac, fake.detach())
        yield "critic", 0.5 * ((real_verdict - 1).square().mean() + fake_verdict.square().mean())
        fooled = (self._verdict(nac, fake) - 1).square().mean()
        yield "generator", fooled + self.l1_weight * F.l1_loss(fake, ac)

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        return in_chunks(self._translated, condition)[:, 0]

    def _translated(self, batch: Batch) -> Tensor:
        answer: Tensor = self.players["generator"](with_place(batch["given"], batch["place"]))
        return answer

    def _verdict(self, nac: Tensor, ac: Tensor) -> Tensor:
        verdict: Tensor = self.players["critic"](torch.cat([nac, ac], dim=1))[-1]
        return verdict
