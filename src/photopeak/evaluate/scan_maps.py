"""Polar maps of all images of one scan on one surface: all that clinical figures need of a scan.

The surface is that of the true ventricle of a simulation, or of the found one, so that differences between images are
not differences between contours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from photopeak.cardiac.polar import LVSurface, polar_map
from photopeak.cardiac.segments import SEGMENTS, segment_means
from photopeak.core import Study
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.evaluate.scan_facts import heart_in

NORMAL_UPTAKE, DEFECT_UPTAKE = 0.97, 0.85


@dataclass(frozen=True, eq=False)
class ScanMaps:
    """What clinical figures need of one scan.

    Parameters
    ----------
    person, state, sex : whose scan it is; state is "stress", "rest" or None.
    truth_segments : true uptake of the 17 segments over that of normal wall.
    defects : territories of the defects that were drawn; none in a normal scan.
    maps : polar maps [ring, angle] by the name of the image.
    """

    person: str
    state: str | None
    sex: str | None
    truth_segments: tuple[float, ...]
    defects: tuple[str, ...]
    maps: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        if len(self.truth_segments) != len(SEGMENTS):
            raise BadArgument(
                f"{len(self.truth_segments)} true segments of {self.person}", needed="17", remedy="Simulate the scan."
            )

    def __getitem__(self, image: str) -> Tensor:
        """The polar map of an image."""
        if image not in self.maps:
            raise MissingInput(
                f'the scan of {self.person} has no map of "{image}"',
                needed=f"one of {', '.join(self.maps)}",
                remedy="Measure it with that image.",
            )
        return self.maps[image]

    @property
    def is_normal(self) -> bool:
        return not self.defects

    @cached_property
    def defect_segments(self) -> tuple[int, ...]:
        """Indices (0 to 16) of segments with less than 85 % of normal uptake."""
        return tuple(i for i, uptake in enumerate(self.truth_segments) if uptake < DEFECT_UPTAKE)

    @cached_property
    def normal_segments(self) -> tuple[int, ...]:
        """Indices (0 to 16) of segments with 97 % of normal uptake or more."""
        return tuple(i for i, uptake in enumerate(self.truth_segments) if uptake >= NORMAL_UPTAKE)

    def segments(self, image: str) -> Tensor:
        """Means [17] of an image."""
        return segment_means(self[image].double())

    def with_maps(self, **maps: Tensor) -> "ScanMaps":
        """This scan with more (or replaced) maps."""
        made = {**self.maps, **maps}
        return ScanMaps(self.person, self.state, self.sex, self.truth_segments, self.defects, made)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a file."""
        plain = {name: values.tolist() for name, values in self.maps.items()}
        keys = ("person", "state", "sex", "truth_segments", "defects")
        return {**{key: getattr(self, key) for key in keys}, "maps": plain}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "ScanMaps":
        maps = {name: torch.tensor(values, dtype=torch.float32) for name, values in record["maps"].items()}
        segments, defects = tuple(record["truth_segments"]), tuple(record["defects"])
        return cls(record["person"], record["state"], record["sex"], segments, defects, maps)


def measure_maps(study: Study, images: Sequence[str], *, person: str, state: str | None = None) -> ScanMaps:
    """The maps of the named volumes of a simulated scan.

    Raises
    ------
    MissingInput : the study lacks a volume, or knows no truth.
    """
    facts, patient = study.facts, dict(study.facts.get("patient", {}))
    truth = facts.get("truth", {})
    if "segments" not in truth or "defects" not in patient:
        raise MissingInput(
            f"study {study.name} does not say where its defects are",
            needed="the truth of a simulation",
            remedy="Simulate the cohort.",
        )
    surface = LVSurface.of(heart_in(study))
    return ScanMaps(
        person,
        state or facts.get("state"),
        facts.get("sex", patient.get("sex")),
        tuple(truth["segments"]),
        tuple(defect["territory"] for defect in patient["defects"]),
        {image: polar_map(study[image], surface) for image in images},
    )
