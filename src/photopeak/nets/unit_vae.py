"""UNIT's networks: two autoencoders that meet in one latent space, and patch critics that look at several scales.

Liu, Breuel and Kautz, NeurIPS 30 (2017), arXiv 1703.00848, in the sizes of its later public form: convolutional
encoders with instance norm, nearest-neighbour upsampling with layer norm, latent noise of variance 1.
Difference: the last layer is linear, not tanh, for images that are not bound to [-1, 1].
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn

from photopeak.core.errors import BadArgument
from photopeak.nets.resvit import ResidualBlock


class SharedLatentVAE(nn.Module):
    """An encoder and a decoder for each domain; the blocks next to the latent space are the same for all domains.

    Parameters
    ----------
    domains : channels of the images of each domain, by name.
    channels : after the first convolution; doubled at each stride.
    strides : of 2 between the image and the latent space; rows and columns are a multiple of ``2 ** strides``.
    blocks : residual blocks of an encoder, and of a decoder.
    shared : how many of these the domains have in common (the paper's high-level layers).
    """

    def __init__(
        self, domains: Mapping[str, int], *, channels: int = 64, strides: int = 2, blocks: int = 4, shared: int = 1
    ) -> None:
        super().__init__()
        if not 0 <= shared <= blocks:
            raise BadArgument(f"shared={shared}", needed=f"0 to {blocks} blocks", remedy="The paper shares 1.")
        self.strides, deep = strides, channels << strides
        own = blocks - shared
        self.encoders = nn.ModuleDict({name: _encoder(n, channels, strides, own) for name, n in domains.items()})
        self.decoders = nn.ModuleDict({name: _decoder(n, channels, strides, own) for name, n in domains.items()})
        self.into_latent, self.out_of_latent = (
            nn.Sequential(*(ResidualBlock(deep) for _ in range(shared))) for _ in range(2)
        )

    def encode(self, image: Tensor, domain: str) -> Tensor:
        """Mean of the latent normal, of variance 1, for an image [item, channel, row, column] of the domain.

        Returns
        -------
        Tensor : [item, ``channels * 2**strides``, ``row / 2**strides``, ``column / 2**strides``].
        """
        mean: Tensor = self.into_latent(self.encoders[domain](image))
        return mean

    def decode(self, latent: Tensor, domain: str) -> Tensor:
        """The domain's image [item, channel, row, column] for a latent of either domain."""
        image: Tensor = self.decoders[domain](self.out_of_latent(latent))
        return image


class ScaledCritics(nn.Module):
    """Patch critics without normalisation, one for the image and one for each halving of it.

    Parameters
    ----------
    inputs : channels of the image.
    channels : of the first layer; doubled in each further one.
    layers : strides of 2 of each critic.
    scales : number of critics; sides of ``3 * 2 ** (layers + scales - 1)`` pixels are the least (`least_side`).
    """

    def __init__(self, inputs: int, *, channels: int = 64, layers: int = 4, scales: int = 3) -> None:
        super().__init__()
        if layers < 1 or scales < 1:
            raise BadArgument(
                f"{layers} layers, {scales} scales", needed="at least 1 of each", remedy="The paper has 4 and 3."
            )
        without: Any = None
        self.critics = nn.ModuleList(
            PatchDiscriminator(
                spatial_dims=2, channels=channels, in_channels=inputs, num_layers_d=layers, norm=without, bias=True
            )
            for _ in range(scales)
        )

    @staticmethod
    def least_side(layers: int, scales: int) -> int:
        """Rows or columns below which a critic has nothing left to look at."""
        return 3 << (layers + scales - 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Verdicts [item, 1, row, column], from the finest scale to the coarsest; no sigmoid."""
        verdicts = []
        for critic in self.critics:
            verdicts.append(critic(image)[-1])
            image = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
        return verdicts


def _encoder(inputs: int, channels: int, strides: int, blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, channels, 7, padding=3, padding_mode="reflect", bias=False),
        nn.InstanceNorm2d(channels, affine=True),
        nn.ReLU(),
    ]
    for level in range(strides):
        layers += [
            nn.Conv2d(channels << level, channels << (level + 1), 4, stride=2, padding=1, bias=False),
            nn.InstanceNorm2d(channels << (level + 1), affine=True),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, *(ResidualBlock(channels << strides) for _ in range(blocks)))


def _decoder(outputs: int, channels: int, strides: int, blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = [ResidualBlock(channels << strides) for _ in range(blocks)]
    for level in reversed(range(strides)):
        layers += [
            nn.Upsample(scale_factor=2),
            nn.Conv2d(channels << (level + 1), channels << level, 5, padding=2, padding_mode="reflect"),
            nn.GroupNorm(1, channels << level),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.Conv2d(channels, outputs, 7, padding=3, padding_mode="reflect"))
