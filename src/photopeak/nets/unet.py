"""MONAI's diffusion U-Net in the sizes that run on two cores."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from photopeak.core.errors import BadArgument

HEADS = 3


class FoldedUNet(nn.Module):
    """A U-Net that works on blocks of `fold` x `fold` pixels, held as channels; rows and columns are multiples of it.

    Slices of 6.4 mm show what a camera resolves at 15 mm, so that little is lost, and a step takes a quarter at 2.
    With `labels` above 0 it has an embedding of so many labels beside the time's.
    """

    def __init__(self, inputs: int, outputs: int, channels: Sequence[int], fold: int, *, labels: int = 0) -> None:
        super().__init__()
        self.fold = fold
        self.unet = slice_unet(inputs * fold**2, outputs * fold**2, channels, labels=labels)

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """[item, outputs, row, column] from [item, inputs, row, column], times [item] and labels [item]."""
        folded = self.unet(F.pixel_unshuffle(x, self.fold), timesteps, class_labels=labels)
        return F.pixel_shuffle(folded, self.fold)


def slice_unet(inputs: int, outputs: int, channels: Sequence[int], *, fold: int = 1, labels: int = 0) -> nn.Module:
    """A 2D U-Net with time embedding; one residual block a level, self-attention at the coarsest.

    Channels are multiples of 8, those of the coarsest level also of 3, its heads. With `fold` above 1 it is a
    `FoldedUNet`; `labels` as there.

    Raises
    ------
    BadArgument : other channels.
    """
    if not channels or any(n < 8 or n % 8 for n in channels) or channels[-1] % HEADS:
        raise BadArgument(
            f"channels {list(channels)}",
            needed=f"multiples of 8, the last one also of {HEADS}",
            remedy="[32, 64, 96] is usual.",
        )
    if fold > 1:
        return FoldedUNet(inputs, outputs, channels, fold, labels=labels)
    network: nn.Module = DiffusionModelUNet(
        spatial_dims=2,
        in_channels=inputs,
        out_channels=outputs,
        channels=tuple(channels),
        attention_levels=(False,) * (len(channels) - 1) + (True,),
        num_res_blocks=1,
        norm_num_groups=8,
        num_head_channels=channels[-1] // HEADS,
        num_class_embeds=labels or None,
    )
    return network


@contextmanager
def watched(unet: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the features [item, channel, row, column] of each block of a U-Net while it runs in this context."""
    features: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        features.append(output[0] if isinstance(output, tuple) else output)

    blocks: Any = unet.unet if isinstance(unet, FoldedUNet) else unet
    hooks = [
        block.register_forward_hook(keep) for block in (*blocks.down_blocks, blocks.middle_block, *blocks.up_blocks)
    ]
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()
