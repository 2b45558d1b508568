"""PADM: physics-aware Brownian bridge from NAC to AC slices, teacher with CT and student without (arXiv 2511.06948).

Readings of doubtful places: docs/decisions.md. Here are the condition C (Eq. 5, 6), the bridge (Eq. 7, Algorithms 1 and
2) and what the teacher adds (Eq. 18); the correction factor and attention transfer are in `padm_network`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photopeak.core import FACTOR, Grid, Step, Study, attenuation
from photopeak.core.errors import BadArgument
from photopeak.core.units import TC99M_KEV
from photopeak.diffusion.bridge import BrownianBridge
from photopeak.diffusion.samplers import sample_bridge
from photopeak.learn.feed import Side
from photopeak.learn.learned import Batch
from photopeak.methods.heart_slices import HeartBatches, HeartSlices
from photopeak.methods.padm_network import CorrectionNetwork, Domain, Part, attention_transfer
from photopeak.methods.slice_method import SampledSlices, in_chunks, middle
from photopeak.nets.crossmodal import CrossModal
from photopeak.nets.unet import watched
from photopeak.physics.attenuation import correction_factor

USUAL_MU_PER_CM = 0.15
SHARED = ("feed", "channels", "paths", "alpha", "acf_domain", "bridge_steps", "variance")
"""Arguments in which a student equals its teacher."""


class PADM(SampledSlices, HeartSlices):
    """The student: reads "nac" and nothing else.

    Parameters
    ----------
    feed : arguments of SliceFeed.
    channels, paths, alpha, acf_domain : of CorrectionNetwork; the paper's N is 16.
    bridge_steps, variance : T and s of the bridge.
    transfer : lambda, weight of attention transfer and of the teacher's answer.
    distil : the blocks of the U-Net whose features are aligned with the teacher's.
    """

    name = "padm"
    mu_weight = 0.0

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        channels: Sequence[int] = (32, 64, 96),
        fold: int = 1,
        paths: int = 16,
        alpha: float = 0.5,
        bridge_steps: int = 500,
        variance: float = 1.0,
        transfer: float = 0.03,
        acf_domain: Domain = "counts",
        distil: Part = "all",
    ) -> None:
        super().__init__(feed)
        if transfer < 0 or distil not in get_args(Part):
            raise BadArgument(
                f"transfer={transfer:g}, distil={distil!r}",
                needed=f"at least 0, and one of {', '.join(get_args(Part))}",
                remedy="0.03 and all are usual.",
            )
        self.arguments |= {
            "channels": list(channels),
            "fold": fold,
            "paths": paths,
            "alpha": alpha,
            "bridge_steps": bridge_steps,
            "variance": variance,
            "transfer": transfer,
            "acf_domain": acf_domain,
            "distil": distil,
        }
        self.bridge = BrownianBridge(bridge_steps, variance)
        self.transfer, self.distil = transfer, distil
        self.teacher: PADMTeacher | None = None
        network = CorrectionNetwork(
            context=self.feed.context,
            channels=channels,
            fold=fold,
            paths=paths,
            alpha=alpha,
            factor=self.feed.factor,
            acf_domain=acf_domain,
        )
        self.players = nn.ModuleDict({"net": nn.ModuleDict({"correct": network})})

    def check_steps(self, steps: int) -> None:
        self.bridge.times(steps)

    def learn_from(self, teacher: "PADMTeacher") -> None:
        """Start from a teacher's network and align with its attention while training; the teacher stays frozen."""
        differing = [name for name in SHARED if teacher.arguments[name] != self.arguments[name]]
        if differing:
            raise BadArgument(
                f"a teacher with {', '.join(f'{name}={teacher.arguments[name]}' for name in differing)}",
                needed=", ".join(f"{name}={self.arguments[name]}" for name in differing),
                remedy="Give both the same arguments.",
            )
        self._network.load_state_dict(teacher._network.state_dict())
        teacher.players.requires_grad_(False).eval()
        self.teacher = teacher

    @property
    def _network(self) -> CorrectionNetwork:
        network: Any = self.players["net"]["correct"]  # type: ignore[index]
        return network

    def batches(self, studies: Sequence[Study], *, seed: int, keep: Path | None = None) -> HeartBatches:
        return HeartBatches(self.teacher or self, studies, keep=keep)

    def fused(self, batch: Batch) -> Tensor:
        """C, the condition of the bridge: NAC itself for the student."""
        return batch["given"]

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Algorithm 1: L1 between X_theta and x_0 at a random time, plus what the teacher adds (Eq. 18)."""
        x0, y = batch["target"], middle(batch["given"])
        times = torch.randint(self.bridge.steps, (len(x0),), generator=generator)
        x_t = self.bridge.at(x0, y, times, torch.randn(x0.shape, generator=generator))
        with watched(self._network.unet) as mine:
            answer, mu = self._network.with_mu(x_t, self.fused(batch), batch["place"], y, times)
        loss = F.l1_loss(answer, x0)
        if self.mu_weight:
            loss = loss + self.mu_weight * F.l1_loss(mu, middle(batch["mu"]))
        if self.teacher is not None:
            with torch.no_grad(), watched(self.teacher._network.unet) as theirs:
                taught = self.teacher._network(x_t, self.teacher.fused(batch), batch["place"], y, times)
            loss = loss + self.transfer * (attention_transfer(mine, theirs, self.distil) + F.l1_loss(answer, taught))
        yield "net", loss

    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        y = middle(condition["given"])
        known = {"place": condition["place"], "y": y, "c": in_chunks(self.fused, condition)}

        def estimate(x_t: Tensor, time: int) -> Tensor:
            def network(part: Batch) -> Tensor:
                times = torch.full((len(part["y"]),), time)
                return self._network(part["x_t"], part["c"], part["place"], part["y"], times)

            return in_chunks(network, {**known, "x_t": x_t})

        return sample_bridge(estimate, y, self.bridge, steps=self.steps, generator=generator)[:, 0]


class PADMTeacher(PADM):
    """The teacher: also sees the attenuation map, by cross-attention of the NAC slice to the map's tokens.

    Parameters
    ----------
    registered : the map is resampled into the slice's frame, with the logarithm of Chang's factor made from it, which
        tells what lies between a voxel and the detectors, beyond the edge of the slice. False: the paper's map, whole,
        transaxial, the same for every slice; attention must find out what belongs where.
    mu_weight : of the L1 distance between the predicted mu and the CT's, in units of soft tissue's; the paper has 0.
    feed, arguments : as for PADM.
    """

    name = "padm_teacher"
    reads = ("nac", "mu")

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        registered: bool = True,
        mu_weight: float = 0.0,
        **arguments: Any,
    ) -> None:
        super().__init__(feed, **arguments)
        if mu_weight < 0:
            raise BadArgument(f"mu_weight={mu_weight:g}", needed="at least 0", remedy="0 leaves mu free.")
        self.arguments |= {"registered": registered, "mu_weight": mu_weight}
        self.registered, self.mu_weight = registered, mu_weight
        asked = 2 * self.feed.context if registered else self.feed.size
        self.players["net"]["fuse"] = CrossModal(self.feed.context, asked)  # type: ignore[operator]

    def prepared(self, study: Study) -> Study:
        """The study with "path", the logarithm of Chang's factor."""
        mu = study["mu"].require(attenuation(TC99M_KEV), name="mu")
        factor = correction_factor(mu.data, mu.grid.spacing_mm[0], views=30, start_deg=-45.0, arc_deg=180.0)
        return study.add({"path": mu.with_data(factor.log(), FACTOR)}, Step(("path",), self.name, ("mu",)))

    def cubes(self, study: Study, grid: Grid) -> dict[str, Tensor]:
        """Also "mu" (over soft tissue's) and "path" on the short-axis grid, and "body", mu on an unturned cube.

        All three whatever the options: kept cubes serve every teacher.
        """
        mu = study["mu"]
        unturned = Grid.regular(grid.shape, grid.spacing_mm, centre_mm=grid.centre_mm.tolist())
        return {
            **super().cubes(study, grid),
            "mu": mu.on(grid).data / USUAL_MU_PER_CM,
            "path": study["path"].on(grid).data,
            "body": mu.on(unturned).data / USUAL_MU_PER_CM,
        }

    def condition(self, cubes: Mapping[str, Tensor], side: Side, numbers: Sequence[int] | None = None) -> Batch:
        """Slices of each cube; unregistered, the transaxial map [slice, z, y, x] in place of "path"."""
        sliced = super().condition({name: cubes[name] for name in ("nac", "mu", "path")}, side, numbers)
        if self.registered:
            return sliced
        body = cubes["body"].expand(len(sliced["given"]), -1, -1, -1)
        return {"given": sliced["given"], "place": sliced["place"], "mu": sliced["mu"], "body": body}

    def fused(self, batch: Batch) -> Tensor:
        """C = CrossAttn(y, A) (Eq. 5)."""
        fuse: Any = self.players["net"]["fuse"]  # type: ignore[index]
        seen = torch.cat([batch["mu"], batch["path"]], dim=1) if self.registered else batch["body"]
        answer: Tensor = fuse(batch["given"], seen)
        return answer
