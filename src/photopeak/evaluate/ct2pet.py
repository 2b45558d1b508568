"""CT to PET: the plan of its benchmark, which scan is pictured, and what its record has besides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from photopeak.core import Study
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.evaluate.benchmark import Plan, Run
from photopeak.evaluate.pet_scores import lesions_of
from photopeak.metrics.lpips import BACKBONES

MEASURED = "measured PET"
"""The row of the scanner's own image with its noise: what no method that is trained on such images need beat."""
TRUTHS = ("pet_clean", "pet")
SEGMENTER = "attention"
"""The method that draws the attention map, and is scored by Dice's coefficient."""
IMPORTED_KEYS, IMPORTED_ALSO = frozenset({"truths", "volumes"}), frozenset({"budget", "without"})


@dataclass(frozen=True)
class Ct2PetPlan(Plan):
    """A benchmark of every entry on every person's CT.

    Parameters
    ----------
    truths : PETs that answers are compared with; "pet" of the scanner, "pet_clean" of a simulation.
    lpips : whose features it compares, "vgg" as the paper or "alexnet".
    features : labels of entries whose denoisers' features are drawn, as in the paper's Figure 4.
    imported : "truths" and "volumes" in place of the plan's where the cohort is a hospital's, which has no image
        without noise; besides, what of the "budget" is another there, and entries that it goes "without".
    others : as for Plan.

    Raises
    ------
    BadArgument : features of an entry that is not there or does not answer, one that ships without answers in SUV,
        another LPIPS, or other keys of `imported`.
    """

    truths: tuple[str, ...] = TRUTHS
    lpips: str = "vgg"
    features: tuple[str, ...] = ()
    imported: Mapping[str, Any] = field(default_factory=lambda: {"truths": ["pet"], "volumes": {}})
    uncorrected: ClassVar[str] = MEASURED
    quick_keys: ClassVar[frozenset[str]] = Plan.quick_keys | {"lpips"}

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "features", tuple(self.features))
        answering = [entry.label for entry in self.entries if entry.answers]
        for entry in self.entries:
            if entry.ships and (not entry.answers or loses_suv(entry.arguments)):
                raise BadArgument(
                    f"{entry.label} that ships",
                    needed="an entry that answers in SUV",
                    remedy='Leave out ships, or compat="cpdm".',
                )
        strange = [label for label in self.features if label not in answering]
        if strange:
            raise BadArgument(f"features of {strange[0]!r}", needed="entries that answer", remedy="Check the spelling.")
        if self.lpips not in BACKBONES:
            raise BadArgument(f"lpips {self.lpips!r}", needed=" or ".join(BACKBONES), remedy="Use one of these.")
        there = set(self.imported)
        if not IMPORTED_KEYS <= there <= IMPORTED_KEYS | IMPORTED_ALSO or not self.imported["truths"]:
            raise BadArgument(
                f"[imported] with {', '.join(sorted(self.imported)) or 'nothing'}",
                needed="truths and volumes, and maybe budget and without",
                remedy='Such as truths = ["pet"], volumes = {}.',
            )

    def quickly(self) -> Self:
        """As for Plan, for a hospital's cohort too; what is trained for seconds does not ship."""
        quick = super().quickly()
        imported = {key: value for key, value in self.imported.items() if key != "budget"}
        return replace(quick, entries=tuple(replace(entry, ships=False) for entry in quick.entries), imported=imported)

    def only(self, labels: Sequence[str]) -> Self:
        """As for Plan; features are drawn of those that stay."""
        kept = super(Ct2PetPlan, replace(self, features=())).only(labels)
        names = {entry.label for entry in kept.entries}
        return replace(kept, features=tuple(label for label in self.features if label in names))

    def runs(self) -> tuple[Run, ...]:
        """As for Plan; the scanner's own image is not compared with itself."""
        runs = super().runs()
        return runs if set(self.truths) - {"pet"} else runs[1:]

    def on(self, about: Mapping[str, Any]) -> Self:
        """The plan for a cohort of which the manifest says this."""
        if about.get("simulated"):
            return self
        told = self.imported
        kept = [entry.label for entry in self.entries if entry.label not in told.get("without", [])]
        budget = {**self.budget, **told.get("budget", {})}
        return replace(self.only(kept), truths=tuple(told["truths"]), volumes=dict(told["volumes"]), budget=budget)


def pictured(scans: Mapping[str, Study]) -> str:
    """The scan that is drawn: that with the most voxels in lesions, or the first where there are none.

    Raises
    ------
    MissingInput : there is no scan.
    """
    if not scans:
        raise MissingInput("no scan", needed="one or more to draw", remedy="Score a split that has scans.")
    return max(scans, key=lambda name: sum(int(lesion.sum()) for lesion in lesions_of(scans[name])))


def dice(found: Tensor, wanted: Tensor) -> float:
    """Dice's coefficient of two masks of one shape: twice what they share over the sum of both.

    Raises
    ------
    BadArgument : nothing wanted, other shapes, or no masks.
    """
    from monai.metrics import compute_dice

    if found.dtype != torch.bool or wanted.dtype != torch.bool or found.shape != wanted.shape or not wanted.any():
        raise BadArgument(
            f"masks of {tuple(found.shape)} {found.dtype} and {tuple(wanted.shape)} {wanted.dtype}, "
            f"{int(wanted.sum())} voxels wanted",
            needed="two bool masks of one shape, the second with a voxel",
            remedy="Threshold them; leave out what has nothing to be found.",
        )
    return float(compute_dice(found[None, None], wanted[None, None]))


def has_lost_suv(record: Mapping[str, Any], label: str) -> bool:
    """Whether the method of a row of a benchmark's record was trained on slices over their own maxima."""
    return loses_suv(record["entries"][label]["arguments"])


def loses_suv(arguments: Mapping[str, Any]) -> bool:
    """Whether a method with these arguments learns from slices over their own maxima."""
    return arguments.get("compat") == "cpdm" or bool(arguments.get("feed", {}).get("per_slice"))
