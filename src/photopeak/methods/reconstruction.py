"""What all reconstructions of measured projections share: camera, grid, attenuation, scatter, post-filter."""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from photopeak.core import COUNTS, Camera, Grid, Method, Projections, Study, SystemOperator, Volume
from photopeak.core.errors import BadArgument
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.pinhole import Pinhole
from photopeak.physics.response import FWHM_PER_SIGMA, gaussian_toeplitz
from photopeak.physics.support import Within, body_of
from photopeak.recon.butterworth import butterworth

Watch = Callable[[int, Tensor], None]


@dataclass
class Reconstruction(Method):
    """Turns projections (and "mu", "scatter") into "nac" or "ac"; a subclass implements `image`.

    Parameters
    ----------
    makes : "nac" ignores attenuation and scatter; "ac" corrects for both.
    counts : name of the projections to reconstruct.
    as_ : name of the volume that is written; `makes` unless given.
    cutoff_per_cm, order : of the Butterworth filter; None for no filter.
    gaussian_mm : width at half maximum of a Gaussian filter in its place; None for no filter.
    recover : model the resolution of a parallel-hole camera; other cameras always model theirs.
    scatter : name of the expected scatter that "ac" allows for; None to leave it in.
    within : name of an attenuation map; nothing shines outside the body that it shows. "mu" for the "ac" of a pinhole
        camera unless another is given, since air near a pinhole would take the counts of the body.
    grid : of the image; that of "mu" unless given, or a parallel-hole camera's own.
    watch : called with (iteration, image) after each pass; not part of the settings.
    """

    makes: Literal["nac", "ac"] = "nac"
    counts: str = "raw"
    as_: str | None = None
    cutoff_per_cm: float | None = field(default=None, kw_only=True)
    order: float = field(default=5.0, kw_only=True)
    gaussian_mm: float | None = field(default=None, kw_only=True)
    recover: bool = field(default=False, kw_only=True)
    scatter: str | None = field(default="scatter", kw_only=True)
    within: str | None = field(default=None, kw_only=True)
    grid: Grid | None = field(default=None, kw_only=True)
    watch: Watch | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if self.makes not in ("nac", "ac"):
            raise BadArgument(f"makes={self.makes!r}", needed="nac or ac", remedy="Choose one.")
        if self.gaussian_mm is not None and (not 0 < self.gaussian_mm < math.inf or self.cutoff_per_cm is not None):
            raise BadArgument(
                f"gaussian_mm={self.gaussian_mm:g} and cutoff_per_cm={self.cutoff_per_cm}",
                needed="a positive width, and no second filter",
                remedy="Give cutoff_per_cm=None with it.",
            )
        if self.makes == "nac":
            self.scatter = None
        maps = ("mu" if self.makes == "ac" else None, self.within)
        self.reads = tuple(dict.fromkeys(filter(None, maps)))
        self.reads_projections = (self.counts, self.scatter) if self.scatter else (self.counts,)
        self.writes = (self.as_ or self.makes,)

    @abstractmethod
    def image(self, A: SystemOperator, grid: Grid, seen: Projections, background: Tensor | float) -> Tensor:
        """The image [z, y, x] on the grid that A projects, before the filter."""

    def modelled(self, camera: Camera) -> Camera:
        """The camera whose system is inverted: without collimator where resolution is not recovered."""
        if isinstance(camera, ParallelHole) and not self.recover:
            return replace(camera, collimator=None)
        return camera

    def finished(self, image: Tensor, grid: Grid) -> Tensor:
        """The image through the post-filter."""
        if self.gaussian_mm is not None:
            return gaussian(image, grid.spacing_mm, fwhm_mm=self.gaussian_mm)
        if self.cutoff_per_cm is None:
            return image
        return butterworth(image, grid.spacing_mm, cutoff_per_cm=self.cutoff_per_cm, order=self.order)

    def settings(self) -> Mapping[str, Any]:
        chosen = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("watch", "grid")}
        return chosen if self.grid is None else {**chosen, "grid": str(self.grid)}

    def make(self, study: Study) -> Mapping[str, Volume]:
        seen = study.projections[self.counts]
        mu = study["mu"] if self.makes == "ac" else None
        background = study.projections[self.scatter].counts if self.scatter else 0.0
        grid = self.grid or (mu.grid if mu is not None else natural_grid(seen.camera))
        system = self._supported(self.modelled(seen.camera).system(grid, mu), study, seen.camera)
        image = self.image(system, grid, seen, background)
        return {self.writes[0]: Volume(self.finished(image, grid), grid, COUNTS)}

    def _supported(self, system: SystemOperator, study: Study, camera: Camera) -> SystemOperator:
        within = self.within or ("mu" if self.makes == "ac" and isinstance(camera, Pinhole) else None)
        return Within(system, body_of(study[within])) if within else system


def gaussian(image: Tensor, voxel_mm: Sequence[float], *, fwhm_mm: float) -> Tensor:
    """An image [z, y, x] through a Gaussian `fwhm_mm` wide at half maximum; at an edge, the mean of what there is.

    Parameters
    ----------
    voxel_mm : (dz, dy, dx).
    """
    for axis, (size, mm) in enumerate(zip(image.shape, voxel_mm, strict=True)):
        sigma_px = torch.full((1,), fwhm_mm / FWHM_PER_SIGMA / mm, dtype=image.dtype, device=image.device)
        blur = gaussian_toeplitz(size, sigma_px, "sampled", reach=size)[0]
        image = torch.tensordot(blur / blur.sum(1, keepdim=True), image, dims=([1], [axis])).movedim(0, axis)
    return image


def natural_grid(camera: Camera) -> Grid:
    """The grid that a camera defines by itself: the detector's rows and columns of a parallel-hole camera.

    Raises
    ------
    BadArgument : another camera, which leaves the choice open.
    """
    if not isinstance(camera, ParallelHole):
        raise BadArgument(
            f"projections of a {camera.kind} without a grid",
            needed="grid=Grid(...)",
            remedy='Say where the image shall be, or give "mu" and reconstruct "ac".',
        )
    rows, columns = camera.shape
    return Grid.regular((rows, columns, columns), camera.pixel_mm)
