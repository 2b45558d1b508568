"""BBDM: a Brownian bridge from slice to slice, in pixels or in the latent space of a VQGAN (Li et al., CVPR 2023).

The network predicts ``m_t (y - x_0) + sqrt(delta_t) eps``, which is x_t - x_0 (Eq. 13 without its weights). Other than
in the paper: the U-Net has the size of the other methods', it sees neighbour slices and where the slice is, in the
latent space as well, and latents are scaled to variance 1 so that s has the same meaning there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core.errors import BadArgument
from photopeak.diffusion.bridge import BrownianBridge
from photopeak.diffusion.samplers import sample_bridge
from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartSlices
from photopeak.methods.pet_slices import SampledPet
from photopeak.methods.slice_method import SampledSlices, as_recorded, in_chunks, middle, with_place
from photopeak.methods.vqgan import Code, VQGANSlices
from photopeak.nets.unet import slice_unet


class BridgeSlices(SampledSlices):
    """The bridge in pixels.

    Parameters
    ----------
    feed, domain : of the domain.
    channels, fold : of the U-Net: its levels' channels, and the blocks of pixels that it works on.
    bridge_steps, variance : T and s of the bridge.
    """

    steps = 200

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: Sequence[int] = (32, 64, 96),
        fold: int = 1,
        bridge_steps: int = 1000,
        variance: float = 1.0,
        **domain: Any,
    ) -> None:
        super().__init__(feed, **domain)
        self.arguments |= {"channels": list(channels), "fold": fold, "bridge_steps": bridge_steps, "variance": variance}
        self.bridge = BrownianBridge(bridge_steps, variance)
        images, seen = self.image_channels, self.channels_seen + self.feed.places
        self.players["net"] = slice_unet(images + seen, images, channels, fold=fold)

    @property
    def unet(self) -> nn.Module:
        """What predicts x_t - x_0."""
        return self.players["net"]

    @property
    def image_channels(self) -> int:
        """Channels of what is bridged."""
        return 1

    @property
    def channels_seen(self) -> int:
        """Channels of `seen`."""
        return self.channels_shown

    def encoded(self, images: Tensor) -> Tensor:
        """Slices [item, 1, row, column] as what is bridged."""
        return images

    def decoded(self, bridged: Tensor) -> Tensor:
        """The inverse of `encoded`."""
        return bridged

    def seen(self, batch: Batch) -> Tensor:
        """What the network sees beside x_t and place, with the rows and columns of x_t."""
        return self.shown(batch)

    def check_steps(self, steps: int) -> None:
        self.bridge.times(steps)

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Algorithm 1: L1 between the network's answer and x_t - x_0 at a random time."""
        x0, y = self.encoded(batch["target"]), self.encoded(middle(batch["given"]))
        times = torch.randint(self.bridge.steps, (len(x0),), generator=generator)
        x_t = self.bridge.at(x0, y, times, torch.randn(x0.shape, generator=generator).to(x0))
        yield "net", F.l1_loss(self._step(x_t, self.seen(batch), batch["place"], times), x_t - x0)

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        y = in_chunks(lambda part: self.encoded(middle(part["given"])), condition)
        known = {**condition, "seen": in_chunks(self.seen, condition)}

        def estimate(x_t: Tensor, time: int) -> Tensor:
            def network(part: Batch) -> Tensor:
                times = torch.full((len(part["x_t"]),), time)
                return part["x_t"] - self._step(part["x_t"], part["seen"], part["place"], times)

            return in_chunks(network, {**known, "x_t": x_t})

        bridged = sample_bridge(estimate, y, self.bridge, steps=self.steps, generator=generator)
        return in_chunks(lambda part: self.decoded(part["bridged"]), {**condition, "bridged": bridged})[:, 0]

    def _step(self, x_t: Tensor, seen: Tensor, place: Tensor, times: Tensor) -> Tensor:
        known = with_place(torch.cat([x_t, seen], dim=1), place)
        answer: Tensor = self.unet(known, times.to(x_t.device))
        return answer


class LatentBridgeSlices(BridgeSlices):
    """The bridge between latents of a frozen code; the code travels in this method's weights.

    Parameters
    ----------
    feed, domain : of the domain.
    code : arguments of Code, those of the VQGAN that `uses_code` takes the weights from.
    channels, fold, bridge_steps, variance : as in pixels.
    """

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        code: Mapping[str, Any] | None = None,
        channels: Sequence[int] = (64, 96),
        fold: int = 1,
        bridge_steps: int = 1000,
        variance: float = 1.0,
        **domain: Any,
    ) -> None:
        network = Code(**(code or {}))
        self._code_channels, self._has_code = network.channels, False
        super().__init__(feed, channels=channels, fold=fold, bridge_steps=bridge_steps, variance=variance, **domain)
        divisor = network.size_divisor * fold * 2 ** (len(channels) - 1)
        self.require_multiple(divisor, "the levels of code and U-Net")
        self.arguments |= {"code": as_recorded(code)}
        self.players["code"] = network.requires_grad_(False)

    @property
    def image_channels(self) -> int:
        return self._code_channels

    @property
    def channels_seen(self) -> int:
        return self._code_channels * self.feed.context + len(self.maps)

    @property
    def code(self) -> Code:
        if not self._has_code:
            raise BadArgument(
                f"{self.name} without a code", needed="a trained vqgan", remedy="Call uses_code with the trained VQGAN."
            )
        network: Any = self.players["code"]
        return network

    def uses_code(self, vqgan: VQGANSlices) -> None:
        """Take the code of a trained VQGAN; it stays as it is."""
        mine, theirs = ({name: of.arguments.get(name) for name in ("feed", "code")} for of in (self, vqgan))
        if mine != theirs:
            raise BadArgument(f"a vqgan with {theirs}", needed=f"{mine}", remedy="Give both the same arguments.")
        self.players["code"].load_state_dict(vqgan.code.state_dict())
        self._has_code = True

    def use_weights(self, tensors: Mapping[str, Tensor]) -> None:
        super().use_weights(tensors)
        self._has_code = True

    def require_parts(self) -> None:
        self.code.eval()
        super().require_parts()

    def encoded(self, images: Tensor) -> Tensor:
        return self.code.latent(images)

    def decoded(self, bridged: Tensor) -> Tensor:
        return self.code.image(bridged)

    def seen(self, batch: Batch) -> Tensor:
        """`latents`, and each map's mean over what a latent pixel stands for."""
        latents = self.latents(batch)
        maps = [F.avg_pool2d(batch[name], self.code.size_divisor) for name in self.maps]
        return torch.cat([latents, *maps], dim=1)

    def latents(self, batch: Batch) -> Tensor:
        """Latents of the slice and its neighbours, [item, context * code_channels, row, column]."""
        stack = batch["given"]
        return self.encoded(stack.flatten(0, 1)[:, None]).unflatten(0, stack.shape[:2]).flatten(1, 2)


class BBDM(BridgeSlices, HeartSlices):
    """The bridge from NAC to AC, in pixels."""

    name = "bbdm"


class BBDMLatent(LatentBridgeSlices, HeartSlices):
    """The bridge from NAC to AC, between latents."""

    name = "bbdm_latent"


class BBDMPet(LatentBridgeSlices, SampledPet):
    """The bridge from CT to PET, between latents of a `vqgan_pet`, in ten steps unless told: a whole body is long."""

    name = "bbdm_pet"
    steps = 10
