"""A U-Net of slices that knows which share of the usual counts an image was made of.

The share goes through MONAI's door for a number beside the time, as the number of a slice does in `placed_unet`; since
it is not one of a list, two layers take the place of the table.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from photopeak.nets.placed_unet import sinusoids


class DosedUNet(nn.Module):
    """A 2D U-Net with embeddings of time and dose; one residual block a level, attention at the coarsest.

    Parameters
    ----------
    inputs, outputs : channels of an image.
    channels : of the levels, multiples of 8; the last also of 3, for its three heads.
    fold : blocks of fold x fold pixels are held as channels.
    """

    def __init__(self, inputs: int, outputs: int, *, channels: Sequence[int], fold: int = 1) -> None:
        super().__init__()
        self.fold = fold
        self.unet = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=inputs * fold**2,
            out_channels=outputs * fold**2,
            channels=tuple(channels),
            attention_levels=(False,) * (len(channels) - 1) + (True,),
            num_res_blocks=1,
            norm_num_groups=8,
            num_head_channels=channels[-1] // 3,
            num_class_embeds=1,
        )
        self.unet.add_module("class_embedding", DoseEmbedding(self.unet.class_embedding.embedding_dim))

    def forward(self, x: Tensor, times: Tensor, fractions: Tensor) -> Tensor:
        """[item, outputs, row, column] from [item, inputs, row, column], times [item] and count fractions [item]."""
        folded = self.unet(F.pixel_unshuffle(x, self.fold), times, class_labels=fractions)
        return F.pixel_shuffle(folded, self.fold)


class DoseEmbedding(nn.Module):
    """[item, size] from fractions [item], more than 0: sines and cosines of decibels, and two layers."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.layers = nn.Sequential(nn.Linear(size, size), nn.SiLU(), nn.Linear(size, size))

    def forward(self, fractions: Tensor) -> Tensor:
        codes: Tensor = self.layers(sinusoids(-10 * torch.log10(fractions.cpu()), self.size).to(fractions))
        return codes
