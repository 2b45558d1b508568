"""A critic of patches (PatchGAN; Isola et al., CVPR 2017, section 3.2.2) and two losses of the adversarial game."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn

from photopeak.core.errors import BadArgument, ShapeMismatch

Game = Literal["cross_entropy", "least_squares"]


class PatchCritic(nn.Module):
    """MONAI's patch discriminator, asked for scores and for what each side of the game has to lower.

    Parameters
    ----------
    inputs : channels of the images.
    width : channels of the first convolution.
    layers : convolutions between the first and the last; 3 see 70x70 pixels, as in the paper, 2 see 34x34.
    game : cross entropy (Goodfellow et al., 2014, with the generator's non-saturating form) or least squares to 0 and 1
        (Mao et al., LSGAN, ICCV 2017).
    pooled : one score an image, the mean of its patches', as in RegGAN.

    Raises
    ------
    BadArgument : an unknown game, or no layers.
    """

    def __init__(self, inputs: int, *, width: int = 64, layers: int = 3, game: Game, pooled: bool = False) -> None:
        super().__init__()
        if game not in get_args(Game):
            raise BadArgument(f"game {game!r}", needed=" or ".join(get_args(Game)), remedy="Check the spelling.")
        if layers < 1:
            raise BadArgument(f"layers={layers}", needed="at least 1", remedy="3 is the paper's.")
        self.game, self.pooled = game, pooled
        self.smallest = 3 * 2**layers
        self.net: nn.Module = PatchDiscriminator(
            spatial_dims=2, channels=width, in_channels=inputs, num_layers_d=layers, norm="INSTANCE"
        )

    def forward(self, image: Tensor) -> Tensor:
        """Scores [item, 1, row, column] of the patches of images [item, channel, row, column]; high is real.

        Raises
        ------
        ShapeMismatch : an image too small for so many layers.
        """
        rows, columns = image.shape[-2:]
        if min(rows, columns) < self.smallest:
            raise ShapeMismatch(
                f"an image of {rows}x{columns}", needed=f"at least {self.smallest} pixels", remedy="Use fewer layers."
            )
        scores: Tensor = self.net(image)[-1]
        return scores.mean(dim=(2, 3), keepdim=True) if self.pooled else scores

    def told_apart(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss: half the sum over real, wanted at 1, and detached fake images, wanted at 0."""
        return (self._distance(self(real), 1.0) + self._distance(self(fake.detach()), 0.0)) / 2

    def fooled(self, fake: Tensor) -> Tensor:
        """The generator's loss: fake images wanted at 1; no gradient reaches the critic's own weights."""
        fixed = {name: weight.detach() for name, weight in self.named_parameters()}
        return self._distance(torch.func.functional_call(self, fixed, (fake,)), 1.0)

    def _distance(self, scores: Tensor, label: float) -> Tensor:
        wanted = torch.full_like(scores, label)
        if self.game == "cross_entropy":
            return F.binary_cross_entropy_with_logits(scores, wanted)
        return F.mse_loss(scores, wanted)
