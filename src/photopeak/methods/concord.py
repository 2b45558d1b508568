"""Concord: what a network sees in NAC and what physics makes of it, brought together (ours).

Two ways lead from NAC to AC. The direct one, a network from image to image, is steady but knows no physics; the
indirect one predicts the attenuation map and reconstructs with it, and errs where the map does. A U-Net of ours sees
all three, NAC, the predicted map and the indirect answer, on the heart's slices, and says what to add to NAC, whose
noise nothing has amplified yet; in training, errors count fully in the heart and a fifth far from it. `Concord` needs
images only, `ConcordRaw` reconstructs the measured projections.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from photopeak.core import Grid, Step, Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.learn.feed import to_network
from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartSlices
from photopeak.methods.indirect import WATER_PER_CM, Indirect, IndirectRaw, MuFromNAC
from photopeak.methods.slice_method import in_chunks, with_place
from photopeak.nets.unet import slice_unet

PASSES = 2
"""Of iterative Chang; scatter is left to the network, which makes the indirect answer five times faster."""


class Concord(HeartSlices):
    """AC from NAC alone.

    Parameters
    ----------
    feed : arguments of SliceFeed.
    indirect : arguments of `photopeak.methods.indirect.Indirect`, whose trained network `sees_with` takes over.
    channels, fold : of the U-Net: its levels' channels, and the blocks of pixels that it works on.
    """

    name = "concord"
    writes: tuple[str, ...] = ("ac", "ac_sd", "mu_predicted")

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        indirect: Mapping[str, Any] | None = None,
        channels: Sequence[int] = (32, 64, 96),
        fold: int = 1,
    ) -> None:
        super().__init__(feed)
        self._indirect = self._maker(indirect or {})
        self.arguments |= {"indirect": dict(self._indirect.arguments), "channels": list(channels), "fold": fold}
        network = slice_unet(3 * self.feed.context + self.feed.places, 1, channels, fold=fold)
        self.players = nn.ModuleDict({"net": network, "map": self._indirect.players.requires_grad_(False)})

    def _maker(self, arguments: Mapping[str, Any]) -> MuFromNAC:
        return Indirect(**arguments).using(passes=PASSES, scatter=False)

    def sees_with(self, indirect: MuFromNAC) -> None:
        """Take over the network of a trained `Indirect`; it stays as it is while this method learns."""
        if indirect.arguments != self._indirect.arguments:
            raise BadArgument(
                f"an indirect method with {indirect.arguments}",
                needed=f"{self._indirect.arguments}",
                remedy="Give both the same arguments.",
            )
        self._indirect.use_weights(indirect.players.state_dict())

    def make(self, study: Study) -> Mapping[str, Volume]:
        study = self.prepared(study)
        return {**self.answered(study), "mu_predicted": study["mu_predicted"]}

    def prepared(self, study: Study) -> Study:
        """The study with "mu_predicted" and the indirect answer, under "indirect"."""
        made = self._indirect.make(study)
        step = Step(("mu_predicted", "indirect"), self._indirect.name, ("nac",), self._indirect.settings())
        return study.add({"mu_predicted": made["mu_predicted"], "indirect": made["ac"]}, step)

    def prepares_by(self) -> str:
        return f"{self._indirect.name} {self._indirect.weights_sha256()}"

    def cubes(self, study: Study, grid: Grid) -> dict[str, Tensor]:
        nac = super().cubes(study, grid)["nac"]
        indirect: Volume = study["indirect"].on(grid, order=3)
        level = self.feed.level(nac) * self.feed.factor
        return {
            "nac": nac,
            "indirect": to_network(indirect.data.clamp(min=0) / level),
            "mu": to_network(study["mu_predicted"].on(grid).data / WATER_PER_CM),
        }

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        yield "net", (batch["near"] * (self._agreed(batch) - batch["target"]).abs()).mean()

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        return in_chunks(self._agreed, condition)[:, 0]

    def _agreed(self, batch: Batch) -> Tensor:
        seen = with_place(torch.cat([batch["given"], batch["indirect"], batch["mu"]], dim=1), batch["place"])
        times = torch.zeros(len(seen), dtype=torch.long)
        answer: Tensor = self.start(batch) + self.players["net"](seen, times)
        return answer


class ConcordRaw(Concord):
    """AC from NAC and the measured projections "raw" that it was reconstructed from, still without CT."""

    name = "concord_raw"
    reads_projections: tuple[str, ...] = ("raw",)

    def _maker(self, arguments: Mapping[str, Any]) -> MuFromNAC:
        return IndirectRaw(**arguments).using(scatter=False)
