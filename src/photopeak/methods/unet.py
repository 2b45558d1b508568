"""The plain answer that every diffusion model has to beat: a residual 2.5D U-Net from slice to slice, with L1."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartSlices
from photopeak.methods.pet_slices import PetSlices
from photopeak.methods.slice_method import SliceMethod, in_chunks, with_place
from photopeak.nets.unet import slice_unet


class UNetSlices(SliceMethod):
    """The same U-Net as PADM's, one evaluation; it adds to the domain's `start`.

    Parameters
    ----------
    feed, domain : of the domain.
    channels, fold : of the U-Net: its levels' channels, and the blocks of pixels that it works on.
    focused : errors count fully where the domain says so alone (the heart, as in Concord), and not all over the slices.
    """

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: Sequence[int] = (32, 64, 96),
        fold: int = 1,
        focused: bool = False,
        **domain: Any,
    ) -> None:
        super().__init__(feed, **domain)
        self.arguments |= {"channels": list(channels), "fold": fold, "focused": focused}
        self.focused = focused
        self.require_multiple(fold * 2 ** (len(channels) - 1), "the levels of the U-Net")
        self.players["net"] = slice_unet(self.channels_shown + self.feed.places, 1, channels, fold=fold)

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        error = (self._translated(batch) - batch["target"]).abs()
        yield "net", (batch["near"] * error if self.focused else error).mean()

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        return in_chunks(self._translated, condition)[:, 0]

    def _translated(self, batch: Batch) -> Tensor:
        seen = with_place(self.shown(batch), batch["place"])
        times = torch.zeros(len(seen), dtype=torch.long, device=seen.device)
        answer: Tensor = self.start(batch) + self.players["net"](seen, times)
        return answer


class UNet(UNetSlices, HeartSlices):
    """AC = NAC (at the population's scale) + what the network adds."""

    name = "unet"


class UNetPet(UNetSlices, PetSlices):
    """PET = no uptake + what the network adds, from CT slices."""

    name = "unet_pet"
