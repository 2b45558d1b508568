"""Forward consistency: would this AC, in this attenuation, have given the NAC that was measured?

AC is projected with attenuation and reconstructed without, which is what makes NAC of a patient. The measured NAC goes
through the same camera and reconstruction without attenuation, so that both have lost the same resolution, and the two
are compared around the heart after one least-squares factor. A small residual is necessary, not sufficient: a wrong AC
in a map that is wrong to match passes.
"""

from dataclasses import replace

import torch

from photopeak.core import COUNTS, Camera, Study, Volume
from photopeak.evaluate.ood import found_heart
from photopeak.evaluate.patients import heart_mask
from photopeak.metrics.compare import least_squares_factor
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.recon.iterate import osem

ITERATIONS, LARGEST_SUBSETS = 2, 10
RADIUS_MM = 80.0


def usual_camera(nac: Volume) -> ParallelHole:
    """The camera of a perfusion scan of which nothing is known: 60 views, RAO45 to LPO45, ideal resolution."""
    rows, _, columns = nac.grid.shape
    return ParallelHole.circular(shape=(rows, columns), pixel_mm=nac.grid.spacing_mm[0], collimator=None)


@torch.inference_mode()
def nac_again(image: Volume, camera: Camera, mu: Volume | None) -> Volume:
    """What the camera and a reconstruction that knows no attenuation make of an image [z, y, x].

    Parameters
    ----------
    image : counts, not negative; its grid is the camera's.
    mu : attenuation, 1/cm, on the grid of `image`; None for no attenuation.
    """
    bare = replace(camera, collimator=None) if isinstance(camera, ParallelHole) else camera
    seen = bare.system(image.grid, mu)(image.data.clamp(min=0))
    views = seen.shape[0]
    subsets = max(n for n in range(1, min(LARGEST_SUBSETS, views) + 1) if views % n == 0)
    again = osem(bare.system(image.grid), seen, iterations=ITERATIONS, subsets=subsets)
    return Volume(again, image.grid, COUNTS)


def forward_residual(study: Study, *, mu: str, ac: str = "ac", nac: str = "nac", camera: Camera | None = None) -> float:
    """Relative residual around the heart: root mean square of the difference over that of the measured NAC.

    Parameters
    ----------
    mu : name of the attenuation map, predicted or given.
    camera : that of the scan; unless given that of ``projections["raw"]``, else `usual_camera`.

    Raises
    ------
    MissingInput, GridMismatch : a volume is not there, or on another grid.
    """
    measured, estimate, attenuation = study[nac], study[ac], study[mu]
    measured.grid.require_same(estimate.grid, mine=nac, theirs=ac)
    measured.grid.require_same(attenuation.grid, mine=nac, theirs=mu)
    if camera is None:
        raw = study.projections.get("raw")
        camera = usual_camera(measured) if raw is None else raw.camera
    made, expected = nac_again(estimate, camera, attenuation), nac_again(measured, camera, None)
    mask = heart_mask(measured.grid, found_heart(study, nac).frame, RADIUS_MM)
    difference = least_squares_factor(made, expected, mask) * made.data - expected.data
    return float(difference[mask].norm() / expected.data[mask].norm())
