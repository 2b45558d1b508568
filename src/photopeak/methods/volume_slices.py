"""What all methods for few counts or few views share: MLEM of the data, slices for a network, an image, its spread.

Reads "mu" and the projections "raw"; writes "ac" in the counts of the data themselves, as MLEM of them is. The map may
be measured or predicted. No camera is assumed: an image on another grid is resampled to the feed's, about the heart.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from photopeak.core import COUNTS, Projections, Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.core.random import stream
from photopeak.learn.feed import to_network
from photopeak.learn.kept import fingerprint, kept_examples
from photopeak.learn.learned import Batch, Batches, LearnedMethod
from photopeak.learn.volume_feed import VolumeFeed
from photopeak.methods.measured import Field, Measured, Scan, counts_fraction, views_share

CUTS_SEED = 0
"""Doses of training examples are drawn alike for every training, so that they can be kept."""


class Setting(Protocol):
    """A way to measure less: ``simulate.dose.Setting``."""

    @property
    def fraction(self) -> float: ...

    def applied(self, projections: Projections, generator: torch.Generator) -> Projections: ...


class VolumeSlices(LearnedMethod):
    """A method that makes "ac" and "ac_sd" of "raw" and "mu" with a 2D network.

    A subclass makes its networks in `players`, implements `turns` and `answered`, and may override `condition`, which
    training and use share, and `settings_seen`, the settings it is trained on. With `samples` above 1, ac is the mean
    of that many answers and ac_sd their standard deviation.

    Parameters
    ----------
    feed : arguments of VolumeFeed.
    iterations : of MLEM.
    """

    reads: tuple[str, ...] = ("mu",)
    reads_projections: tuple[str, ...] = ("raw",)
    writes: tuple[str, ...] = ("ac", "ac_sd")

    def __init__(self, feed: Mapping[str, Any] | None = None, *, iterations: int = 50) -> None:
        self.feed = VolumeFeed(**(feed or {}))
        self.iterations = iterations
        self.arguments: dict[str, Any] = {
            "feed": {**asdict(self.feed), "shape": list(self.feed.shape)},
            "iterations": iterations,
        }
        self.card: Mapping[str, Any] = {}
        self.players = nn.ModuleDict({"usual": Usual()})
        self.samples, self.seed = 1, 0
        self.fraction: float | None = None
        self.scatter: str | None = None
        self.fraction_used: float | None = None
        self.views_used = 1.0

    @abstractmethod
    def answered(self, scan: Scan, generator: torch.Generator) -> Tensor:
        """The image [z, y, x] over level, on the network's grid."""

    def settings_seen(self) -> Sequence[Setting]:
        """Settings of which training examples are made, as "given"; none for a method that sees labels alone."""
        return ()

    def condition(self, seen: Mapping[str, Tensor], numbers: Sequence[int]) -> Batch:
        """What the network sees of some slices, from `Scan.seen` or a training example: the map and their numbers."""
        return {"mu": self.feed.weighted(seen["mu"], numbers), "number": torch.tensor(numbers)}

    def using(
        self, *, samples: int = 1, seed: int = 0, fraction: float | None = None, scatter: str | None = None
    ) -> Self:
        """This method, same weights, with other settings of use.

        Parameters
        ----------
        samples, seed : number of answers, and their seed.
        fraction : of the counts of a full acquisition, where the facts do not tell and the counts would mislead.
        scatter : name of projections of expected scatter, where "raw" has some.
        """
        if samples < 1:
            raise BadArgument(f"samples={samples}", needed="at least 1", remedy="8 is a good number.")
        if fraction is not None and not 0 < fraction <= 1:
            raise BadArgument(f"fraction={fraction:g}", needed="more than 0, at most 1", remedy="0.1 is a tenth.")
        other = copy(self)
        other.samples, other.seed, other.fraction, other.scatter = samples, seed, fraction, scatter
        other.reads_projections = ("raw", scatter) if scatter else ("raw",)
        return other

    def settings(self) -> Mapping[str, Any]:
        """As every method's; `fraction` is the one that was used last."""
        return {
            "samples": self.samples,
            "seed": self.seed,
            "iterations": self.iterations,
            "fraction": self.fraction_used,
            "scatter": self.scatter,
            "weights_sha256": self.weights_sha256(),
        }

    @torch.no_grad()
    def make(self, study: Study) -> Mapping[str, Volume]:
        fraction, views = counts_fraction(study, self.fraction, self.usual()), views_share(study, self.usual())
        self.fraction_used, self.views_used = fraction, views
        scan = Scan.of(
            study, self.feed, iterations=self.iterations, scatter=self.scatter, fraction=fraction, views=views
        )
        self.players.eval()
        images = torch.stack(
            [scan.image(self.answered(scan, stream(self.seed, sample))) for sample in range(self.samples)]
        )
        spread = images.std(0) if self.samples > 1 else torch.zeros_like(images[0])
        grid = study["mu"].grid
        return {"ac": Volume(self.centre(scan, images), grid, COUNTS), "ac_sd": Volume(spread, grid, COUNTS)}

    def centre(self, scan: Scan, images: Tensor) -> Tensor:
        """The answer [z, y, x], in counts, to a scan of which samples are images [sample, z, y, x]."""
        return images.mean(0)

    def batches(self, studies: Sequence[Study], *, seed: int, keep: Path | None = None) -> "VolumeBatches":
        return VolumeBatches(self, studies, keep=keep)

    def solve(self, batches: Batches) -> None:
        """Learn the usual counts of a full acquisition."""
        assert isinstance(batches, VolumeBatches)
        for name, value in batches.usual().items():
            self.players["usual"].get_buffer(name).fill_(value)

    def usual(self) -> dict[str, float]:
        """Mean "counts" and "views" of a full acquisition in training; 0 before that."""
        return {name: float(value) for name, value in self.players["usual"].named_buffers()}


