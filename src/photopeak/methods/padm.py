"""PADM: physics-aware Brownian bridge from NAC to AC slices, teacher with CT and student without (arXiv 2511.06948).

Readings of doubtful places: docs/decisions.md. In the order of the paper: condition C (Eq. 5, 6), bridge (Eq. 7,
Algorithms 1 and 2), correction factor from learned path lengths (Eq. 11 to 15), attention transfer (Eq. 16 to 18).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core import FACTOR, Grid, Study, attenuation
from photopeak.core.errors import BadArgument
from photopeak.core.units import TC99M_KEV
from photopeak.diffusion.bridge import BrownianBridge
from photopeak.diffusion.samplers import sample_bridge
from photopeak.learn.feed import from_network, to_network
from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartBatches, HeartSlices, in_chunks
from photopeak.nets.crossmodal import CrossModal
from photopeak.nets.unet import slice_unet, watched
from photopeak.physics.attenuation import correction_factor, factor_of_paths

LARGEST_EXPONENT = 8.0
PLACE_CHANNELS = 4
USUAL_MU_PER_CM = 0.15


class CorrectionNetwork(nn.Module):
    """X_theta: from x_t and the condition C to path lengths, mu and an auxiliary image, joined into x_0 (Eq. 12 to 15).

    Parameters
    ----------
    context : channels of C, a NAC slice with its neighbours.
    channels : of the U-Net's levels.
    paths : N, path lengths per pixel.
    alpha : share of the physics-made image in the answer.
    factor : population AC over NAC by which AC is scaled; both images start at it.
    """

    def __init__(self, *, context: int, channels: Sequence[int], paths: int, alpha: float, factor: float) -> None:
        super().__init__()
        self.alpha, self.factor = alpha, factor
        self.start = math.log(math.expm1(math.sqrt(math.log(factor))))
        self.unet = slice_unet(1 + context + PLACE_CHANNELS, 2 + paths, channels)

    def forward(self, x_t: Tensor, condition: Tensor, place: Tensor, y: Tensor, times: Tensor) -> Tensor:
        """x_0 [item, 1, row, column] in the network's range."""
        maps = place[:, :, None, None].expand(-1, -1, *x_t.shape[-2:])
        out = self.unet(torch.cat([x_t, condition, maps], dim=1), times)
        auxiliary = y + out[:, :1]
        mu = F.softplus(out[:, 1:2] + self.start)
        lengths = F.softplus(out[:, 2:] + self.start)
        factor = factor_of_paths((mu * lengths).clamp(max=LARGEST_EXPONENT), dim=1)[:, None]
        physical = to_network(from_network(y) * factor / self.factor)
        return self.alpha * physical + (1 - self.alpha) * auxiliary


