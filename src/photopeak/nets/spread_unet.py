"""A U-Net that answers with a distribution for each pixel: a generalised Gaussian (Upadhyay et al., MICCAI 2021).

``p(x) = beta / (2 alpha Gamma(1/beta)) exp(-(|x - mean| / alpha)^beta)``: beta is 1 for Laplace's and 2 for the normal
distribution; the smaller it is, the heavier the tails.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from photopeak.nets.unet import slice_unet

LEAST_ALPHA = 0.01
"""In units of the image. In air all answers are right, and the likelihood would have no other wish than to say so."""
LEAST_BETA, LARGEST_BETA = 0.5, 3.0
_NO_DISTANCE = 1e-6
"""Below it the slope of a power less than 1 is not followed any more; it has no limit."""


@dataclass(frozen=True)
class Spread:
    """A generalised Gaussian for each pixel.

    Parameters
    ----------
    mean, alpha, beta : position, scale and shape [item, 1, row, column]; the latter two are positive.
    """

    mean: Tensor
    alpha: Tensor
    beta: Tensor

    @property
    def sd(self) -> Tensor:
        """Standard deviation [item, 1, row, column]: ``alpha sqrt(Gamma(3/beta) / Gamma(1/beta))`` (Eq. 3)."""
        return self.alpha * torch.exp(0.5 * (torch.lgamma(3 / self.beta) - torch.lgamma(1 / self.beta)))

    def surprise(self, image: Tensor) -> Tensor:
        """Negative logarithm of the density at an image [item, 1, row, column], in nats a pixel (Eq. 1).

        The paper leaves out the constant, ln 2.
        """
        distance = (image - self.mean).abs().clamp(min=_NO_DISTANCE) / self.alpha
        return distance**self.beta - torch.log(self.beta / (2 * self.alpha)) + torch.lgamma(1 / self.beta)


class SpreadUNet(nn.Module):
    """A U-Net with a head of two convolutions for each of mean, alpha and beta.

    Parameters
    ----------
    inputs : channels of the images.
    channels, fold : of the U-Net, as for `slice_unet`.
    features : channels that the heads see.
    """

    def __init__(self, inputs: int, *, channels: Sequence[int], fold: int = 1, features: int = 8) -> None:
        super().__init__()
        self.trunk = slice_unet(inputs, features, channels, fold=fold)
        self.heads = nn.ModuleDict({name: _head(features) for name in ("mean", "alpha", "beta")})

    def forward(self, images: Tensor) -> Spread:
        """The distributions of images [item, inputs, row, column]; they start near Laplace's of scale 0.1."""
        seen = self.trunk(images, images.new_zeros(len(images)))
        mean, alpha, beta = (head(seen) for head in self.heads.values())
        shape = LEAST_BETA + (LARGEST_BETA - LEAST_BETA) * torch.sigmoid(beta - 1.4)
        return Spread(mean, LEAST_ALPHA + nn.functional.softplus(alpha - 2.3), shape)


def _head(features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.SiLU(),
        nn.Conv2d(features, features, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(features, 1, 3, padding=1),
    )
