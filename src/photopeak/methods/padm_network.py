"""X_theta of PADM: a U-Net whose answer is half physics, NAC times a factor of learned path lengths (Eq. 11 to 15)."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core.errors import BadArgument
from photopeak.learn.feed import from_network, to_network
from photopeak.nets.unet import slice_unet
from photopeak.physics.attenuation import factor_of_paths

Domain = Literal["counts", "network"]
Part = Literal["all", "encoder", "middle", "decoder"]

LARGEST_EXPONENT = 8.0
SMALLEST_START = 0.04
PLACE_CHANNELS = 4


class CorrectionNetwork(nn.Module):
    """X_theta: from x_t and the condition C to path lengths, mu and an auxiliary image, joined into x_0 (Eq. 12 to 15).

    Parameters
    ----------
    context : channels of C, a NAC slice with its neighbours.
    channels : of the U-Net's levels.
    paths : N, path lengths per pixel; the paper tries 16, 32 and 64.
    alpha : share of the physics-made image in the answer, 0 to 1.
    factor : population AC over NAC by which AC is scaled; both images start at it.
    acf_domain : where NAC is multiplied. "counts", as physics has it; or "network", in -1 to 1, as public code of the
        lineage does: there a pixel at half the maximum cannot change and an empty one falls below nothing.

    Raises
    ------
    BadArgument : numbers or domains outside their meaning.
    """

    def __init__(
        self,
        *,
        context: int,
        channels: Sequence[int],
        fold: int = 1,
        paths: int,
        alpha: float,
        factor: float,
        acf_domain: Domain = "counts",
    ) -> None:
        super().__init__()
        if paths < 1 or not 0 <= alpha <= 1 or acf_domain not in get_args(Domain):
            raise BadArgument(
                f"paths={paths}, alpha={alpha:g}, acf_domain={acf_domain!r}",
                needed=f"at least 1, 0 to 1, one of {', '.join(get_args(Domain))}",
                remedy="The paper has 16 paths and a fixed alpha, 0.5 in the code of its lineage.",
            )
        self.alpha, self.factor, self.acf_domain = alpha, factor, acf_domain
        exponent = math.log(factor) if acf_domain == "counts" else SMALLEST_START
        self.start = math.log(math.expm1(math.sqrt(exponent)))
        self.unet = slice_unet(1 + context + PLACE_CHANNELS, 2 + paths, channels, fold=fold)

    def forward(self, x_t: Tensor, condition: Tensor, place: Tensor, y: Tensor, times: Tensor) -> Tensor:
        """x_0 [item, 1, row, column] in the network's range."""
        return self.with_mu(x_t, condition, place, y, times)[0]

    def with_mu(self, x_t: Tensor, condition: Tensor, place: Tensor, y: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """x_0 and the mu that made it, both [item, 1, row, column].

        Only mu times path counts, so mu has no unit unless it is supervised.
        """
        maps = place[:, :, None, None].expand(-1, -1, *x_t.shape[-2:])
        out = self.unet(torch.cat([x_t, condition, maps], dim=1), times)
        auxiliary = y + out[:, :1]
        mu = F.softplus(out[:, 1:2] + self.start)
        lengths = F.softplus(out[:, 2:] + self.start)
        acf = factor_of_paths((mu * lengths).clamp(max=LARGEST_EXPONENT), dim=1)[:, None]
        return self.alpha * self.corrected(y, acf) + (1 - self.alpha) * auxiliary, mu

    def corrected(self, y: Tensor, acf: Tensor) -> Tensor:
        """P(y): the slice times the correction factor, in the network's range (Eq. 14)."""
        if self.acf_domain == "network":
            return y * acf
        return to_network(from_network(y) * acf / self.factor)


def attention_transfer(student: Sequence[Tensor], teacher: Sequence[Tensor], part: Part = "all") -> Tensor:
    """L_AT, the mean over blocks of `distance` between two U-Nets' features [item, channel, row, column] (Eq. 16, 17).

    Taken on U-Net features: the printed choice C_S = y has no parameters and would teach nothing.

    Parameters
    ----------
    student, teacher : features of each block, from input to output.
    part : the blocks that count.
    """
    levels = len(student) // 2
    chosen = {
        "all": slice(None),
        "encoder": slice(levels),
        "middle": slice(levels, levels + 1),
        "decoder": slice(levels + 1, None),
    }[part]
    return torch.stack([distance(s, t) for s, t in zip(student[chosen], teacher[chosen], strict=True)]).mean()


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    """L2 distance of the normalised sums of squares over channels, mean over items."""
    mine, theirs = (F.normalize(f.square().sum(1).flatten(1), dim=1) for f in (student, teacher))
    return (mine - theirs).norm(dim=1).mean()
