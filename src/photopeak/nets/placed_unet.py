"""A U-Net of slices that knows the number of the slice it answers for.

DiffSPECT-3D adds sines and cosines of the slice number to those of the time. MONAI's own door for a number is the class
embedding, a vector that is added to that of the time; its table starts at the sines and cosines and learns from there.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn


class PlacedUNet(nn.Module):
    """A 2D U-Net with the embeddings of time and slice number; one residual block a level, attention at the coarsest.

    Parameters
    ----------
    inputs, outputs : channels of an image.
    depth : slices that there are.
    channels : of the levels, multiples of 8; the last also of 3, for its three heads.
    fold : blocks of fold x fold pixels are held as channels.
    """

    def __init__(self, inputs: int, outputs: int, *, depth: int, channels: Sequence[int], fold: int = 1) -> None:
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
            num_class_embeds=depth,
        )
        with torch.no_grad():
            table = self.unet.class_embedding.weight
            table.copy_(sinusoids(torch.arange(depth), table.shape[1]))

    def forward(self, x: Tensor, times: Tensor, numbers: Tensor) -> Tensor:
        """[item, outputs, row, column] from [item, inputs, row, column], times [item] and slice numbers [item]."""
        folded = self.unet(F.pixel_unshuffle(x, self.fold), times, class_labels=numbers)
        return F.pixel_shuffle(folded, self.fold)


def sinusoids(numbers: Tensor, size: int) -> Tensor:
    """[number, size] sines and cosines of numbers, wavelengths from 2 pi to 1000 times that (Vaswani et al. 2017)."""
    half = size // 2
    rates = torch.exp(-math.log(1000.0) * torch.arange(half) / max(half - 1, 1))
    angles = numbers[:, None] * rates
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, size - 2 * half))
