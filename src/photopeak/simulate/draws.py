"""Named distributions on one stream of chance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Draw:
    """Numbers from one generator, in the order in which they are asked for."""

    generator: torch.Generator

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator, dtype=torch.float64))

    def normal(self, mean: float, sd: float, low: float = -math.inf, high: float = math.inf) -> float:
        value = mean + sd * float(torch.randn((), generator=self.generator, dtype=torch.float64))
        return min(max(value, low), high)

    def lognormal(self, mean: float, cv: float) -> float:
        """By mean and coefficient of variation."""
        spread = math.log1p(cv**2)
        return mean * math.exp(math.sqrt(spread) * self.normal(0.0, 1.0) - spread / 2)

    def chance(self, probability: float) -> bool:
        return self.uniform(0.0, 1.0) < probability

    def choice(self, weights: Mapping[str, float]) -> str:
        point, names = self.uniform(0.0, sum(weights.values())), list(weights)
        for option in names[:-1]:
            point -= weights[option]
            if point < 0:
                return option
        return names[-1]
