"""Where a CT lets one expect high uptake: the segmenter behind CPDM's attention map (arXiv 2410.21932, section 4.2).

A U-Net learns from CT slices the mask of PET above a threshold, by Dice's loss. The published threshold, 39 % of a
slice's own maximum, calls noise in a leg high uptake and misses a liver beside a bladder; here it is an SUV. Other than
there, the network sees neighbour slices, is small and not trained before, and its answer is kept as a probability.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from photopeak.core import FACTOR, HU, Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.learn.learned import Batch
from photopeak.methods.pet_slices import PetSlices
from photopeak.methods.slice_method import in_chunks, with_place
from photopeak.nets.unet import slice_unet
from photopeak.recon.tv import tv_update

Compat = Literal["", "cpdm"]

CPDM_SHARE, CPDM_CUT = 100 / 255, 0.5
"""As published: a mask is what exceeds this share of the slice's maximum, and the answer is cut to 0 and 1."""


class Attention(PetSlices):
    """Probability of high uptake, "attention", in [0, 1] and on the CT's grid.

    Parameters
    ----------
    feed : arguments of PetFeed.
    channels, fold : of the U-Net, as for `slice_unet`.
    threshold_suv : uptake is high above it.
    compat : "cpdm" takes the published threshold, relative to each slice's maximum, and answers 0 or 1.
    """

    name = "attention"
    writes: tuple[str, ...] = ("attention",)

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: Sequence[int] = (32, 64, 96),
        fold: int = 2,
        threshold_suv: float = 2.5,
        compat: Compat = "",
    ) -> None:
        super().__init__(feed)
        if not 0 < threshold_suv < self.feed.suv_clip or compat not in ("", "cpdm"):
            raise BadArgument(
                f"threshold_suv={threshold_suv:g}, compat={compat!r}",
                needed=f'an SUV below {self.feed.suv_clip:g}, where the feed ends; "" or "cpdm"',
                remedy="2.5 is a usual threshold of FDG.",
            )
        if self.feed.per_slice and not compat:
            raise BadArgument(
                "an SUV threshold on slices over their own maximum",
                needed="SUV, or the published threshold",
                remedy='Leave out per_slice, or take compat="cpdm".',
            )
        self.require_multiple(fold * 2 ** (len(channels) - 1), "the levels of the U-Net")
        self.arguments = {
            "feed": self.arguments["feed"],
            "channels": list(channels),
            "fold": fold,
            "threshold_suv": threshold_suv,
            "compat": compat,
        }
        self.threshold_suv, self.compat = threshold_suv, compat
        self.players["net"] = slice_unet(self.channels_shown + self.feed.places, 1, channels, fold=fold)

    def mask(self, target: Tensor) -> Tensor:
        """1 where PET slices [item, 1, row, column] in the network's range show high uptake, else 0."""
        suv = self.feed.suv_from_network(target)
        threshold = CPDM_SHARE * suv.amax((-2, -1), keepdim=True) if self.compat else self.threshold_suv
        return (suv > threshold).to(target)

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        yield "net", dice_loss(self._probability(batch), self.mask(batch["target"]))

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        """Probabilities [slice, row, column]."""
        probability = in_chunks(self._probability, condition)[:, 0]
        return (probability >= CPDM_CUT).to(probability) if self.compat else probability

    @torch.inference_mode()
    def make(self, study: Study) -> Mapping[str, Volume]:
        grid = study["ct"].require(HU, name="ct").grid
        probability = tv_update(strength=self.tv, axis="z")(self.answers(study)).mean(0)
        return {"attention": self.on_ct(probability.clamp(0, 1), grid, FACTOR)}

    def _probability(self, batch: Batch) -> Tensor:
        seen = with_place(self.shown(batch), batch["place"])
        return torch.sigmoid(self.players["net"](seen, seen.new_zeros(len(seen))))


def dice_loss(probability: Tensor, mask: Tensor) -> Tensor:
    """One less Dice's coefficient of all pixels together (Milletari et al., 2016, without squares).

    A slice without high uptake has no coefficient of its own; one pixel more above and below keeps a batch finite.
    """
    both = (probability * mask).sum()
    return 1 - (2 * both + 1) / (probability.sum() + mask.sum() + 1)
