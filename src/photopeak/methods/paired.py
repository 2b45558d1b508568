"""What the methods share that learn from pairs: an image of few counts or views, and the one of all of them.

They are those that DiffSPECT-3D is compared with (arXiv 2412.16573, section III E): one network for every setting of
dose and views, which sees the reconstruction that it shall improve, and the map of attenuation too or not.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from photopeak.core.errors import BadArgument
from photopeak.learn.feed import from_network, to_network
from photopeak.learn.learned import Batch
from photopeak.methods.measured import Scan
from photopeak.methods.volume_slices import VolumeSlices
from photopeak.simulate.dose import SETTINGS, Setting

PUBLISHED = tuple(str(setting) for setting in SETTINGS)


class Paired(VolumeSlices):
    """A method that is trained on reconstructions of less, beside the image of everything.

    A subclass makes its networks in `players` and implements `turns` and `improved`.

    Parameters
    ----------
    feed, iterations : as for VolumeSlices.
    ct : the network sees the attenuation map.
    settings : names of the settings that it is trained on, such as "5%" or "7 views"; others are new to it.
    neighbours : slices on either side that come along with each.
    """

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        iterations: int = 50,
        ct: bool = True,
        settings: Sequence[str] = PUBLISHED,
        neighbours: int = 0,
    ) -> None:
        super().__init__(feed, iterations=iterations)
        if not settings or neighbours < 0:
            raise BadArgument(
                f"{len(settings)} settings, neighbours={neighbours}",
                needed="something to be trained on, and 0 neighbours or more",
                remedy=f"The paper's settings are {', '.join(PUBLISHED)}.",
            )
        self.trained_on = tuple(Setting.named(name) for name in settings)
        self.ct, self.neighbours, self.balance = ct, neighbours, False
        self.arguments |= {"ct": ct, "settings": list(settings)}

    @abstractmethod
    def improved(self, scan: Scan, generator: torch.Generator) -> Tensor:
        """The image [z, y, x] in the network's range."""

    def settings_seen(self) -> tuple[Setting, ...]:
        return self.trained_on

    @property
    def channels_seen(self) -> int:
        """Of "seen", see `condition`."""
        return (2 * self.neighbours + 1) * (2 if self.ct else 1)

    def condition(self, seen: Mapping[str, Tensor], numbers: Sequence[int]) -> Batch:
        """ "seen" [slice, channel, row, column], the image and with `ct` the map, and "fraction" [slice, 1]."""
        given = to_network(self.feed.slices(seen["given"], numbers, neighbours=self.neighbours))
        maps = [self.feed.slices(seen["mu"], numbers, neighbours=self.neighbours)] if self.ct else []
        return {"seen": torch.cat([given, *maps], dim=1), "fraction": seen["fraction"].expand(len(numbers), 1)}

    def using(
        self,
        *,
        samples: int = 1,
        seed: int = 0,
        fraction: float | None = None,
        scatter: str | None = None,
        balance: bool = False,
    ) -> Self:
        """This method, same weights, with other settings of use.

        Parameters
        ----------
        samples, seed, fraction, scatter : as for VolumeSlices.
        balance : scale the answer so that it expects the counts that were measured, as DiffSPECT-3D of ours does.
        """
        other = super().using(samples=samples, seed=seed, fraction=fraction, scatter=scatter)
        other.balance = balance
        return other

    def settings(self) -> Mapping[str, Any]:
        return {**super().settings(), "balance": self.balance}

    def answered(self, scan: Scan, generator: torch.Generator) -> Tensor:
        ratio = from_network(self.improved(scan, generator).clamp(*self.feed.clip))
        return scan.balanced(ratio) if self.balance else ratio

    def seen_of(self, scan: Scan) -> dict[str, Tensor]:
        """`Scan.seen` where the network is."""
        device = next(self.players["net"].parameters()).device
        return {name: value.to(device) for name, value in scan.seen().items()}
