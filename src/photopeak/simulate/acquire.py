"""A patient in front of a camera: expected counts, then the counts that chance makes of them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from photopeak.core import Camera, Projections, Step, Study, Volume
from photopeak.core.units import COUNTS, FACTOR
from photopeak.simulate.anatomy import STILL, Anatomy
from photopeak.simulate.motion import displaced, over_breaths
from photopeak.simulate.tracer import activity, myocardium, perfusion_truth

Scatter = Callable[[Camera, Volume, Volume], Tensor]
"""(camera, attenuation, activity in counts) to expected scatter [view, row, column]."""
Orbit = Callable[[Volume, Volume], Camera]
"""The camera around a body, by its true attenuation and by the map of it that a hospital would have."""


def acquire(anatomy: Anatomy, orbit: Orbit, *, scatter: Scatter, generator: torch.Generator) -> Study:
    """One acquisition of one breathing patient.

    Parameters
    ----------
    orbit : makes the camera, which sees the anatomy's grid, of "mu_true" and "mu".
    scatter : of the activity in the patient's true attenuation.
    generator : source of the Poisson noise.

    Returns
    -------
    Study with volumes "mu" (as a CT in one breath, out of register, shows it), "mu_true" (over breaths, in register),
    "activity" (counts per voxel and acquisition) and "lv" (fraction of left ventricular wall); projections "raw"
    (Poisson), "clean" (its expectation, scatter included) and "scatter" (expectation).
    """
    patient, grid = anatomy.patient, anatomy.grid
    breath = partial(over_breaths, room=anatomy.room, breathing_mm=patient.breathing_mm)
    mu_true = breath(anatomy.mu(tissues=STILL), anatomy.mu(tissues=anatomy.riding))
    mu = displaced(anatomy.mu(), patient.misregistration_mm)
    camera = orbit(mu_true, mu)
    concentration = breath(activity(anatomy, STILL), activity(anatomy, anatomy.riding))
    wall = breath(Volume(torch.zeros(grid.shape), grid, COUNTS), myocardium(anatomy))
    both = camera.system(grid, mu_true)(torch.stack([wall.data, concentration.data]))
    # numpy sums in one order whatever the number of threads, so that a patient has the same bits everywhere.
    scale = patient.myocardial_counts / float(both[0].numpy().sum(dtype="float64"))
    emitted = concentration.with_data(scale * concentration.data)
    scattered = scatter(camera, mu_true, emitted)
    expected = Projections(scale * both[1] + scattered, camera)
    return Study(
        patient.name,
        volumes={
            "mu": mu,
            "mu_true": mu_true,
            "activity": emitted,
            "lv": Volume.from_numpy(anatomy.lv_wall, grid, FACTOR),
        },
        projections={
            "raw": expected.with_counts(torch.poisson(expected.counts, generator=generator)),
            "clean": expected,
            "scatter": expected.with_counts(scattered),
        },
        facts=_facts(anatomy),
        history=(Step(("mu", "mu_true", "activity", "lv", "raw", "clean", "scatter"), "simulate.acquire"),),
    )


def _facts(anatomy: Anatomy) -> dict[str, Any]:
    patient = anatomy.patient
    return {
        "simulated": True,
        "state": patient.state,
        "sex": patient.sex,
        "height_m": patient.height_m,
        "weight_kg": patient.weight_kg,
        "age_years": patient.age_years,
        "protocol": patient.protocol,
        "dose_mbq": patient.dose_mbq,
        "breathing_mm": patient.breathing_mm,
        "misregistration_mm": list(patient.misregistration_mm),
        "patient": patient.to_dict(),
        "truth": {
            "heart_centre_mm": list(anatomy.heart_centre_mm),
            "long_axis": list(anatomy.long_axis),
            "segments": list(perfusion_truth(anatomy).values()),
        },
    }
