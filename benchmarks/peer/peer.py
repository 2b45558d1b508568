"""PyTomography 3.4.0 set up to project what `ParallelHole` projects: same orbit, attenuation and response.

Its objects are [x, y, z] and its projections [view, column, row], in cm; its angle runs the other way round. The
response is given to it as our sigma of distance; its kernel samples that Gaussian at pixel centres.
"""

import numpy as np
import pytomography
import torch
from pytomography.algorithms import OSEM
from pytomography.likelihoods import PoissonLogLikelihood
from pytomography.metadata.SPECT import SPECTObjectMeta, SPECTProjMeta, SPECTPSFMeta
from pytomography.projectors.SPECT import SPECTSystemMatrix
from pytomography.transforms.SPECT import SPECTAttenuationTransform, SPECTPSFTransform
from torch import Tensor
from torso import Job

from photopeak.core.units import MM_PER_CM
from photopeak.physics.response import FWHM_PER_SIGMA

pytomography.set_device("cpu")
VERSION = pytomography.__version__


def peer_system(job: Job) -> SPECTSystemMatrix:
    """PyTomography's system matrix of a job, with its default kernel size of three sigmas."""
    camera, (_, mu) = job.camera, job.scene()
    voxel_cm = job.voxel_mm / MM_PER_CM
    assert camera.collimator is not None
    fwhm_mm = camera.collimator.fwhm_mm

    def sigma_cm(distance_cm: np.ndarray) -> np.ndarray:
        return fwhm_mm(torch.from_numpy(distance_cm * MM_PER_CM)).numpy() / FWHM_PER_SIGMA / MM_PER_CM

    return SPECTSystemMatrix(
        obj2obj_transforms=[
            SPECTAttenuationTransform(attenuation_map=to_peer(mu.data)),
            SPECTPSFTransform(SPECTPSFMeta(sigma_fit_params=[], sigma_fit=sigma_cm)),
        ],
        proj2proj_transforms=[],
        object_meta=SPECTObjectMeta([voxel_cm] * 3, [job.size] * 3),
        proj_meta=SPECTProjMeta(
            (job.size, job.size),
            [voxel_cm] * 2,
            [-angle % 360 for angle in camera.angles_deg],
            np.array(camera.radii_mm) / MM_PER_CM,
        ),
    )


def peer_osem(job: Job, counts: Tensor, *, iterations: int, subsets: int) -> Tensor:
    """PyTomography's OSEM of counts [view, row, column]; image [z, y, x]."""
    likelihood = PoissonLogLikelihood(peer_system(job), counts.mT.contiguous())
    return to_peer(OSEM(likelihood)(n_iters=iterations, n_subsets=subsets))


def to_peer(image: Tensor) -> Tensor:
    """[z, y, x] to [x, y, z], and back."""
    return image.permute(2, 1, 0).contiguous()
