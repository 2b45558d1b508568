"""A U-Net of slices that knows the number of the slice it answers for.

DiffSPECT-3D adds sines and cosines of the slice number to those of the time. MONAI's own door for a number is the class
embedding, a vector that is added to that of the time; its table starts at the sines and cosines and learns from there.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.nets.unet import FoldedUNet


class PlacedUNet(FoldedUNet):
    """A `FoldedUNet` with an embedding of the slice's number, which is its label.

    Parameters
    ----------
    inputs, outputs : channels of an image.
    depth : slices that there are.
    channels, fold : as for `slice_unet`; a fold of 1 is allowed.
    """

    def __init__(self, inputs: int, outputs: int, *, depth: int, channels: Sequence[int], fold: int = 1) -> None:
        super().__init__(inputs, outputs, channels, fold, labels=depth)
        unet: Any = self.unet
        with torch.no_grad():
            table = unet.class_embedding.weight
            table.copy_(sinusoids(torch.arange(depth), table.shape[1]))


def sinusoids(numbers: Tensor, size: int) -> Tensor:
    """[number, size] sines and cosines of numbers, wavelengths from 2 pi to 1000 times that (Vaswani et al. 2017)."""
    half = size // 2
    rates = torch.exp(-math.log(1000.0) * torch.arange(half) / max(half - 1, 1))
    angles = numbers[:, None] * rates
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, size - 2 * half))
