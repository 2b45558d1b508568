"""What all slice-wise NAC-to-AC methods share: find the heart, cut, answer in three orientations, put back.

Only the correction is resampled, not the image: inside the answered sphere AC = factor * NAC + correction, outside
it is factor * NAC, the population-mean scale without any correction. The border between the two is smooth.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from photopeak.cardiac.find import FoundHeart, find_heart
from photopeak.cardiac.orientation import HeartFrame
from photopeak.core import COUNTS, Grid, Study, Volume
from photopeak.core.random import stream
from photopeak.learn.feed import SIDES, Side, SliceFeed, from_network, to_network
from photopeak.learn.kept import fingerprint, kept_examples
from photopeak.learn.learned import Batch
from photopeak.methods.slice_method import FeedMethod, SliceMethod, middle

CUTS_SEED = 0
"""Hearts are cut alike for every training, so that they can be kept."""
STREAMS = 1 + len(SIDES)
FINDER_SHIFT_MM, FINDER_TURN_DEG = 2.0, 4.0
"""Standard deviation of each coordinate and angle of the LV finder on simulated patients (docs/results.md)."""


def heart_of(study: Study) -> HeartFrame:
    """The heart's frame found in "nac"; remembered in ``facts["heart"]`` by whoever has found it already."""
    if "heart" in study.facts:
        return FoundHeart.from_dict(study.facts["heart"]).frame
    return find_heart(study["nac"]).frame


class HeartCube(FeedMethod):
    """A method that turns "nac" into "ac" and "ac_sd" in a cube around the heart.

    A subclass implements `corrected`. With `samples` above 1, ac is the mean of that many answers and ac_sd their
    standard deviation: they differ in the noise of a sampler and in where exactly the heart is cut.
    """

    feed_kind = SliceFeed
    feed: SliceFeed
    reads: tuple[str, ...] = ("nac",)
    writes: tuple[str, ...] = ("ac", "ac_sd")

    @abstractmethod
    def corrected(self, cubes: Mapping[str, Tensor], sample: int) -> Tensor:
        """The AC cube [z, y, x] over level and factor, from cubes of which "nac" is over level."""

    def cubes(self, study: Study, grid: Grid) -> dict[str, Tensor]:
        """What the network may see, as cubes [z, y, x] on the short-axis grid; "nac" in counts."""
        return {"nac": study["nac"].on(grid, order=3).data.clamp(min=0)}

    def prepared(self, study: Study) -> Study:
        """The study with what is made of it once, before its heart is cut; as it is unless a method needs more."""
        return study

    def prepares_by(self) -> str:
        """What `prepared` depends on besides the study."""
        return ""

    def make(self, study: Study) -> Mapping[str, Volume]:
        return self.answered(self.prepared(study))

    @torch.inference_mode()
    def answered(self, study: Study) -> Mapping[str, Volume]:
        """AC and its standard deviation, of a prepared study."""
        nac = study["nac"].require(COUNTS, name="nac").require_image(name="nac")
        frame = heart_of(study)
        self.players.eval()
        answers = torch.stack([self._answer(study, frame, sample) for sample in range(self.samples)])
        spread = answers.std(0) if self.samples > 1 else torch.zeros_like(nac.data)
        return {"ac": nac.with_data(answers.mean(0)), "ac_sd": nac.with_data(spread)}

    def _answer(self, study: Study, found: HeartFrame, sample: int) -> Tensor:
        """AC [z, y, x] on NAC's grid; every sample but the first cuts the heart where the finder might have put it."""
        nac, feed = study["nac"], self.feed
        where = stream(self.seed, sample * STREAMS)
        frame = found if sample == 0 else _moved(found, where, FINDER_SHIFT_MM, FINDER_TURN_DEG)
        grid = frame.grid(feed.shape, feed.voxel_mm)
        cubes = self.cubes(study, grid)
        level = feed.level(cubes["nac"])
        ratio = cubes["nac"] / level
        change = (self.corrected({**cubes, "nac": ratio}, sample) - ratio) * level * feed.factor
        inside = torch.from_numpy(_answered(nac.grid, frame, feed)).to(nac.data)
        correction = Volume(change, grid, COUNTS).on(nac.grid, order=3).data
        return (feed.factor * nac.data + inside * correction).clamp(min=0)

    def condition(self, cubes: Mapping[str, Tensor], side: Side, numbers: Sequence[int] | None = None) -> Batch:
        """Network input of slices of one orientation: each cube's slices with neighbours, and their place."""
        slices = {name: self.feed.slices(cube, side, numbers) for name, cube in cubes.items()}
        return {"given": to_network(slices.pop("nac")), **slices, "place": self.feed.place(side, numbers)}

    def batches(self, studies: Sequence[Study], *, seed: int, keep: Path | None = None) -> "HeartBatches":
        self.require_parts()
        return HeartBatches(self, studies, keep=keep)


