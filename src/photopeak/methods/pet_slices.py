"""What all slice-wise CT-to-PET methods share: cut the CT, tell where uptake and what attenuation is, put SUV back.

The two maps of CPDM (arXiv 2410.21932, section 4.2) are an option of every method: "attention", where a segmenter that
was trained beforehand expects high uptake, and "attenuation", 1/cm at 511 keV by the tube voltage of this very CT
(Abella et al., Phys Med Biol 2012). FDG uptake is not determined by CT: an answer is what is usual for such a body.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from photopeak.core import FACTOR, HU, SUV, Grid, Step, Study, Volume
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.core.random import stream
from photopeak.core.units import ANNIHILATION_KEV, Quantity
from photopeak.learn.feed import to_network
from photopeak.learn.kept import fingerprint, kept_examples
from photopeak.learn.learned import Batch
from photopeak.learn.pet_feed import AIR, ANSWERED, PetFeed, resampled
from photopeak.methods import method_class
from photopeak.methods.slice_method import SampledSlices, SliceMethod, as_recorded, middle
from photopeak.physics.mumap import mu_from_ct
from photopeak.recon.tv import tv_update

MAPS = ("attention", "attenuation")
DOUBLE_WATER_PER_CM = 0.186
"""Attenuation that a network sees as 1, so that water is 0 and air -1."""


class PetSlices(SliceMethod):
    """A method that turns "ct" into "pet" and "pet_sd", in SUV and on the CT's grid.

    A subclass adds its networks to `players`, which may hold the segmenter's already, under "map". With `samples` above
    1, pet is the mean of that many answers and pet_sd their standard deviation; a method without chance has none.

    Parameters
    ----------
    feed : arguments of PetFeed.
    maps : "attention", "attenuation" or both, as further channels.
    attention : arguments of the segmenter, whose trained network `sees_with` takes over.
    """

    feed_kind = PetFeed
    feed: PetFeed
    reads: tuple[str, ...] = ("ct",)
    writes: tuple[str, ...] = ("pet", "pet_sd")
    tv = 0.0

    def __init__(
        self,
        feed: Mapping[str, Any] | None = None,
        *,
        maps: Sequence[str] = (),
        attention: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(feed)
        if isinstance(maps, str) or not set(maps) <= set(MAPS) or (attention and "attention" not in maps):
            raise BadArgument(
                f"maps {maps!r}, attention {attention!r}",
                needed=f"a list out of {', '.join(MAPS)}; a segmenter only where attention is one of them",
                remedy="Leave out maps for a method that sees the CT alone.",
            )
        self.maps = tuple(name for name in MAPS if name in maps)
        self.arguments |= {"maps": list(self.maps)}
        self._segmenter: Any = None
        if "attention" in self.maps:
            kind: Any = method_class("attention")
            self._segmenter, self._is_trained = kind(**(attention or {})), False
            self.arguments |= {"attention": dict(self._segmenter.arguments)}
            self.players["map"] = self._segmenter.players.requires_grad_(False)

    def start(self, batch: Batch) -> Tensor:
        """No uptake."""
        return torch.full_like(middle(batch["given"]), AIR)

    def sees_with(self, segmenter: Any) -> None:
        """Take over the network of a trained `attention` segmenter; it stays as it is while this method learns."""
        mine = self._segmenter and self._segmenter.arguments
        if mine is None or getattr(segmenter, "arguments", None) != mine:
            raise BadArgument(
                f"a segmenter with {getattr(segmenter, 'arguments', segmenter)} for {self.name} with maps {self.maps}",
                needed="attention among the maps, and a segmenter with equal arguments" + (f", {mine}" if mine else ""),
                remedy="Give both the same arguments, or leave the segmenter out.",
            )
        self._segmenter.use_weights(segmenter.players.state_dict())
        self._is_trained = True

    def use_weights(self, tensors: Mapping[str, Tensor]) -> None:
        super().use_weights(tensors)
        self._is_trained = True

    def using(self, *, samples: int = 1, seed: int = 0, tv: float = 0.0) -> Self:
        """This method, same weights, with other settings of use.

        Parameters
        ----------
        samples, seed : number of answers of which the mean is taken, and their seed.
        tv : strength of total variation between slices, SUV; 0 leaves every slice as it was answered.
        """
        return super().using(samples=samples, seed=seed)._smoothed(tv)

    def _smoothed(self, tv: float) -> Self:
        if not 0 <= tv < float("inf"):
            raise BadArgument(f"tv={tv:g}", needed="an SUV of at least 0", remedy="0 leaves the slices as they are.")
        self.tv = tv
        return self

    def settings(self) -> Mapping[str, Any]:
        return {**super().settings(), "tv": self.tv}

    def kvp(self, study: Study) -> float:
        """Tube voltage of the study's CT, kV.

        Raises
        ------
        MissingInput : the study does not tell.
        """
        kvp = study.facts.get("kvp")
        if not isinstance(kvp, int | float):
            raise MissingInput(
                f"study {study.name} with a tube voltage of {kvp!r}",
                needed='facts["kvp"], which the attenuation map at 511 keV depends on',
                remedy="Read KVP (0018,0060), or state it where the study is made.",
            )
        return float(kvp)

    def require_parts(self) -> None:
        if self._segmenter is not None and not self._is_trained:
            raise BadArgument(
                f"{self.name} without a segmenter",
                needed="a trained attention",
                remedy="Call sees_with(Attention.restored(FILE)).",
            )
        super().require_parts()

    def prepared(self, study: Study) -> Study:
        """The study with the segmenter's "attention", where this method sees it."""
        if self._segmenter is None:
            return study
        self.require_parts()
        step = Step(("attention",), self._segmenter.name, ("ct",), self._segmenter.settings())
        return study.add({"attention": self._segmenter.make(study)["attention"]}, step)

    def prepares_by(self) -> str:
        """What `prepared` depends on besides the study."""
        return f"{self._segmenter.name} {self._segmenter.weights_sha256()}" if self._segmenter else ""

    def volumes(self, study: Study) -> dict[str, Tensor]:
        """What a network may see of a prepared study, [z, y, x] on the feed's grid: "given" and the maps, air at -1."""
        ct = self.feed.ct(study["ct"], self.feed.grid(study["ct"].grid))
        seen = {"given": self.feed.ct_to_network(ct.data)}
        if "attention" in self.maps:
            attention = study["attention"].require(FACTOR, name="attention")
            seen["attention"] = to_network(resampled(attention, ct.grid))
        if "attenuation" in self.maps:
            mu = mu_from_ct(ct, kvp=self.kvp(study), energy_kev=ANNIHILATION_KEV, table="abella")
            seen["attenuation"] = to_network(mu.data / DOUBLE_WATER_PER_CM)
        return seen

    def condition(self, volumes: Mapping[str, Tensor], numbers: Sequence[int] | None = None) -> Batch:
        """Network input of some slices of `volumes`, of all unless numbers are given."""
        feed, given = self.feed, volumes["given"]
        maps = {name: feed.slices(volumes[name], numbers, neighbours=False) for name in self.maps}
        return {"given": feed.slices(given, numbers), **maps, "place": feed.place(len(given), numbers)}

    @torch.inference_mode()
    def answers(self, study: Study) -> Tensor:
        """Answers [sample, z, y, x] in the network's range, on the feed's grid; far from the body, air."""
        self.players.eval()
        volumes = self.volumes(self.prepared(study))
        given = volumes["given"]
        rows, columns = self.feed.around(given)
        volumes = {name: volume[:, rows, columns] for name, volume in volumes.items()}
        device = next((weight.device for weight in self.players.parameters()), torch.device("cpu"))
        condition = {name: value.to(device) for name, value in self.condition(volumes).items()}
        answers = torch.full((self.samples, *given.shape), AIR)
        for sample, answer in enumerate(answers[..., rows, columns]):
            made = self.answer(condition, stream(self.seed, sample))
            answer.copy_(made[:, : answer.shape[1], : answer.shape[2]])
        beyond = torch.ones(given.shape[1:], dtype=torch.bool)
        beyond[self.feed.around(given, ANSWERED)] = False
        return answers.masked_fill(beyond, AIR)

    @torch.inference_mode()
    def make(self, study: Study) -> Mapping[str, Volume]:
        ct = study["ct"].require(HU, name="ct")
        suv = tv_update(strength=self.tv, axis="z")(self.feed.suv_from_network(self.answers(study)))
        spread = suv.std(0) if self.samples > 1 else torch.zeros_like(suv[0])
        return {"pet": self.on_ct(suv.mean(0), ct.grid), "pet_sd": self.on_ct(spread, ct.grid)}

    def on_ct(self, values: Tensor, grid: Grid, quantity: Quantity = SUV) -> Volume:
        """An answer [z, y, x] on the feed's grid, put back on the CT's; linear between voxels."""
        return Volume(resampled(Volume(values, self.feed.grid(grid), quantity), grid), grid, quantity)

    def batches(self, studies: Sequence[Study], *, seed: int, keep: Path | None = None) -> "PetBatches":
        self.require_parts()
        return PetBatches(self, studies, keep=keep)


