"""BBDM: a Brownian bridge from NAC to AC slices, in pixels or in the latent space of a VQGAN (Li et al., CVPR 2023).

The network predicts ``m_t (y - x_0) + sqrt(delta_t) eps``, which is x_t - x_0 (Eq. 13 without its weights). Other than
in the paper: the U-Net has the size of the other methods', it sees neighbour slices and where the slice is, in the
latent space as well, and latents are scaled to variance 1 so that s has the same meaning there.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core import Study
from photopeak.core.errors import BadArgument
from photopeak.diffusion.bridge import BrownianBridge
from photopeak.diffusion.samplers import sample_bridge
from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartBatches, SampledSlices, in_chunks, middle
from photopeak.methods.vqgan import VQGAN, Code, code_arguments
from photopeak.nets.unet import slice_unet


class BBDM(SampledSlices):
    """The bridge in pixels.

    Parameters
    ----------
    feed : arguments of SliceFeed.
    channels, fold : of the U-Net: its levels' channels, and the blocks of pixels that it works on.
    bridge_steps, variance : T and s of the bridge.
    """

    name = "bbdm"
    steps = 200

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: Sequence[int] = (32, 64, 96),
        fold: int = 1,
        bridge_steps: int = 1000,
        variance: float = 1.0,
    ) -> None:
        super().__init__(feed)
        self.arguments |= {"channels": list(channels), "fold": fold, "bridge_steps": bridge_steps, "variance": variance}
        self.bridge = BrownianBridge(bridge_steps, variance)
        images, seen = self.image_channels, self.condition_channels + self.feed.place("sa").shape[1]
        self.players = nn.ModuleDict({"net": slice_unet(images + seen, images, channels, fold=fold)})

    @property
    def image_channels(self) -> int:
        """Channels of what is bridged."""
        return 1

    @property
    def condition_channels(self) -> int:
        """Channels of `seen`."""
        return self.feed.context

    def encoded(self, images: Tensor) -> Tensor:
        """Slices [item, 1, row, column] as what is bridged."""
        return images

    def decoded(self, bridged: Tensor) -> Tensor:
        """The inverse of `encoded`."""
        return bridged

    def seen(self, batch: Batch) -> Tensor:
        """What the network sees beside x_t and place, with the rows and columns of x_t."""
        return batch["nac"]

    def check_steps(self, steps: int) -> None:
        self.bridge.times(steps)

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Algorithm 1: L1 between the network's answer and x_t - x_0 at a random time."""
        x0, y = self.encoded(batch["ac"]), self.encoded(middle(batch["nac"]))
        times = torch.randint(self.bridge.steps, (len(x0),), generator=generator)
        x_t = self.bridge.at(x0, y, times, torch.randn(x0.shape, generator=generator).to(x0))
        yield "net", F.l1_loss(self._step(x_t, self.seen(batch), batch["place"], times), x_t - x0)

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        y = in_chunks(lambda part: self.encoded(middle(part["nac"])), condition)
        known = {**condition, "seen": in_chunks(self.seen, condition)}

        def estimate(x_t: Tensor, time: int) -> Tensor:
            def network(part: Batch) -> Tensor:
                times = torch.full((len(part["x_t"]),), time)
                return part["x_t"] - self._step(part["x_t"], part["seen"], part["place"], times)

            return in_chunks(network, {**known, "x_t": x_t})

        bridged = sample_bridge(estimate, y, self.bridge, steps=self.steps, generator=generator)
        return in_chunks(lambda part: self.decoded(part["bridged"]), {**condition, "bridged": bridged})[:, 0]

    def _step(self, x_t: Tensor, seen: Tensor, place: Tensor, times: Tensor) -> Tensor:
        maps = place[:, :, None, None].expand(-1, -1, *x_t.shape[-2:])
        answer: Tensor = self.players["net"](torch.cat([x_t, seen, maps], dim=1), times.to(x_t.device))
        return answer


class BBDMLatent(BBDM):
    """The bridge between latents of a frozen code; the code travels in this method's weights.

    Parameters
    ----------
    code : arguments of Code, those of the VQGAN that `uses_code` takes the weights from.
    """

    name = "bbdm_latent"

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        code: Mapping[str, Any] | None = None,
        channels: Sequence[int] = (64, 96),
        fold: int = 1,
        bridge_steps: int = 1000,
        variance: float = 1.0,
    ) -> None:
        network = Code(**(code or {}))
        self._code_channels, self._has_code = network.channels, False
        super().__init__(feed, channels=channels, fold=fold, bridge_steps=bridge_steps, variance=variance)
        divisor = network.size_divisor * fold * 2 ** (len(channels) - 1)
        if self.feed.size % divisor:
            raise BadArgument(
                f"slices of {self.feed.size}",
                needed=f"a size divisible by {divisor}, for the levels of code and U-Net",
                remedy="Give one of them fewer levels, or the feed another size.",
            )
        self.arguments |= {"code": code_arguments(code)}
        self.players["code"] = network.requires_grad_(False)

    @property
    def image_channels(self) -> int:
        return self._code_channels

    @property
    def condition_channels(self) -> int:
        return self._code_channels * self.feed.context

    @property
    def code(self) -> Code:
        if not self._has_code:
            raise BadArgument(
                f"{self.name} without a code", needed="a trained vqgan", remedy="Call uses_code(VQGAN.restored(FILE))."
            )
        network: Any = self.players["code"]
        return network

    def uses_code(self, vqgan: VQGAN) -> None:
        """Take the code of a trained VQGAN; it stays as it is."""
        mine, theirs = ({name: of.arguments[name] for name in ("feed", "code")} for of in (self, vqgan))
        if mine != theirs:
            raise BadArgument(f"a vqgan with {theirs}", needed=f"{mine}", remedy="Give both the same arguments.")
        self.players["code"].load_state_dict(vqgan.code.state_dict())
        self._has_code = True

    def use_weights(self, tensors: Mapping[str, Tensor]) -> None:
        super().use_weights(tensors)
        self._has_code = True

    def batches(self, studies: Sequence[Study], *, seed: int, keep: Path | None = None) -> HeartBatches:
        self.code.eval()
        return super().batches(studies, seed=seed, keep=keep)

    def encoded(self, images: Tensor) -> Tensor:
        return self.code.latent(images)

    def decoded(self, bridged: Tensor) -> Tensor:
        return self.code.image(bridged)

    def seen(self, batch: Batch) -> Tensor:
        stack = batch["nac"]
        return self.encoded(stack.flatten(0, 1)[:, None]).unflatten(0, stack.shape[:2]).flatten(1, 2)
