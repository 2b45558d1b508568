"""Learnt registration of one image to another as in RegGAN (Kong et al., NeurIPS 2021): flow, warp, smoothness."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core.errors import BadArgument, ShapeMismatch


class Registration(nn.Module):
    """A residual U-Net from a moving and a fixed image to the flow that warps the first onto the second.

    The flow is zero at the start: the last layer's weights are.

    Parameters
    ----------
    images : channels of the moving and of the fixed image together.
    channels : of the levels, finest first, each half as fine as the one before.
    blocks : residual blocks at the coarsest level.

    Raises
    ------
    BadArgument : fewer than two levels.
    """

    def __init__(self, images: int = 2, *, channels: Sequence[int] = (32, 64, 64, 64), blocks: int = 3) -> None:
        super().__init__()
        if len(channels) < 2:
            raise BadArgument(f"channels={tuple(channels)}", needed="at least two levels", remedy="Try (32, 64, 64).")
        self.down = nn.ModuleList(
            _Residual(inputs, outputs) for inputs, outputs in zip([images, *channels], channels, strict=False)
        )
        self.bottom = nn.Sequential(*(_Residual(channels[-1], channels[-1]) for _ in range(blocks)))
        self.up = nn.ModuleList(
            _Residual(channels[n] + channels[n - 1], channels[n - 1]) for n in range(len(channels) - 1, 0, -1)
        )
        self.refine = _Residual(channels[0], channels[0])
        self.flow = nn.Conv2d(channels[0], 2, 3, padding=1)
        for weight in self.flow.parameters():
            nn.init.zeros_(weight)

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Flow [item, 2, row, column] in pixels along (row, column), of images [item, channel, row, column].

        Raises
        ------
        ShapeMismatch : images of different size.
        """
        if moving.shape[-2:] != fixed.shape[-2:]:
            raise ShapeMismatch(
                f"images of {tuple(moving.shape)} and {tuple(fixed.shape)}",
                needed="the same rows and columns",
                remedy="Resample one to the other's grid.",
            )
        x = torch.cat([moving, fixed], dim=1)
        skips: list[Tensor] = []
        for level, down in enumerate(self.down):
            x = down(F.avg_pool2d(x, 2, ceil_mode=True) if level else x)
            skips.append(x)
        x = self.bottom(skips.pop())
        for up in self.up:
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = up(torch.cat([x, skip], dim=1))
        flow: Tensor = self.flow(self.refine(x))
        return flow


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.same: nn.Module = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.same(x) + self.change(x), 0.2)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """The image read, bilinearly, at each pixel plus its flow; beyond the border the border's values.

    Parameters
    ----------
    image : [item, channel, row, column].
    flow : [item, 2, row, column] in pixels along (row, column).

    Raises
    ------
    ShapeMismatch : a flow that is not two numbers for each pixel.
    """
    items, _, rows, columns = image.shape
    if flow.shape != (items, 2, rows, columns):
        raise ShapeMismatch(
            f"a flow of {tuple(flow.shape)}",
            needed=f"{(items, 2, rows, columns)} for an image of {tuple(image.shape)}",
            remedy="Register the image that is warped.",
        )
    row = torch.arange(rows, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 0]
    column = torch.arange(columns, device=flow.device, dtype=flow.dtype) + flow[:, 1]
    where = torch.stack([2 * column / (columns - 1) - 1, 2 * row / (rows - 1) - 1], dim=-1)
    return F.grid_sample(image, where, mode="bilinear", padding_mode="border", align_corners=True)


def roughness(flow: Tensor) -> Tensor:
    """Mean squared difference between neighbours along rows plus that along columns, in pixels squared."""
    return flow.diff(dim=-1).square().mean() + flow.diff(dim=-2).square().mean()