class PADM(HeartSlices):
    """The student: reads "nac" and nothing else.

    Parameters
    ----------
    feed : arguments of SliceFeed.
    channels, paths, alpha : of CorrectionNetwork; the paper's N is 16.
    bridge_steps, variance : T and s of the bridge.
    transfer : lambda, weight of attention transfer and of the teacher's answer.
    """

    name = "padm"

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: Sequence[int] = (32, 64, 96),
        paths: int = 16,
        alpha: float = 0.5,
        bridge_steps: int = 500,
        variance: float = 1.0,
        transfer: float = 0.03,
    ) -> None:
        super().__init__(feed)
        self.arguments |= {
            "channels": list(channels),
            "paths": paths,
            "alpha": alpha,
            "bridge_steps": bridge_steps,
            "variance": variance,
            "transfer": transfer,
        }
        self.bridge = BrownianBridge(bridge_steps, variance)
        self.transfer = transfer
        self.steps = 1
        self.teacher: PADMTeacher | None = None
        network = CorrectionNetwork(
            context=self.feed.context, channels=channels, paths=paths, alpha=alpha, factor=self.feed.factor
        )
        self.players = nn.ModuleDict({"net": nn.ModuleDict({"correct": network})})

    def using(self, *, steps: int = 1, samples: int = 1, seed: int = 0) -> Self:
        """Settings of use: network evaluations per sample, number of samples, seed."""
        self.bridge.times(steps)
        other = super().using(samples=samples, seed=seed)
        other.steps = steps
        return other

    def settings(self) -> Mapping[str, Any]:
        return {"steps": self.steps, **super().settings()}

    def learn_from(self, teacher: "PADMTeacher") -> None:
        """Start from a teacher's network and align with its attention while training; the teacher stays frozen."""
        if teacher.arguments != self.arguments:
            raise BadArgument(
                f"a teacher with {teacher.arguments}",
                needed=f"{self.arguments}",
                remedy="Give both the same arguments.",
            )
        self._network.load_state_dict(teacher._network.state_dict())
        teacher.players.requires_grad_(False).eval()
        self.teacher = teacher

    @property
    def _network(self) -> CorrectionNetwork:
        network: Any = self.players["net"]["correct"]  # type: ignore[index]
        return network

    def batches(self, studies: Sequence[Study], *, seed: int) -> HeartBatches:
        return HeartBatches(self.teacher or self, studies, seed=seed)

    def fused(self, batch: Batch) -> Tensor:
        """C, the condition of the bridge: NAC itself for the student."""
        return batch["nac"]

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Algorithm 1: L1 between X_theta and x_0 at a random time, plus what the teacher adds (Eq. 18)."""
        x0, y = batch["ac"], _middle(batch["nac"])
        times = torch.randint(self.bridge.steps, (len(x0),), generator=generator)
        x_t = self.bridge.at(x0, y, times, torch.randn(x0.shape, generator=generator))
        if self.teacher is None:
            yield "net", F.l1_loss(self._network(x_t, self.fused(batch), batch["place"], y, times), x0)
            return
        with watched(self._network.unet) as mine, watched(self.teacher._network.unet) as theirs:
            answer = self._network(x_t, self.fused(batch), batch["place"], y, times)
            with torch.no_grad():
                taught = self.teacher._network(x_t, self.teacher.fused(batch), batch["place"], y, times)
        aligned = torch.stack([attention_transfer(s, t) for s, t in zip(mine, theirs, strict=True)]).mean()
        yield "net", F.l1_loss(answer, x0) + self.transfer * (aligned + F.l1_loss(answer, taught))

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        y = _middle(condition["nac"])
        known = {"nac": condition["nac"], "place": condition["place"], "y": y, "c": in_chunks(self.fused, condition)}

        def estimate(x_t: Tensor, time: int) -> Tensor:
            def network(part: Batch) -> Tensor:
                times = torch.full((len(part["y"]),), time)
                return self._network(part["x_t"], part["c"], part["place"], part["y"], times)

            return in_chunks(network, {**known, "x_t": x_t})

        return sample_bridge(estimate, y, self.bridge, steps=self.steps, generator=generator)[:, 0]


class PADMTeacher(PADM):
    """The teacher: also sees the attenuation map, resampled into the slices' frame, and Chang's factor made from it.

    The factor of a voxel tells what lies between it and the detectors, beyond the edge of the slice.
    """

    name = "padm_teacher"
    reads = ("nac", "mu")

    def __init__(self, feed: Mapping[str, Any] | None = None, **arguments: Any) -> None:
        super().__init__(feed, **arguments)
        self.players["net"]["fuse"] = CrossModal(self.feed.context, 2 * self.feed.context)  # type: ignore[operator]

    def cubes(self, study: Study, grid: Grid) -> dict[str, Tensor]:
        mu = study["mu"].require(attenuation(TC99M_KEV), name="mu")
        factor = correction_factor(mu.data, mu.grid.spacing_mm[0], views=30, start_deg=-45.0, arc_deg=180.0)
        path = mu.with_data(factor.log(), FACTOR)
        return {**super().cubes(study, grid), "mu": mu.on(grid).data / USUAL_MU_PER_CM, "path": path.on(grid).data}

    def fused(self, batch: Batch) -> Tensor:
        """C = CrossAttn(y, A) (Eq. 5)."""
        fuse: Any = self.players["net"]["fuse"]  # type: ignore[index]
        answer: Tensor = fuse(batch["nac"], torch.cat([batch["mu"], batch["path"]], dim=1))
        return answer


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """L_AT between feature maps [item, channel, row, column]: L2 distance of normalised sums of squares (Eq. 16, 17).

    Taken on U-Net features: the printed choice C_S = y has no parameters and would teach nothing.
    """
    mine, theirs = (F.normalize(f.square().sum(1).flatten(1), dim=1) for f in (student, teacher))
    return (mine - theirs).norm(dim=1).mean()


def _middle(stack: Tensor) -> Tensor:
    """The slice itself, [item, 1, row, column], of a stack with its neighbours."""
    n = stack.shape[1] // 2
    return stack[:, n : n + 1]
