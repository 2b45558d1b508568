"""Chang's correction: NAC times the inverse mean survival of each voxel's photons, and its iterations.

The first order (Chang, IEEE Trans Nucl Sci 25(1):638, 1978; PADM Eq. 11) is exact for one point source seen from all
sides. Each iteration projects the image through the body, reconstructs that as NAC was reconstructed, and corrects
what is missing: ``x <- x + ACF * (NAC - OSEM_nac(A x))``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.ndimage import binary_closing, binary_fill_holes, gaussian_filter, label
from torch import Tensor

from photopeak.core import COUNTS, Grid, Method, Study, SystemOperator, Volume, attenuation
from photopeak.core.errors import BadArgument, BadValues, GridMismatch
from photopeak.core.units import TC99M_KEV
from photopeak.physics.attenuation import checked_mu, correction_factor
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.recon.butterworth import butterworth
from photopeak.recon.iterate import osem

CONTOUR_BLUR_MM = 12.0
CONTOUR_QUANTILE, CONTOUR_FRACTION = 0.8, 0.3
CONTOUR_GAP_MM = 25.0


class Chang(Method):
    """Reads "nac" and nothing else: the body's outline is seen in NAC and filled with one attenuation coefficient.

    Parameters
    ----------
    iterations : K; 0 is the first order.
    mu_per_cm : of the whole body, lung included; less than its mean where NAC holds scatter.
    views, arc_deg, start_deg : of the circular orbit that NAC was measured on (`ParallelHole.circular`).
    osem_iterations, subsets : of the reconstruction that made NAC.
    cutoff_per_cm, order : of a Butterworth filter in the loop; by default none, since the projected image has been
        through NAC's already.
    """

    name = "chang"
    reads: tuple[str, ...] = ("nac",)
    writes: tuple[str, ...] = ("ac", "ac_sd")

    def __init__(
        self,
        iterations: int = 0,
        *,
        mu_per_cm: float = 0.10,
        views: int = 60,
        arc_deg: float = 180.0,
        start_deg: float = -45.0,
        osem_iterations: int = 4,
        subsets: int = 10,
        cutoff_per_cm: float | None = None,
        order: float = 5.0,
    ) -> None:
        if iterations < 0 or not 0 < mu_per_cm < 1:
            raise BadArgument(
                f"{iterations} iterations with mu of {mu_per_cm:g} 1/cm",
                needed="at least 0, and between 0 and 1",
                remedy="Soft tissue has 0.15 1/cm at 140.5 keV, a chest 0.13 on average.",
            )
        self.iterations, self.mu_per_cm = iterations, mu_per_cm
        self.views, self.arc_deg, self.start_deg = views, arc_deg, start_deg
        self.osem_iterations, self.subsets = osem_iterations, subsets
        self.cutoff_per_cm, self.order = cutoff_per_cm, order

    def settings(self) -> Mapping[str, Any]:
        return dict(vars(self))

    def mu(self, study: Study) -> Volume:
        """The attenuation map, 1/cm, on NAC's grid."""
        nac = study["nac"]
        return nac.with_data(self.mu_per_cm * contour(nac).to(nac.data), attenuation(TC99M_KEV))

    @torch.inference_mode()
    def make(self, study: Study) -> Mapping[str, Volume]:
        nac = study["nac"].require(COUNTS, name="nac").require_image(name="nac")
        _require_transaxial(nac.grid)
        camera, mu = self.camera(nac.grid), self.mu(study)
        checked_mu(mu, nac.grid)
        factor = correction_factor(
            mu.data, camera.pixel_mm, views=self.views, start_deg=camera.angles_deg[0], arc_deg=self.arc_deg
        )
        image = factor * nac.data
        for _ in range(self.iterations):
            missing = nac.data - self.uncorrected(image.clamp(min=0), camera, mu)
            image = image + factor * missing
        return {"ac": nac.with_data(image.clamp(min=0)), "ac_sd": nac.with_data(torch.zeros_like(image))}

    def camera(self, grid: Grid) -> ParallelHole:
        """The orbit around an image, far outside it, with ideal resolution: NAC is as blurred as its projections."""
        rows, size, columns = grid.shape
        return ParallelHole.circular(
            views=self.views,
            arc_deg=self.arc_deg,
            start_deg=self.start_deg,
            radius_mm=size * grid.spacing_mm[0],
            shape=(rows, columns),
            pixel_mm=grid.spacing_mm[0],
            collimator=None,
        )

    def uncorrected(self, image: Tensor, camera: ParallelHole, mu: Volume) -> Tensor:
        """What NAC would be [z, y, x] if `image` were the activity: projected through `mu`, reconstructed without."""
        system: SystemOperator = camera.system(mu.grid)
        seen = camera.system(mu.grid, mu)(image).clamp(min=0)
        flat = torch.full_like(image, float(image.mean()))
        answer = osem(system, seen, iterations=self.osem_iterations, subsets=self.subsets, start=flat)
        if self.cutoff_per_cm is None:
            return answer
        return butterworth(answer, mu.grid.spacing_mm, cutoff_per_cm=self.cutoff_per_cm, order=self.order)


class ChangMu(Chang):
    """Chang with the attenuation map "mu" of a CT."""

    name = "chang_mu"
    reads = ("nac", "mu")

    def mu(self, study: Study) -> Volume:
        return study["mu"]


def contour(nac: Volume) -> Tensor:
    """The body [z, y, x] as NAC shows it: what is not dark, in one piece, its gaps and lungs filled slice by slice.

    Raises
    ------
    BadValues : an image without anything bright.
    """
    smooth = gaussian_filter(nac.numpy(), [CONTOUR_BLUR_MM / voxel for voxel in nac.grid.spacing_mm])
    level = CONTOUR_FRACTION * float(np.quantile(smooth, CONTOUR_QUANTILE))
    if not level > 0:
        raise BadValues(
            f'"nac" with {level:g} counts in most voxels',
            needed="an image of a body that fills a fifth of its field of view",
            remedy="Give an attenuation map and use chang_mu.",
        )
    pieces, _ = label(smooth > level)
    largest = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    reach = round(CONTOUR_GAP_MM / nac.grid.spacing_mm[1])
    padded = np.pad(largest, ((0, 0), (reach, reach), (reach, reach)))
    closed = [binary_fill_holes(binary_closing(piece, iterations=reach)) for piece in padded]
    return torch.from_numpy(np.stack(closed)[:, reach:-reach, reach:-reach].copy())


def _require_transaxial(grid: Grid) -> None:
    if not (grid.is_axial and grid.is_isotropic and grid.shape[1] == grid.shape[2]):
        raise GridMismatch(
            f'"nac" on {grid}',
            needed="square transaxial slices of cubic voxels around the axis of rotation",
            remedy="Reconstruct NAC on the camera's own grid, not reoriented.",
        )
