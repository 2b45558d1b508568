"""The 3D post-processor of few-view cardiac SPECT: a U-Net with dense blocks and attention to channels (Xie et al.).

One evaluation from the reconstruction, beside the attenuation map, to what it lacks of the image of all counts. The
loss is the squared error, by whose root it is judged. It is trained on whole volumes, since attention to channels is a
mean over all that the network sees.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.core import Study
from photopeak.learn.feed import to_network
from photopeak.learn.learned import Batch
from photopeak.methods.measured import Scan
from photopeak.methods.paired import PUBLISHED, Paired
from photopeak.methods.volume_slices import VolumeBatches
from photopeak.nets.unet3 import UNet3


class FewViewUNet(Paired):
    """Image = reconstruction + what the network adds.

    Parameters
    ----------
    feed, iterations, ct, settings : as for Paired.
    channels, fold : of the U-Net.
    """

    name = "unet3"

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        iterations: int = 50,
        ct: bool = True,
        settings: Sequence[str] = PUBLISHED,
        channels: Sequence[int] = (16, 32, 64),
        fold: int = 2,
    ) -> None:
        super().__init__(feed, iterations=iterations, ct=ct, settings=settings)
        self.arguments |= {"channels": list(channels), "fold": fold}
        self.players["net"] = UNet3(self.channels_seen, 1, channels=channels, fold=fold)

    def whole(self, seen: Mapping[str, Tensor]) -> Tensor:
        """What the network sees [1, channel, z, y, x] of a scan or a training example: the image, with `ct` the map."""
        maps = [seen["mu"]] if self.ct else []
        return torch.stack([to_network(seen["given"]), *maps])[None]

    def batches(self, studies: Sequence[Study], *, seed: int, keep: Path | None = None) -> VolumeBatches:
        return WholeVolumes(self, studies, keep=keep)

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        yield "net", F.mse_loss(self._answer(batch["seen"]), batch["ac"])

    def improved(self, scan: Scan, generator: torch.Generator) -> Tensor:
        return self._answer(self.whole(self.seen_of(scan)))[0, 0]

    def _answer(self, seen: Tensor) -> Tensor:
        added: Tensor = self.players["net"](seen)
        return seen[:, :1] + added


class WholeVolumes(VolumeBatches):
    """Training volumes instead of slices; arguments as for VolumeBatches."""

    _method: FewViewUNet

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """As many random volumes as it takes to hold `size` slices: "seen" and "ac" [item, channel, z, y, x]."""
        seen, ac = [], []
        for _ in range(-(-size // self._method.feed.depth)):
            volume = self._volumes[int(torch.randint(len(self._volumes), (), generator=generator))]
            which = int(torch.randint(self._each, (), generator=generator))
            seen.append(self._method.whole({"given": volume["given"][which], "mu": volume["mu"]}))
            ac.append(to_network(volume["ac"])[None, None])
        return {"seen": torch.cat(seen), "ac": torch.cat(ac)}
