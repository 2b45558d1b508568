"""What a trainable method adds to a method: networks, and turns to train them."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from photopeak.core import Method, Study
from photopeak.core.errors import BadCheckpoint
from photopeak.learn.checkpoint import load_checkpoint, save_checkpoint

Batch = Mapping[str, Tensor]


class Batches(Protocol):
    """A training set in memory: draws the batch of a step from that step's own generator."""

    def batch(self, size: int, generator: torch.Generator) -> Batch: ...


class LearnedMethod(Method):
    """A method with networks that learn.

    A subclass makes its networks in `players` (name to module), records its constructor's arguments in `arguments`, and
    implements `batches` and `turns`. One loop trains them all: GANs, bridges, teacher and student.
    `betas` are Adam's.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    arguments: Mapping[str, Any]
    players: nn.ModuleDict
    card: Mapping[str, Any]

    @abstractmethod
    def batches(self, studies: Sequence[Study], *, seed: int, keep: Path | None = None) -> Batches:
        """The training set that these studies make for this method; what was cut may be kept in a folder."""

    def solve(self, batches: Batches) -> None:
        """The part of training that has a closed form, such as a population mean; done once, before the first turn."""

    @abstractmethod
    def turns(self, batch: Batch, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
        """Losses in turn: ``("critic", loss)``, then ``("generator", loss)``; the loop steps the named player."""

    def save(self, path: Path, *, card: Mapping[str, Any] | None = None) -> None:
        """Write weights, constructor arguments and training card as safetensors."""
        header = {
            "kind": "weights",
            "method": self.name,
            "arguments": dict(self.arguments),
            "card": dict(card or self.card),
        }
        save_checkpoint(path, self.players.state_dict(), header)

    @classmethod
    def restored(cls, path: Path) -> Self:
        """The method with the arguments and weights of a file written by `save`."""
        tensors, header = load_checkpoint(path)
        if header.get("kind") != "weights" or header.get("method") != cls.name:
            raise BadCheckpoint(
                f"{path.name} holds {header.get('kind')} of {header.get('method')}",
                needed=f"weights of {cls.name}",
                remedy="Choose the method that the file was trained for.",
            )
        method = cls(**header["arguments"])
        method.use_weights(tensors)
        method.card = header["card"]
        return method

    def use_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Take weights that fit exactly and are finite."""
        spoiled = [
            name for name, value in tensors.items() if value.is_floating_point() and not torch.isfinite(value).all()
        ]
        if spoiled:
            raise BadCheckpoint(
                f"{spoiled[0]} with NaN or infinite weights",
                needed="finite numbers",
                remedy="Go back to an earlier checkpoint.",
            )
        try:
            self.players.load_state_dict(dict(tensors))
        except RuntimeError as error:
            raise BadCheckpoint(
                f"weights that do not fit {self.name}: {error}", needed="the recorded arguments", remedy="Train anew."
            ) from error

    def weights_sha256(self) -> str:
        """Hash of all weights in name order: the identity of the trained method."""
        digest = hashlib.sha256()
        for name, value in sorted(self.players.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()
