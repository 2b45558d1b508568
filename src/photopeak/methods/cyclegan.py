"""CycleGAN: NAC and AC slices into each other and back, without pairs (Zhu et al., ICCV 2017, arXiv 1703.10593).

No term of the loss compares a NAC slice with its own AC slice, so it makes no difference that the feed has pairs. The
paper's pool of 50 earlier fakes is left out: it would be a state that training carries from step to step.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartSlices
from photopeak.methods.slice_method import in_chunks, middle, with_place
from photopeak.nets.patch_critic import PatchCritic
from photopeak.nets.resnet_generator import ResNetGenerator


class CycleGAN(HeartSlices):
    """Two generators and two critics; in use the generator of AC alone.

    Slices come without their neighbours: an AC slice turned into NAC has none, and has to come back.

    Parameters
    ----------
    feed : arguments of SliceFeed.
    width, blocks : of the generators.
    critic_width, critic_layers : of the critics; 3 layers see 70x70 pixels.
    cycle : weight of the way there and back (lambda).
    identity : weight, in units of `cycle`, of leaving an image alone that is already as wanted (section 5.2).
    """

    name = "cyclegan"
    betas = (0.5, 0.999)

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        width: int = 64,
        blocks: int = 9,
        critic_width: int = 64,
        critic_layers: int = 3,
        cycle: float = 10.0,
        identity: float = 0.5,
    ) -> None:
        super().__init__(feed)
        self.arguments |= {
            "width": width,
            "blocks": blocks,
            "critic_width": critic_width,
            "critic_layers": critic_layers,
            "cycle": cycle,
            "identity": identity,
        }
        self.cycle, self.identity = cycle, identity
        inputs = 1 + self.feed.places
        self.to_ac, self.to_nac = (ResNetGenerator(inputs, 1, width=width, blocks=blocks) for _ in range(2))
        self.critic_ac, self.critic_nac = (
            PatchCritic(1, width=critic_width, layers=critic_layers, game="least_squares") for _ in range(2)
        )
        self.players = nn.ModuleDict(
            {
                "critic": nn.ModuleDict({"ac": self.critic_ac, "nac": self.critic_nac}),
                "generator": nn.ModuleDict({"ac": self.to_ac, "nac": self.to_nac}),
            }
        )

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Equations 1 to 3 of the paper, with the least squares of section 4 and the identity of section 5.2."""
        nac, ac, place = middle(batch["given"]), batch["target"], batch["place"]
        fake_ac, fake_nac = self.to_ac(with_place(nac, place)), self.to_nac(with_place(ac, place))
        yield "critic", self.critic_ac.told_apart(ac, fake_ac) + self.critic_nac.told_apart(nac, fake_nac)
        back = F.l1_loss(self.to_nac(with_place(fake_ac, place)), nac)
        back = back + F.l1_loss(self.to_ac(with_place(fake_nac, place)), ac)
        loss = self.critic_ac.fooled(fake_ac) + self.critic_nac.fooled(fake_nac) + self.cycle * back
        if self.identity > 0:
            left = F.l1_loss(self.to_ac(with_place(ac, place)), ac) + F.l1_loss(
                self.to_nac(with_place(nac, place)), nac
            )
            loss = loss + self.cycle * self.identity * left
        yield "generator", loss

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        return in_chunks(lambda part: self.to_ac(with_place(middle(part["given"]), part["place"])), condition)[:, 0]
