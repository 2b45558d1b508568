"""The population's mean correction factor, aligned on the left ventricle: what anatomy alone can do."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from photopeak.learn.learned import Batch, Batches
from photopeak.methods.heart_slices import HeartBatches, HeartCube


class MeanFactor(HeartCube):
    """NAC times the ratio of the summed AC and summed NAC cubes of the training patients; nothing is random."""

    name = "mean_acf"

    def __init__(self, feed: Mapping[str, Any] | None = None) -> None:
        super().__init__(feed)
        self.players = nn.ModuleDict({"factor": _Cube(self.feed.shape)})

    def solve(self, batches: Batches) -> None:
        assert isinstance(batches, HeartBatches)
        hearts = list(batches.hearts())
        ac, nac = (torch.stack([heart[name] for heart in hearts]).sum(0) for name in ("ac", "nac"))
        self._factor.copy_(ac / nac.clamp(min=1e-3 * float(nac.max())))

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        return iter(())

    def corrected(self, cubes: Mapping[str, Tensor], sample: int) -> Tensor:
        return cubes["nac"] * self._factor

    @property
    def _factor(self) -> Tensor:
        return self.players["factor"].get_buffer("cube")


class _Cube(nn.Module):
    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("cube", torch.ones(shape))
