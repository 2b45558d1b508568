"""OSEM of measured projections with a Butterworth filter, as clinical IRNC, IRAC and IRACSC are made.

Clinical defaults without resolution recovery: the camera is taken as ideal in resolution unless `recover` is set.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from photopeak.core import COUNTS, Grid, Method, Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.recon.butterworth import butterworth
from photopeak.recon.iterate import osem


@dataclass
class Osem(Method):
    """Reconstruct "raw" (and "scatter", "mu") into "nac" or "ac".

    Parameters
    ----------
    makes : "nac" ignores attenuation and scatter; "ac" corrects for both.
    counts : name of the projections to reconstruct.
    as_ : name of the volume that is written; `makes` unless given.
    iterations, subsets : of OSEM.
    cutoff_per_cm, order : of the Butterworth filter.
    recover : model the collimator's resolution.
    """

    makes: Literal["nac", "ac"] = "nac"
    counts: str = "raw"
    as_: str | None = None
    iterations: int = 4
    subsets: int = 10
    cutoff_per_cm: float = 0.45
    order: float = 5.0
    recover: bool = False
    name = "osem"

    def __post_init__(self) -> None:
        if self.makes not in ("nac", "ac"):
            raise BadArgument(f"makes={self.makes!r}", needed="nac or ac", remedy="Choose one.")
        self.reads = ("mu",) if self.makes == "ac" else ()
        self.reads_projections = (self.counts, "scatter") if self.makes == "ac" else (self.counts,)
        self.writes = (self.as_ or self.makes,)

    def settings(self) -> Mapping[str, Any]:
        return asdict(self)

    def make(self, study: Study) -> Mapping[str, Volume]:
        seen = study.projections[self.counts]
        camera = seen.camera
        if not isinstance(camera, ParallelHole):
            raise BadArgument(
                f"projections of a {camera.kind}", needed="parallel_hole", remedy="Use a method for this camera."
            )
        if not self.recover:
            camera = replace(camera, collimator=None)
        corrected = self.makes == "ac"
        mu = study["mu"] if corrected else None
        rows, columns = camera.shape
        grid = mu.grid if mu is not None else Grid.regular((rows, columns, columns), camera.pixel_mm)
        background = study.projections["scatter"].counts if corrected else 0.0
        image = osem(
            camera.system(grid, mu),
            seen.counts,
            iterations=self.iterations,
            subsets=self.subsets,
            background=background,
        )
        smooth = butterworth(image, camera.pixel_mm, cutoff_per_cm=self.cutoff_per_cm, order=self.order)
        return {self.writes[0]: Volume(smooth, grid, COUNTS)}
