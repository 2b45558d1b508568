"""Exponential moving average of weights, quick at first and slow later."""

import torch
from torch import Tensor, nn


class MovingAverage:
    """Keeps ``average = decay * average + (1 - decay) * weights``; early on decay is (1 + n) / (10 + n)."""

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.updates = 0
        self.weights: dict[str, Tensor] = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in module.state_dict().items():
            kept = self.weights[name]
            if kept.is_floating_point():
                kept.lerp_(value, 1 - decay)
            else:
                kept.copy_(value)
