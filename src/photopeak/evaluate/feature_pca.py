"""What a denoiser looks at: principal components of its features at early, middle and final steps (CPDM, Figure 4).

The components are those of all three moments together, so that one colour is one feature throughout a row. The paper
reads from such pictures that maps keep features inside the body; `share_within` puts a number to it.
"""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from photopeak.core.errors import BadArgument, BadValues
from photopeak.evaluate.figures import WIDTH_IN, axes_at, figure_of, png_of
from photopeak.evaluate.pet_mip import HIGHEST_SUV, PET_NOTICE, SOFT_TISSUE_HU
from photopeak.nets.unet import watched

MOMENTS = ("early", "middle", "final")
COMPONENTS = 3
ENDS = (0.02, 0.98)
"""Quantiles of a component that become no colour and full colour."""
LABEL_IN, HEAD_IN, GAP_IN = 1.35, 0.55, 0.06
TEXT, SMALL, LABEL_WRAP = 10, 8, 16


@dataclass(frozen=True, eq=False)
class FeatureRow:
    """One method's row of the figure.

    Parameters
    ----------
    components : [moment, component, row, column] of `principal_components`.
    answer : the PET that it ended with, [row, column] in SUV.
    """

    components: Tensor
    answer: Tensor


def features_at_moments(unet: nn.Module, sample: Callable[[], object], *, block: int = -1) -> Tensor:
    """Features [moment, channel, row, column] of one block at the first, middle and last evaluation in `sample`.

    Parameters
    ----------
    unet : of `nets.unet`, which `sample` evaluates again and again, the item of interest first.
    block : of those of the U-Net, down, in the middle, and up; the last has the rows and columns of its input.

    Raises
    ------
    BadArgument : a sample of fewer evaluations than there are moments.
    """
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    counter = unet.register_forward_hook(count)
    try:
        with watched(unet) as features, torch.inference_mode():
            sample()
    finally:
        counter.remove()
    if calls < len(MOMENTS):
        raise BadArgument(
            f"{calls} evaluations of the network", needed=f"at least {len(MOMENTS)}", remedy="Sample in more steps."
        )
    each = len(features) // calls
    chosen = (0, (calls - 1) // 2, calls - 1)
    return torch.stack([features[call * each + block % each][0] for call in chosen])


def principal_components(features: Tensor, count: int = COMPONENTS) -> Tensor:
    """The first components [image, component, row, column] over the pixels of all images, largest variance first.

    Pearson 1901, by singular values; the channel that weighs most in a component has a positive weight.

    Parameters
    ----------
    features : [image, channel, row, column].

    Raises
    ------
    BadArgument : fewer channels than components.
    BadValues : features that are the same everywhere.
    """
    images, channels, rows, columns = features.shape
    if channels < count:
        raise BadArgument(f"{channels} channels", needed=f"at least {count}", remedy="Watch another block.")
    pixels = features.permute(0, 2, 3, 1).reshape(-1, channels).double()
    centred = pixels - pixels.mean(dim=0)
    if not bool(centred.any()):
        raise BadValues("features that are the same everywhere", needed="a picture", remedy="Watch another block.")
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    axes = directions[:count]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    found = centred @ (axes * largest.sign()).T
    return found.reshape(images, rows, columns, count).permute(0, 3, 1, 2)


def share_within(components: Tensor, inside: Tensor) -> list[float]:
    """The part of each image's variance of components that is inside a mask, from 0 to 1.

    A picture without a preference has the mask's own part of the area.

    Parameters
    ----------
    components : [image, component, row, column].
    inside : [row, column], how much of each pixel is inside; of any size.
    """
    weight = torch.nn.functional.interpolate(inside[None, None].double(), components.shape[-2:], mode="area")[0, 0]
    power = (components - components.mean(dim=(-2, -1), keepdim=True)).square().sum(dim=1)
    return ((power * weight).sum(dim=(-2, -1)) / power.sum(dim=(-2, -1))).tolist()


def coloured(components: Tensor) -> np.ndarray:
    """Pictures [image, row, column, 3] from 0 to 1 of three components: red, green and blue."""
    values = components.permute(1, 0, 2, 3).flatten(1)
    low, high = (torch.quantile(values, end, dim=1)[:, None, None] for end in ENDS)
    scaled = ((components - low) / (high - low).clamp(min=torch.finfo(values.dtype).tiny)).clamp(0, 1)
    return scaled.permute(0, 2, 3, 1).numpy()


def features_figure(
    rows: Mapping[str, FeatureRow], *, ct: Tensor, pet: Tensor, inside: Tensor, aspect: float, title: str
) -> bytes:
    """Rows of methods: features at each moment with their share inside the body, and the answer; CT and PET above.

    Parameters
    ----------
    ct, pet : the slice [row, column], HU and SUV.
    inside : bool [row, column], the body.
    aspect : height of a pixel over its width.

    Raises
    ------
    BadArgument : no method.
    """
    if not rows:
        raise BadArgument("no method", needed="one that has a denoiser", remedy="Name entries under features.")
    columns = len(MOMENTS) + 1
    across = (WIDTH_IN - LABEL_IN) / columns - GAP_IN
    up = across * aspect * ct.shape[0] / ct.shape[1]
    figure, height = figure_of(HEAD_IN + (up + 0.25) * (len(rows) + 1), PET_NOTICE)
    area = 100 * float(inside.double().mean())
    told = f"{title}; features of the last block, % of their variance in the body ({area:.0f} % of the area)"
    figure.text(0.5, 1 - 0.08 / height, told, fontsize=TEXT, ha="center", va="top")

    def show(line: int, column: int, picture: np.ndarray, name: str, **how: object) -> None:
        left, low = LABEL_IN + column * (across + GAP_IN), height - HEAD_IN - (line + 1) * (up + 0.25) + 0.02
        axes = axes_at(figure, (left, low, across, up))
        axes.imshow(picture, aspect="auto", **how)
        where = ((left + across / 2) / WIDTH_IN, (low + up + 0.03) / height)
        figure.text(*where, name, fontsize=SMALL, ha="center", va="bottom")

    suv = {"cmap": "gray_r", "vmin": 0, "vmax": HIGHEST_SUV}
    low, high = SOFT_TISSUE_HU
    show(0, 0, ct.numpy(), f"CT, {low:g} to {high:g} HU", cmap="gray", vmin=low, vmax=high)
    show(0, 1, pet.numpy(), f"PET, SUV 0 to {HIGHEST_SUV:g}", **suv)
    for line, (label, row) in enumerate(rows.items(), start=1):
        middle = height - HEAD_IN - (line + 0.5) * (up + 0.25)
        figure.text(0.08 / WIDTH_IN, middle / height, textwrap.fill(label, LABEL_WRAP), fontsize=TEXT, va="center")
        shares = share_within(row.components, inside)
        for column, (moment, picture) in enumerate(zip(MOMENTS, coloured(row.components), strict=True)):
            show(line, column, picture, f"{moment} step: {100 * shares[column]:.0f} %")
        show(line, len(MOMENTS), row.answer.numpy(), "answer", **suv)
    return png_of(figure)