class HeartSlices(HeartCube, SliceMethod):
    """A HeartCube method that answers slice by slice, in three orientations of which the mean is taken."""

    def start(self, batch: Batch) -> Tensor:
        """NAC, which has AC's range but for the population's factor."""
        return middle(batch["given"])

    def corrected(self, cubes: Mapping[str, Tensor], sample: int) -> Tensor:
        answers: dict[Side, Tensor] = {}
        for number, side in enumerate(SIDES):
            generator = stream(self.seed, sample * STREAMS + 1 + number)
            answers[side] = from_network(self.answer(self.condition(cubes, side), generator))
        return self.feed.stitched(answers, fill=cubes["nac"]).clamp(min=0)


class HeartBatches:
    """Training slices of all studies in memory, each heart cut several times with a slightly wrong frame.

    Parameters
    ----------
    variants : cuts of each heart; the first is as found, the others shifted and turned.
    shift_mm, turn_deg : standard deviations of the shift of the centre and of the turn of the axis.
    keep : folder in which cut hearts are kept for other trainings on the same studies.
    """

    def __init__(
        self,
        method: HeartCube,
        studies: Sequence[Study],
        *,
        variants: int = 3,
        shift_mm: float = 6.0,
        turn_deg: float = 5.0,
        keep: Path | None = None,
    ) -> None:
        self._method = method
        self._variants, self._shift_mm, self._turn_deg = variants, shift_mm, turn_deg
        identity = {
            "feed": asdict(method.feed),
            "cubes": f"{type(method).cubes.__module__}.{type(method).cubes.__qualname__}",
            "prepared": method.prepares_by(),
            "cut": [variants, shift_mm, turn_deg],
            "images": fingerprint(s[name].data for s in studies for name in (*method.reads, "ac")) if keep else "",
        }
        self._near = method.feed.near()
        self._hearts = kept_examples(keep, identity, lambda: self._cut(studies), count=variants * len(studies))

    def _cut(self, studies: Sequence[Study]) -> Iterator[Mapping[str, Tensor]]:
        """Cubes of every study, as found and as jittered, over level; "ac" over factor besides."""
        feed, generator = self._method.feed, stream(CUTS_SEED, 0)
        for study in map(self._method.prepared, studies):
            found = heart_of(study)
            for variant in range(self._variants):
                frame = found if variant == 0 else _moved(found, generator, self._shift_mm, self._turn_deg)
                grid = frame.grid(feed.shape, feed.voxel_mm)
                cubes = self._method.cubes(study, grid)
                level = feed.level(cubes["nac"])
                ac = study["ac"].on(grid, order=3).data.clamp(min=0)
                yield {**cubes, "nac": cubes["nac"] / level, "ac": ac / (level * feed.factor)}

    def hearts(self) -> Iterator[Mapping[str, Tensor]]:
        """The scaled cubes of every study as found and as jittered."""
        return iter(self._hearts)

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """Random slices: condition [item, channel, row, column], "place" [item, 4], "target" [item, 1, row, column].

        And "near", as "target": how much an error matters, for methods that weigh their loss with it.
        """
        items: list[dict[str, Tensor]] = []
        for _ in range(size):
            heart = self._hearts[_draw(len(self._hearts), generator)]
            side = SIDES[_draw(len(SIDES), generator)]
            number = [_draw(self._method.feed.depth, generator)]
            inputs = {name: cube for name, cube in heart.items() if name != "ac"}
            target = self._method.feed.slices(heart["ac"], side, number, neighbours=False)
            condition = self._method.condition(inputs, side, number)
            items.append({**condition, "target": to_network(target), "near": self._near[number]})
        return {name: torch.cat([item[name] for item in items]) for name in items[0]}


def _draw(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(high, (), generator=generator))


def _moved(frame: HeartFrame, generator: torch.Generator, shift_mm: float, turn_deg: float) -> HeartFrame:
    """A frame near another one: normal in each coordinate and angle."""
    normal = torch.randn(5, generator=generator, dtype=torch.float64).tolist()
    x, y, z = (c + shift_mm * n for c, n in zip(frame.centre_mm, normal[:3], strict=True))
    azimuth, elevation = frame.azimuth_deg + turn_deg * normal[3], frame.elevation_deg + turn_deg * normal[4]
    return HeartFrame.from_angles((x, y, z), azimuth_deg=azimuth, elevation_deg=elevation)


def _answered(grid: Grid, frame: HeartFrame, feed: SliceFeed) -> np.ndarray:
    """1 around the heart's centre, falling smoothly to 0 where slices end; [z, y, x]."""
    distance = np.linalg.norm(grid.points() - np.array(frame.centre_mm), axis=-1)
    inside = np.clip((feed.reach_mm - distance) / (feed.reach_mm - feed.answered_mm), 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * inside)
