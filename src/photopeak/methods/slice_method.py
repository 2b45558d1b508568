"""What methods from slice to slice share, whatever the slices are of: NAC to AC of hearts, CT to PET of bodies.

A paper's own thing, networks, losses and sampling, is written once, on top of `SliceMethod`; the domain, which cuts,
scales and puts back, is mixed in: ``class Pix2PixPet(Pix2PixSlices, PetSlices)``. A batch has the same names in both:
"given" [item, channel, row, column] is the slice with its neighbours, "place" [item, number] says where it is, further
maps go by their own names, "target" [item, 1, row, column] is what is wanted, and "near", as that, how much it matters.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import asdict
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from photopeak.core.errors import BadArgument
from photopeak.learn.learned import Batch, LearnedMethod

NETWORK_ITEMS = 13


class Feed(Protocol):
    """What a network has to know of the object that cuts its slices."""

    @property
    def context(self) -> int:
        """Channels of "given"."""
        ...

    @property
    def places(self) -> int:
        """Numbers in "place"."""
        ...

    @property
    def multiple(self) -> int:
        """What rows and columns are multiples of."""
        ...

    @property
    def clip(self) -> tuple[float, float]:
        """The range of "target"."""
        ...


class FeedMethod(LearnedMethod):
    """A method whose feed is made from a record, and whose answer is the mean of several, with their spread.

    A subclass adds its networks to `players`.

    Parameters
    ----------
    feed : arguments of `feed_kind`, which a domain names.
    """

    feed_kind: type[Any]
    feed: Feed
    arguments: dict[str, Any]

    def __init__(self, feed: Mapping[str, Any] | None = None) -> None:
        made = self.feed_kind(**(feed or {}))
        self.feed, self.arguments = made, {"feed": as_recorded(asdict(made))}
        self.card: Mapping[str, Any] = {}
        self.players = nn.ModuleDict()
        self.samples, self.seed = 1, 0

    def using(self, *, samples: int = 1, seed: int = 0) -> Self:
        """This method, same weights, with other settings of use."""
        if samples < 1:
            raise BadArgument(f"samples={samples}", needed="at least 1", remedy="8 is a good number.")
        other = copy(self)
        other.samples, other.seed = samples, seed
        return other

    def require_parts(self) -> None:
        """Raise BadArgument where a part is missing that has to be trained before this method."""

    def settings(self) -> Mapping[str, Any]:
        return {"samples": self.samples, "seed": self.seed, "weights_sha256": self.weights_sha256()}


class SliceMethod(FeedMethod):
    """A method that answers slice by slice; a paper implements `turns` and `answer`, a domain the rest.

    `maps` names what comes in a batch beside "given", of its rows and columns.
    """

    maps: tuple[str, ...] = ()

    @abstractmethod
    def answer(self, condition: Batch, generator: torch.Generator) -> Tensor:
        """Slices [slice, row, column] in the network's range, for the condition of a stack of slices."""

    @abstractmethod
    def start(self, batch: Batch) -> Tensor:
        """What a network that adds to something adds to: [item, 1, row, column], before anything is learnt."""

    @property
    def channels_shown(self) -> int:
        """Channels of `shown`."""
        return self.feed.context + len(self.maps)

    def shown(self, batch: Batch) -> Tensor:
        """The slice with its neighbours and its maps, [item, channel, row, column]."""
        return torch.cat([batch["given"], *(batch[name] for name in self.maps)], dim=1)

    def require_multiple(self, divisor: int, what: str, *, least: int = 0) -> None:
        """Raise BadArgument unless rows and columns can be divided by `divisor`, and are at least `least`."""
        if self.feed.multiple % divisor or self.feed.multiple < least:
            raise BadArgument(
                f"slices of {self.feed.multiple} pixels or multiples of it",
                needed=f"a size divisible by {divisor}, at least {max(divisor, least)}, for {what}",
                remedy="Give fewer levels, or the feed another size.",
            )


class SampledSlices(SliceMethod):
    """A SliceMethod that samples in `steps` network evaluations; a subclass says in `check_steps` which it can.

    `steps` is 1 unless a subclass has another default.
    """

    steps = 1

    @abstractmethod
    def check_steps(self, steps: int) -> object:
        """Raise BadArgument for a number of steps that the sampler cannot take."""

    def using(self, *, steps: int | None = None, samples: int = 1, seed: int = 0) -> Self:
        """Settings of use: network evaluations per sample, number of samples, seed."""
        steps = type(self).steps if steps is None else steps
        self.check_steps(steps)
        other = super().using(samples=samples, seed=seed)
        other.steps = steps
        return other

    def settings(self) -> Mapping[str, Any]:
        return {"steps": self.steps, **super().settings()}


def in_chunks(network: Callable[[Batch], Tensor], batch: Batch, items: int = NETWORK_ITEMS) -> Tensor:
    """The network's answer for a whole stack, computed a fixed number of items at a time, the last one filled up.

    A network always sees the same number of items, so its rounding cannot depend on how slices are batched.
    """
    count = len(next(iter(batch.values())))
    answers = []
    for start in range(0, count, items):
        index = torch.arange(start, start + items).clamp(max=count - 1)
        answers.append(network({name: value[index] for name, value in batch.items()}))
    return torch.cat(answers)[:count]


def middle(stack: Tensor) -> Tensor:
    """The slice itself, [item, 1, row, column], of a stack with its neighbours."""
    n = stack.shape[1] // 2
    return stack[:, n : n + 1]


def with_place(image: Tensor, place: Tensor) -> Tensor:
    """Images [item, channel, row, column] with their place [item, number] as further constant channels."""
    return torch.cat([image, place[:, :, None, None].expand(-1, -1, *image.shape[-2:])], dim=1)


def as_recorded(arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    """Arguments as a recipe and a weights file hold them: lists where Python has tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in (arguments or {}).items()}
