"""A patient in front of a camera: expected counts, then the counts that chance makes of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from photopeak.core import Camera, Projections, Step, Study, Volume
from photopeak.core.units import FACTOR
from photopeak.simulate.anatomy import Anatomy
from photopeak.simulate.tracer import activity, myocardium, perfusion_truth

Scatter = Callable[[Tensor], Tensor]


def acquire(anatomy: Anatomy, camera: Camera, *, scatter: Scatter, generator: torch.Generator) -> Study:
    """One acquisition of one patient.

    Parameters
    ----------
    camera : sees the anatomy's grid.
    scatter : expected primary counts to expected scatter, both [view, row, column].
    generator : source of the Poisson noise.

    Returns
    -------
    Study with volumes "mu", "activity" (counts per voxel and acquisition) and "lv" (fraction of left ventricular wall);
    projections "raw" (Poisson), "clean" (its expectation, scatter included) and "scatter" (expectation).
    """
    patient, grid = anatomy.patient, anatomy.grid
    mu, concentration = anatomy.mu(), activity(anatomy)
    lv = Volume.from_numpy(anatomy.lv_wall, grid, FACTOR)
    system = camera.system(grid, mu)
    # numpy sums in one order whatever the number of threads, so that a patient has the same bits everywhere.
    scale = patient.myocardial_counts / float(system(myocardium(anatomy).data).numpy().sum(dtype="float64"))
    primary = scale * system(concentration.data)
    scattered = scatter(primary)
    expected = Projections(primary + scattered, camera)
    truth = {
        "heart_centre_mm": list(anatomy.heart_centre_mm),
        "long_axis": list(anatomy.long_axis),
        "segments": list(perfusion_truth(anatomy).values()),
    }
    return Study(
        patient.name,
        volumes={"mu": mu, "activity": concentration.with_data(scale * concentration.data), "lv": lv},
        projections={
            "raw": expected.with_counts(torch.poisson(expected.counts, generator=generator)),
            "clean": expected,
            "scatter": expected.with_counts(scattered),
        },
        facts={"simulated": True, "sex": patient.sex, "patient": patient.to_dict(), "truth": truth},
        history=(Step(("mu", "activity", "lv", "raw", "clean", "scatter"), "simulate.acquire"),),
    )
