"""VQGAN: slices as few numbers out of a codebook (Esser et al., CVPR 2021), the space of latent bridges.

One code for what is given and what is wanted (NAC and AC, CT and PET), trained on both. Other than in the paper: no
perceptual loss unless asked for, since its network learnt from colour photographs and is not everywhere installed, the
codebook follows its users by a moving average (commitment on the encoder, where the paper's formula has it), it starts
at encodings of training slices and dead codes go back to them, and the critic plays from the first step.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets import VQVAE, PatchDiscriminator
from torch import Tensor, nn

from photopeak.core import HU, Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.learn.learned import Batch, Batches
from photopeak.methods.heart_slices import HeartSlices
from photopeak.methods.pet_slices import PetSlices
from photopeak.methods.slice_method import SliceMethod, as_recorded, in_chunks, middle
from photopeak.metrics.lpips import Lpips

LARGEST_CRITIC_WEIGHT = 1e4
CODEBOOK_START_ITEMS = 64
DEAD_SHARE = 0.05
"""Use of a code, as a share of the mean code's, below which it starts anew."""


class Code(nn.Module):
    """Encoder, codebook and decoder; every level of channels halves rows and columns.

    Parameters
    ----------
    channels : of the encoder's levels.
    residual : residual blocks a level.
    codes : vectors in the codebook.
    code_channels : length of each.
    commitment, decay : weight of the commitment loss and memory of the codebook's moving average.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int] = (128, 256),
        residual: int = 2,
        codes: int = 8192,
        code_channels: int = 3,
        commitment: float = 0.25,
        decay: float = 0.97,
    ) -> None:
        super().__init__()
        self.channels, self.size_divisor = code_channels, 2 ** len(channels)
        self.net = VQVAE(
            spatial_dims=2,
            in_channels=1,
            out_channels=1,
            channels=tuple(channels),
            num_res_layers=residual,
            num_res_channels=tuple(channels),
            downsample_parameters=((2, 4, 1, 1),) * len(channels),
            upsample_parameters=((2, 4, 1, 1, 0),) * len(channels),
            num_embeddings=codes,
            embedding_dim=code_channels,
            commitment_cost=commitment,
            decay=decay,
        )
        self.book.ema_cluster_size.fill_(1.0)

    @property
    def book(self) -> Any:
        """The codebook, with its moving averages."""
        return self.net.quantizer.quantizer

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [item, 1, row, column] as they come back, and the commitment loss."""
        made, loss = self.net(images)
        return made, loss

    @torch.no_grad()
    def start_at(self, images: Tensor, generator: torch.Generator) -> None:
        """Fill the codebook with encodings of images."""
        encoded = self.net.encode(images).movedim(1, -1).flatten(0, -2)
        book = self.book
        chosen = encoded[torch.randint(len(encoded), (book.num_embeddings,), generator=generator)]
        book.embedding.weight.copy_(chosen)
        book.ema_w.copy_(chosen)
        book.ema_cluster_size.fill_(1.0)

    @torch.no_grad()
    def revive(self, images: Tensor, generator: torch.Generator) -> None:
        """Move codes that hardly anybody uses to encodings of these images, as used as the mean code."""
        book = self.book
        mean = book.ema_cluster_size.mean()
        dead = book.ema_cluster_size < DEAD_SHARE * mean
        if dead.any():
            encoded = self.net.encode(images).movedim(1, -1).flatten(0, -2)
            chosen = encoded[torch.randint(len(encoded), (int(dead.sum()),), generator=generator)]
            book.embedding.weight[dead] = chosen
            book.ema_w[dead] = chosen * mean
            book.ema_cluster_size[dead] = mean

    @torch.no_grad()
    def latent(self, images: Tensor) -> Tensor:
        """Encodings before the codebook [item, code_channels, row, column], of mean 0 and variance 1 over its users."""
        mean, sd = self._scale()
        return (self.net.encode(images) - mean) / sd

    @torch.no_grad()
    def image(self, latent: Tensor) -> Tensor:
        """The image of the codes nearest to a latent; the codebook is not updated."""
        mean, sd = self._scale()
        numbers = self.book.quantize(latent * sd + mean)[2]
        decoded: Tensor = self.net.decode(self.book.embed(numbers))
        return decoded

    def _scale(self) -> tuple[Tensor, Tensor]:
        book = self.book
        share = (book.ema_cluster_size / book.ema_cluster_size.sum().clamp(min=1e-12))[:, None]
        mean = (share * book.embedding.weight).sum(0)
        sd = (share * (book.embedding.weight - mean).square()).sum(0).sqrt().clamp(min=1e-6)
        return mean[:, None, None], sd[:, None, None]