class SampledPet(SampledSlices, PetSlices):
    """A PetSlices method that samples in `steps` network evaluations."""

    def using(self, *, steps: int | None = None, samples: int = 1, seed: int = 0, tv: float = 0.0) -> Self:
        """Settings of use: network evaluations per sample, and those of PetSlices."""
        return super().using(steps=steps, samples=samples, seed=seed)._smoothed(tv)


class PetBatches:
    """Training slices of all studies in memory or mapped from a folder; studies may differ in size.

    Parameters
    ----------
    method : whose feed, maps and preparation are used.
    studies : with "ct" and "pet".
    keep : folder in which what was cut is kept for other trainings on the same studies.
    """

    def __init__(self, method: PetSlices, studies: Sequence[Study], *, keep: Path | None = None) -> None:
        self._method = method
        self._bodies = [self._cut(study, keep) for study in studies]

    def _cut(self, study: Study, keep: Path | None) -> Mapping[str, Tensor]:
        """`PetSlices.volumes` and "target", [z, y, x] in the network's range."""
        method = self._method

        def cut() -> list[Mapping[str, Tensor]]:
            pet = study["pet"].require(SUV, name="pet").require_image(name="pet")
            target = method.feed.suv_to_network(resampled(pet, method.feed.grid(study["ct"].grid)))
            return [{**method.volumes(method.prepared(study)), "target": target}]

        identity = {
            "feed": as_recorded(asdict(method.feed)),
            "volumes": f"{type(method).volumes.__module__}.{type(method).volumes.__qualname__}",
            "maps": {name: method.kvp(study) if name == "attenuation" else 0 for name in method.maps},
            "prepared": method.prepares_by(),
            "grids": [str(study[name].grid.affine) for name in ("ct", "pet")],
            "images": fingerprint(study[name].data for name in ("ct", "pet")) if keep else "",
        }
        return kept_examples(keep, identity, cut, count=1)[0]

    def bodies(self) -> Sequence[Mapping[str, Tensor]]:
        """What was cut from every study."""
        return self._bodies

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """Random slices: the condition, "target" and "near"; smaller ones are filled up with air."""
        items: list[Batch] = []
        for _ in range(size):
            body = self._bodies[int(torch.randint(len(self._bodies), (), generator=generator))]
            number = [int(torch.randint(len(body["given"]), (), generator=generator))]
            target = self._method.feed.slices(body["target"], number, neighbours=False)
            items.append({**self._method.condition(body, number), "target": target})
        rows, columns = (max(item["target"].shape[axis] for item in items) for axis in (-2, -1))
        batch = {name: torch.cat([_filled(item[name], rows, columns) for item in items]) for name in items[0]}
        return {**batch, "near": self._method.feed.near(middle(batch["given"]))}


def _filled(value: Tensor, rows: int, columns: int) -> Tensor:
    """Slices [item, channel, row, column] with air up to so many rows and columns; anything else as it is."""
    if value.ndim < 4:
        return value
    return F.pad(value, (0, columns - value.shape[-1], 0, rows - value.shape[-2]), value=AIR)
