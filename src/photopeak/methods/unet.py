"""The plain answer that every diffusion model has to beat: a residual 2.5D U-Net from NAC to AC slices, with L1."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartSlices, in_chunks, middle
from photopeak.nets.unet import slice_unet


class UNet(HeartSlices):
    """AC = NAC (at the population's scale) + what the network adds; the same U-Net as PADM's, one evaluation.

    Parameters
    ----------
    feed : arguments of SliceFeed.
    channels, fold : of the U-Net: its levels' channels, and the blocks of pixels that it works on.
    focused : errors count fully in the heart alone, as in Concord, and not all over the slices.
    """

    name = "unet"

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: Sequence[int] = (32, 64, 96),
        fold: int = 1,
        focused: bool = False,
    ) -> None:
        super().__init__(feed)
        self.arguments |= {"channels": list(channels), "fold": fold, "focused": focused}
        self.focused = focused
        places = self.feed.place("sa").shape[1]
        self.players = nn.ModuleDict({"net": slice_unet(self.feed.context + places, 1, channels, fold=fold)})

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        error = (self._corrected(batch) - batch["ac"]).abs()
        yield "net", (batch["near"] * error if self.focused else error).mean()

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        return in_chunks(self._corrected, condition)[:, 0]

    def _corrected(self, batch: Batch) -> Tensor:
        nac = batch["nac"]
        maps = batch["place"][:, :, None, None].expand(-1, -1, *nac.shape[-2:])
        times = torch.zeros(len(nac), dtype=torch.long)
        answer: Tensor = middle(nac) + self.players["net"](torch.cat([nac, maps], dim=1), times)
        return answer