class VQGANSlices(SliceMethod):
    """The code as a method: what it writes is what was given as the code gives it back, to see what is lost.

    Parameters
    ----------
    feed, domain : of the domain.
    code : arguments of Code.
    critic_channels, critic_layers : of the patch critic.
    critic_weight : of its loss, times the ratio of gradients at the last layer (Eq. 6, 7).
    perceptual : weight of LPIPS by VGG's features beside the absolute error, 1 in the paper; values above 1, where a
        display is white, count as 1. Only training needs the trained numbers, and raises MissingPackage without them.
    """

    betas = (0.5, 0.9)

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        code: Mapping[str, Any] | None = None,
        critic_channels: int = 64,
        critic_layers: int = 2,
        critic_weight: float = 0.75,
        perceptual: float = 0.0,
        **domain: Any,
    ) -> None:
        super().__init__(feed, **domain)
        if not 0 <= perceptual < float("inf"):
            raise BadArgument(f"perceptual={perceptual:g}", needed="a weight of at least 0", remedy="The paper has 1.")
        network = Code(**(code or {}))
        self.require_multiple(network.size_divisor, "the levels of the code")
        self.arguments |= {
            "code": as_recorded(code),
            "critic_channels": critic_channels,
            "critic_layers": critic_layers,
            "critic_weight": critic_weight,
            "perceptual": perceptual,
        }
        self.critic_weight, self.perceptual = critic_weight, perceptual
        critic = PatchDiscriminator(
            spatial_dims=2, channels=critic_channels, in_channels=1, num_layers_d=critic_layers, norm="INSTANCE"
        )
        self.players.update({"code": network, "critic": critic})

    @property
    def code(self) -> Code:
        network: Any = self.players["code"]
        return network

    def solve(self, batches: Batches) -> None:
        generator = stream(0, 0)
        self.code.start_at(_both(batches.batch(CODEBOOK_START_ITEMS, generator)), generator)

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """The code plays to give slices back and to please the critic, then the critic to tell slices apart (Eq. 5)."""
        images = _both(batch)
        self.code.revive(images, generator)
        made, commitment = self.code(images)
        lost = F.l1_loss(made, images)
        if self.perceptual:
            lost = lost + self.perceptual * self._lpips(made.clamp(-1, 1), images.clamp(-1, 1)).mean()
        pleased = -self._judged(made).mean()
        weight = self.critic_weight * gradient_ratio(lost, pleased, self._last_layer())
        yield "code", lost + commitment + weight * pleased
        yield "critic", hinge(self._judged(images), self._judged(made.detach()))

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        return in_chunks(lambda part: self.code.image(self.code.latent(middle(part["given"]))), condition)[:, 0]

    @cached_property
    def _lpips(self) -> Lpips:
        return Lpips.named("vgg")

    def _judged(self, images: Tensor) -> Tensor:
        judged: Tensor = self.players["critic"](images)[-1]
        return judged

    def _last_layer(self) -> Tensor:
        return [p for p in self.code.net.decoder.parameters() if p.ndim > 1][-1]


class VQGAN(VQGANSlices, HeartSlices):
    """One code for NAC and AC; writes NAC as it comes back, without correction."""

    name = "vqgan"
    writes = ("nac_code",)

    def make(self, study: Study) -> Mapping[str, Volume]:
        coded = super().make(study)["ac"]
        return {"nac_code": coded.with_data(coded.data / self.feed.factor)}


class VQGANPet(VQGANSlices, PetSlices):
    """One code for CT and PET slices; writes the CT as it comes back, in HU and within the feed's window."""

    name = "vqgan_pet"
    writes = ("ct_code",)

    @torch.inference_mode()
    def make(self, study: Study) -> Mapping[str, Volume]:
        hu = self.feed.ct_from_network(self.answers(study).mean(0))
        return {"ct_code": self.on_ct(hu, study["ct"].grid, HU)}


def hinge(real: Tensor, made: Tensor) -> Tensor:
    """The critic's hinge loss: 0 once it says at least 1 of real and at most -1 of made patches."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + made).mean())


def gradient_ratio(lost: Tensor, pleased: Tensor, layer: Tensor) -> Tensor:
    """How much larger the gradient of the first loss is at a layer (Eq. 7)."""
    first, second = (torch.autograd.grad(loss, layer, retain_graph=True)[0].norm() for loss in (lost, pleased))
    return (first / (second + 1e-4)).clamp(0, LARGEST_CRITIC_WEIGHT).detach()


def _both(batch: Batch) -> Tensor:
    return torch.cat([middle(batch["given"]), batch["target"]])
