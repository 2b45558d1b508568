"""Filtered back projection of measured projections, the clinical reconstruction without any correction (IRNC).

Its ramp is apodised by the Butterworth filter that the iterative methods apply afterwards; negative streaks are cut.
"""

import math
from dataclasses import dataclass, field, replace

from torch import Tensor

from photopeak.core import Camera, Grid, Projections, SystemOperator
from photopeak.core.errors import BadArgument
from photopeak.methods.reconstruction import Reconstruction
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.ring import Ring
from photopeak.recon.fbp import fbp


@dataclass
class Fbp(Reconstruction):
    """Reconstruct "raw" into "nac", from views in equal steps of a half or a whole turn.

    Parameters
    ----------
    cutoff_per_cm, order : of the Butterworth filter, 0.52 and 5 in clinical use; None for the ramp alone.
    others : as for Reconstruction; nothing is corrected, and no resolution recovered.
    """

    cutoff_per_cm: float | None = field(default=0.52, kw_only=True)
    name = "fbp"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.makes != "nac" or self.recover:
            raise BadArgument(
                f"makes={self.makes!r}, recover={self.recover}",
                needed="nac without recovery",
                remedy="Filtered back projection corrects for nothing; use osem.",
            )

    def modelled(self, camera: Camera) -> Camera:
        parallel = _parallel(camera)
        if isinstance(parallel, ParallelHole):
            return replace(parallel, collimator=None)
        return replace(parallel, fwhm_mm=0.0)

    def image(self, A: SystemOperator, grid: Grid, seen: Projections, background: Tensor | float) -> Tensor:
        camera = _parallel(seen.camera)
        dz, dy, dx = grid.spacing_mm
        return fbp(
            A,
            seen.counts,
            angles_deg=camera.angles_deg,
            bin_mm=camera.pixel_mm if isinstance(camera, ParallelHole) else camera.bin_mm,
            voxel_mm=math.sqrt(dy * dx),
            row_mm=dz,
            cutoff_per_cm=self.cutoff_per_cm,
            order=self.order,
        )

    def finished(self, image: Tensor, grid: Grid) -> Tensor:
        return image.clamp(min=0)


def _parallel(camera: Camera) -> ParallelHole | Ring:
    if not isinstance(camera, ParallelHole | Ring):
        raise BadArgument(
            f"projections of a {camera.kind}",
            needed="parallel rays: parallel_hole or ring",
            remedy="Use an iterative method (mlem, osem).",
        )
    return camera
