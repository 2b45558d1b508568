"""MedGAN: a cascade of U-blocks with perceptual, style and content losses (Armanious et al., CMIG 79, 2020).

arXiv 1806.06397; no code of the authors is public. The paper measures style and content on a pretrained VGG19, for
which there are no weights here, and untrained features mean nothing: all three losses use the critic's features.
Values not verified against the paper: weights of the losses, 6 U-blocks, 3 generator turns to 1 of the critic, the
pixels as layer 0 of the perceptual loss, and the critic's layers. Each is an argument but the last but one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets import PatchDiscriminator
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartSlices
from photopeak.methods.pet_slices import PetSlices
from photopeak.methods.slice_method import SliceMethod, in_chunks, with_place
from photopeak.nets.casnet import CasNet


class MedGANSlices(SliceMethod):
    """Slices from slices through U-blocks in a row.

    Parameters
    ----------
    feed, domain : of the domain.
    blocks, channels : of CasNet. The paper's U-blocks have eight levels, 64-128-256-512x5, for 256 pixels; 40 pixels
        can be halved three times.
    critic_channels, critic_layers : first layer's channels, and strides of 2, of the PatchGAN; 2 strides give fields
        of 34 pixels, and 1 gives the 16 pixels of the paper.
    generator_turns : for each turn of the critic, on the same batch.
    perceptual_weight, style_weight, content_weight : lambda of each, beside 1 of the critic.
    """

    betas = (0.5, 0.999)

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        blocks: int = 6,
        channels: Sequence[int] = (64, 128, 256),
        critic_channels: int = 64,
        critic_layers: int = 1,
        generator_turns: int = 3,
        perceptual_weight: float = 20.0,
        style_weight: float = 1e-4,
        content_weight: float = 1e-4,
        **domain: Any,
    ) -> None:
        super().__init__(feed, **domain)
        shrink = 2 ** len(channels)
        self.require_multiple(shrink, f"{len(channels)} levels", least=2 * shrink)
        if generator_turns < 1:
            raise BadArgument(f"generator_turns={generator_turns}", needed="at least 1", remedy="The paper has 3.")
        self.arguments |= {
            "blocks": blocks,
            "channels": list(channels),
            "critic_channels": critic_channels,
            "critic_layers": critic_layers,
            "generator_turns": generator_turns,
            "perceptual_weight": perceptual_weight,
            "style_weight": style_weight,
            "content_weight": content_weight,
        }
        self.generator_turns = generator_turns
        self.weights = perceptual_weight, style_weight, content_weight
        shown = self.channels_shown
        self.players.update(
            {
                "critic": PatchDiscriminator(
                    spatial_dims=2,
                    channels=critic_channels,
                    in_channels=shown + 1,
                    num_layers_d=critic_layers,
                    norm=("INSTANCE", {"affine": True}),
                ),
                "generator": CasNet(shown + self.feed.places, 1, blocks=blocks, channels=channels),
            }
        )

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        shown = self.shown(batch)
        with torch.no_grad():
            fake = self._translated(batch)
        real_verdict, fake_verdict = (self._features(shown, image)[-1] for image in (batch["target"], fake))
        yield "critic", 0.5 * (_cross_entropy(real_verdict, real=True) + _cross_entropy(fake_verdict, real=False))
        for _ in range(self.generator_turns):
            yield "generator", self._generator_loss(batch)

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        return in_chunks(self._translated, condition)[:, 0]

    def _generator_loss(self, batch: Batch) -> Tensor:
        shown, target = self.shown(batch), batch["target"]
        fake = self._translated(batch)
        *seen, verdict = self._features(shown, fake)
        with torch.no_grad():
            *wanted, _ = self._features(shown, target)
        layers = [(fake, target), *zip(seen, wanted, strict=True)]
        losses = perceptual_loss(layers), style_loss(layers[1:]), content_loss(layers[1:])
        weighted = [weight * loss for weight, loss in zip(self.weights, losses, strict=True)]
        return _cross_entropy(verdict, real=True) + torch.stack(weighted).sum()

    def _translated(self, batch: Batch) -> Tensor:
        answer: Tensor = self.players["generator"](with_place(self.shown(batch), batch["place"]))
        return answer

    def _features(self, shown: Tensor, image: Tensor) -> list[Tensor]:
        """The critic's hidden layers [item, channel, row, column], and its verdict last."""
        features: list[Tensor] = self.players["critic"](torch.cat([shown, image], dim=1))
        return features


class MedGAN(MedGANSlices, HeartSlices):
    """AC slices from NAC slices."""

    name = "medgan"


class MedGANPet(MedGANSlices, PetSlices):
    """PET slices from CT slices; the critic sees the maps as well."""

    name = "medgan_pet"


Layers = Sequence[tuple[Tensor, Tensor]]
"""Features [item, channel, row, column] of the answer and of the target, layer by layer."""


def perceptual_loss(layers: Layers) -> Tensor:
    """Sum over layers of the mean absolute difference."""
    return torch.stack([F.l1_loss(mine, theirs) for mine, theirs in layers]).sum()


def content_loss(layers: Layers) -> Tensor:
    """Sum over layers of the mean squared difference."""
    return torch.stack([F.mse_loss(mine, theirs) for mine, theirs in layers]).sum()


def style_loss(layers: Layers) -> Tensor:
    """Sum over layers of the mean squared difference of Gram matrices, over 4 (Gatys et al., CVPR 2016)."""
    return torch.stack([F.mse_loss(gram(mine), gram(theirs)) / 4 for mine, theirs in layers]).sum()


def gram(features: Tensor) -> Tensor:
    """Correlation of channels over all places [item, channel, channel], per channel and place."""
    flat = features.flatten(-2)
    return flat @ flat.mT / (flat.shape[-2] * flat.shape[-1])


def _cross_entropy(verdict: Tensor, *, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(verdict, torch.full_like(verdict, float(real)))
