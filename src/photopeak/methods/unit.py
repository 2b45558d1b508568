"""UNIT: unpaired translation through a latent space that NAC and AC share (Liu et al., NeurIPS 30, 2017).

Losses as in its public settings: GAN 1, reconstruction 10, cycle 10, KL of both encodings 0.01. The perceptual loss on
VGG is off (a choice of those settings), and so is Adam's weight decay of 1e-4, which the training loop does not have.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core.errors import BadArgument
from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartSlices
from photopeak.methods.slice_method import in_chunks
from photopeak.nets.unit_vae import ScaledCritics, SharedLatentVAE

OTHER = {"nac": "ac", "ac": "nac"}


class UNIT(HeartSlices):
    """Learns from NAC slices of some patients and AC slices of others; no loss knows which belong together.

    The domain "nac" is a slice with its neighbours, "ac" a slice. Answers are of the latent mean, without noise.

    Parameters
    ----------
    feed : arguments of SliceFeed; the paper's slices have no neighbours.
    channels, strides, blocks, shared : of SharedLatentVAE.
    critic_channels, critic_layers, critic_scales : of ScaledCritics; the paper's 4 layers and 3 scales need 192 pixels.
    gan_weight, reconstruction_weight, cycle_weight, kl_weight, cycle_kl_weight : lambda of each loss.
    """

    name = "unit"
    betas = (0.5, 0.999)

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: int = 64,
        strides: int = 2,
        blocks: int = 4,
        shared: int = 1,
        critic_channels: int = 64,
        critic_layers: int = 2,
        critic_scales: int = 2,
        gan_weight: float = 1.0,
        reconstruction_weight: float = 10.0,
        cycle_weight: float = 10.0,
        kl_weight: float = 0.01,
        cycle_kl_weight: float = 0.01,
    ) -> None:
        super().__init__(feed)
        weights = {
            "gan_weight": gan_weight,
            "reconstruction_weight": reconstruction_weight,
            "cycle_weight": cycle_weight,
            "kl_weight": kl_weight,
            "cycle_kl_weight": cycle_kl_weight,
        }
        vae = {"channels": channels, "strides": strides, "blocks": blocks, "shared": shared}
        critics = {
            "critic_channels": critic_channels,
            "critic_layers": critic_layers,
            "critic_scales": critic_scales,
        }
        self.arguments |= {**vae, **critics, **weights}
        self.weights = weights
        self._check_size(strides, ScaledCritics.least_side(critic_layers, critic_scales))
        images = {"nac": self.feed.context, "ac": 1}
        self.players = nn.ModuleDict(
            {
                "critic": nn.ModuleDict(
                    {
                        domain: ScaledCritics(n, channels=critic_channels, layers=critic_layers, scales=critic_scales)
                        for domain, n in images.items()
                    }
                ),
                "generator": SharedLatentVAE(images, **vae),
            }
        )

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        order = torch.randperm(len(batch["target"]), generator=generator)
        real = {"nac": batch["given"], "ac": batch["target"][order]}
        means = {domain: self._vae.encode(image, domain) for domain, image in real.items()}
        latent = {domain: _noisy(mean, generator) for domain, mean in means.items()}
        fake = {OTHER[domain]: self._vae.decode(value, OTHER[domain]) for domain, value in latent.items()}
        yield "critic", torch.stack([self._critic_loss(real[d], fake[d].detach(), d) for d in real]).sum()

        again = {domain: self._vae.encode(image, domain) for domain, image in fake.items()}
        losses = []
        for domain, image in real.items():
            other = OTHER[domain]
            cycled = self._vae.decode(_noisy(again[other], generator), domain)
            losses += [
                self.weights["gan_weight"] * self._fooling_loss(fake[domain], domain),
                self.weights["reconstruction_weight"] * F.l1_loss(self._vae.decode(latent[domain], domain), image),
                self.weights["cycle_weight"] * F.l1_loss(cycled, image),
                self.weights["kl_weight"] * means[domain].square().mean(),
                self.weights["cycle_kl_weight"] * again[domain].square().mean(),
            ]
        yield "generator", torch.stack(losses).sum()

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        return in_chunks(self._translated, condition)[:, 0]

    @property
    def _vae(self) -> SharedLatentVAE:
        vae: Any = self.players["generator"]
        return vae

    def _translated(self, batch: Batch) -> Tensor:
        return self._vae.decode(self._vae.encode(batch["given"], "nac"), "ac")

    def _critic_loss(self, real: Tensor, fake: Tensor, domain: str) -> Tensor:
        """Least squares, summed over scales."""
        verdicts = zip(self._verdicts(real, domain), self._verdicts(fake, domain), strict=True)
        return torch.stack([(yes - 1).square().mean() + no.square().mean() for yes, no in verdicts]).sum()

    def _fooling_loss(self, fake: Tensor, domain: str) -> Tensor:
        return torch.stack([(verdict - 1).square().mean() for verdict in self._verdicts(fake, domain)]).sum()

    def _verdicts(self, image: Tensor, domain: str) -> list[Tensor]:
        critics: Any = self.players["critic"]
        verdicts: list[Tensor] = critics[domain](image)
        return verdicts

    def _check_size(self, strides: int, least_side: int) -> None:
        size, shrink = self.feed.size, 2**strides
        if size % shrink or size < max(least_side, 2 * shrink):
            raise BadArgument(
                f"slices of {size} pixels",
                needed=f"a multiple of {shrink}, at least {max(least_side, 2 * shrink)} for these critics",
                remedy="Give fewer strides, or critics fewer layers or scales.",
            )


def _noisy(mean: Tensor, generator: torch.Generator) -> Tensor:
    return mean + torch.randn(mean.shape, generator=generator)
