"""A U-Net of slices that knows which share of the usual counts an image was made of.

The share goes through MONAI's door for a number beside the time, as the number of a slice does in `placed_unet`; since
it is not one of a list, two layers take the place of the table.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from photopeak.nets.placed_unet import sinusoids
from photopeak.nets.unet import FoldedUNet


class DosedUNet(FoldedUNet):
    """A `FoldedUNet` with an embedding of the count fraction, which is its label.

    Parameters
    ----------
    inputs, outputs : channels of an image.
    channels, fold : as for `slice_unet`; a fold of 1 is allowed.
    """

    def __init__(self, inputs: int, outputs: int, *, channels: Sequence[int], fold: int = 1) -> None:
        super().__init__(inputs, outputs, channels, fold, labels=1)
        unet: Any = self.unet
        unet.add_module("class_embedding", DoseEmbedding(unet.class_embedding.embedding_dim))


class DoseEmbedding(nn.Module):
    """[item, size] from fractions [item], more than 0: sines and cosines of decibels, and two layers."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.layers = nn.Sequential(nn.Linear(size, size), nn.SiLU(), nn.Linear(size, size))

    def forward(self, fractions: Tensor) -> Tensor:
        codes: Tensor = self.layers(sinusoids(-10 * torch.log10(fractions.cpu()), self.size).to(fractions))
        return codes