class Usual(nn.Module):
    """What a full acquisition counts; it travels with the weights, since a card is written by whoever trains."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(()))
        self.register_buffer("views", torch.zeros(()))


class VolumeBatches:
    """Training slices of all studies; each volume is cut once.

    Parameters
    ----------
    method : whose feed, settings and condition are used.
    each : settings that each study is reconstructed at, of those the method is trained on, dealt in turn.
    keep : folder in which what was cut is kept for other trainings on the same studies.
    """

    def __init__(
        self, method: VolumeSlices, studies: Sequence[Study], *, each: int = 2, keep: Path | None = None
    ) -> None:
        self._method, self._given = method, list(method.settings_seen())
        self._each = min(each, len(self._given))
        images = (image for study in studies for image in (study["ac"].data, study["mu"].data, *_raw(study)))
        identity = {
            "feed": asdict(method.feed),
            "settings": [[repr(setting) for setting in self._dealt(number)] for number in range(len(studies))],
            "iterations": method.iterations if self._given else 0,
            "images": fingerprint(images) if keep else "",
        }
        self._volumes = kept_examples(keep, identity, lambda: self._cut(studies), count=len(studies))

    def _cut(self, studies: Sequence[Study]) -> Iterator[Mapping[str, Tensor]]:
        """Of each study: "ac" and "mu" [z, y, x] on the network's grid, "usual" (counts, views), and what was given."""
        feed = self._method.feed
        for number, study in enumerate(studies):
            field = Field.of(study, feed)
            ac = field.cut(study["ac"].require(COUNTS, name="ac").data).clamp(min=0)
            mu = field.cut(study["mu"].data).clamp(min=0) / feed.mu_per_cm
            usual = [(float(counts.sum()), float(len(counts))) for counts in _raw(study)] or [(0.0, 0.0)]
            example = {"ac": (ac / feed.level(ac)).clamp(max=feed.brightest), "mu": mu, "usual": torch.tensor(usual[0])}
            yield {**example, **(self._reduced(study, field, number) if self._each else {})}

    def _reduced(self, study: Study, field: Field, number: int) -> dict[str, Tensor]:
        """ "given" [setting, z, y, x], MLEM over its own level, and "fraction" [setting, 1], of some settings."""
        feed, given, fractions = self._method.feed, [], []
        for turn, setting in enumerate(self._dealt(number), start=number * self._each):
            less = setting.applied(study.projections["raw"], stream(CUTS_SEED, turn))
            measured = Measured.of(replace(study, projections={"raw": less}))
            cut = field.cut(measured.image(self._method.iterations)).clamp(min=0)
            given.append((cut / feed.level(cut)).clamp(max=feed.brightest))
            views = less.camera.projection_shape[0] / len(study.projections["raw"].counts)
            fractions.append([setting.fraction * views])
        return {"given": torch.stack(given), "fraction": torch.tensor(fractions)}

    def _dealt(self, number: int) -> list[Setting]:
        """Settings of a study; every round begins one later, or all stress scans would get one half and rest the other.

        Scans of a cohort alternate, and an even number of settings is dealt in pairs.
        """
        turns, n = range(number * self._each, (number + 1) * self._each), len(self._given)
        return [self._given[(turn + turn // n) % n] for turn in turns]

    def usual(self) -> dict[str, float]:
        """Mean counts and views of the studies' full acquisitions; 0 where there are none."""
        counts, views = torch.stack([volume["usual"] for volume in self._volumes]).mean(0).tolist()
        return {"counts": counts, "views": views}

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """Random slices: what `condition` makes of them, and "ac" [item, 1, row, column] in the network's range."""
        feed, items = self._method.feed, []
        for _ in range(size):
            volume = self._volumes[_draw(len(self._volumes), generator)]
            number = [_draw(feed.depth, generator)]
            seen = {"mu": volume["mu"]}
            if self._each:
                which = _draw(self._each, generator)
                seen |= {"given": volume["given"][which], "fraction": volume["fraction"][which]}
            target = to_network(feed.slices(volume["ac"], number))
            items.append({**self._method.condition(seen, number), "ac": target})
        return {name: torch.cat([item[name] for item in items]) for name in items[0]}


def _raw(study: Study) -> list[Tensor]:
    """The counts of the study's acquisition, if it comes with it."""
    return [study.projections["raw"].counts] if "raw" in study.projections else []


def _draw(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(high, (), generator=generator))
