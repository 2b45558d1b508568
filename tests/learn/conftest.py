"""Toy methods: one straight line, and a critic with a generator."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from photopeak.core import Study, Volume
from photopeak.learn.learned import Batch, LearnedMethod


class Points:
    """Points of y = 2 x - 1, drawn anew for each step."""

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        x = torch.randn((size, 1), generator=generator)
        return {"x": x, "y": 2 * x - 1}


class Line(LearnedMethod):
    """Fits a line; `fails_at` breaks the given turn, with an error or with a loss that is no number."""

    name = "line"

    def __init__(self, width: int = 1, *, slope: float = 0.0) -> None:
        self.arguments = {"width": width, "slope": slope}
        self.card = {}
        net = nn.Linear(1, width)
        nn.init.constant_(net.weight, slope)
        nn.init.zeros_(net.bias)
        self.players = nn.ModuleDict({"net": net})
        self.taken = 0
        self.drawn: list[float] = []
        self.fails_at: tuple[int, str] | None = None

    def make(self, study: Study) -> Mapping[str, Volume]:
        raise AssertionError("not needed here")

    def batches(self, studies: Sequence[Study], *, seed: int, keep: Path | None = None) -> Points:
        return Points()

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        self.taken += 1
        self.drawn.append(float(batch["x"].sum()))
        noise = 0.1 * torch.randn(batch["x"].shape, generator=generator)
        loss = (self.players["net"](batch["x"]) - batch["y"] - noise).square().mean()
        if self.fails_at and self.fails_at[0] == self.taken:
            if self.fails_at[1] == "power cut":
                raise InterruptedError("power cut")
            loss = loss * float(self.fails_at[1])
        yield "net", loss


class Duel(Line):
    """Both players have one number; each turn moves its own player and leaves the other alone."""

    name = "duel"

    def __init__(self) -> None:
        super().__init__()
        self.arguments = {}
        critic, generator = nn.Linear(1, 1), nn.Linear(1, 1)
        for parameter in (*critic.parameters(), *generator.parameters()):
            nn.init.constant_(parameter, 0.5)
        self.players = nn.ModuleDict({"critic": critic, "generator": generator})
        self.moved: list[tuple[bool, bool]] = []

    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        critic, maker = self.players["critic"], self.players["generator"]
        before = self._weights()
        yield "critic", (critic(maker(batch["x"])) - batch["y"]).square().mean()
        between = self._weights()
        self.moved.append((not torch.equal(before[0], between[0]), not torch.equal(before[1], between[1])))
        yield "generator", (critic(maker(batch["x"])) - batch["y"]).square().mean()
        after = self._weights()
        self.moved.append((not torch.equal(between[0], after[0]), not torch.equal(between[1], after[1])))

    def _weights(self) -> tuple[Tensor, Tensor]:
        critic, generator = (
            torch.cat([p.detach().flatten() for p in self.players[name].parameters()])
            for name in ("critic", "generator")
        )
        return critic, generator


@pytest.fixture(scope="session")
def line() -> type[Line]:
    return Line


@pytest.fixture(scope="session")
def duel() -> type[Duel]:
    return Duel
