"""People in front of the 19-module camera: what ``photopeak simulate --camera nm570c`` makes of each of them.

The camera stays and the patient's grids lie around it, so that one traced matrix serves everybody. The torso is
projected; reconstructed are the clinic's 50 x 70 x 70 voxels of 4 mm about the centre of the field, so that what shines
beyond them is pushed into their edge, as it is there.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from photopeak.cli.simulate import one_thread, with_heart

if TYPE_CHECKING:
    import numpy as np
    from torch import Generator, Tensor

    from photopeak.core import Camera, Grid, Study, Volume
    from photopeak.physics.pinhole import Module, Pinhole
    from photopeak.simulate.population import Patient

CAMERA, MODEL = "dnm_530c", "SIMULATED NM570C"
IMAGE_SHAPE, VOXEL_MM = (50, 70, 70), 4.0
TORSO_SHAPE, TORSO_START = (90, 84, 104), (-24, -8, -20)
"""What is projected, and where it begins in voxels of the image: from beyond come 0.2 to 0.3 % of the counts."""
ITERATIONS = 50
SECONDS = {"stress": 300.0, "rest": 480.0}
"""Of the 3 to 8 minutes that such cameras take: about 1.2 and 1.1 million counts from the myocardium."""
SENSITIVITY_OVER_LEHR = 5.6 / 0.6
"""Myocardial counts for each second and MBq injected (Imbert et al., J Nucl Med 2012)."""
POSITION_SD_MM, POSITION_CUT_MM = 6.0, 12.0
"""Where the middle of the ventricle lies about the centre of the field, along each axis; assumed."""
GAP_MM = 10.0
"""Between the body and any module."""
CLEAR_MM = 90.0
"""NAC is zero nearer to a pinhole than this: skin at most, and needs no CT to know."""
_COARSE_SHAPE, _COARSE_MM = (44, 50, 58), 10.0
_MOVES = 20
_PLACES = 500_000
"""Streams of chance that place the patient start here; those of people start at 0, those of noise go down from -1."""


def simulate_person(name: str = "patient_0000", *, number: int = 0, seed: int = 0) -> "tuple[Study, Study]":
    """Stress and rest of one person; deterministic by seed and number, whatever the number of threads.

    The person is the one of that seed and number in front of the parallel-hole camera, but arms up, with the CT in
    register, and counted by this camera. Each scan has "nac", "ac" and "ac_clean" (MLEM of the counts and, the last, of
    their expectation), "mu" (of one breath), "mu_true" (over breaths), "activity", "lv", and projections "raw", "clean"
    and "scatter", which is zero: no scatter is simulated. The heart is found in the stress NAC and its frame used for
    both.
    """
    from photopeak.core.random import stream
    from photopeak.simulate.population import draw_scans

    with one_thread():
        chance = stream(seed, _PLACES + number)
        scans = draw_scans(stream(seed, number), name=name)
        stress, rest = (
            _scan(patient, chance, stream(seed, -1 - len(scans) * number - place)).with_facts(person=name)
            for place, patient in enumerate(scans)
        )
        stress = with_heart(stress)
        if "heart" in stress.facts:
            return stress, rest.with_facts(heart=stress.facts["heart"])
        return stress, with_heart(rest)


def _scan(drawn: "Patient", chance: "Generator", noise: "Generator") -> "Study":
    """Acquisition and reconstructions of one scan."""
    from photopeak.core import Grid
    from photopeak.simulate.acquire import acquire
    from photopeak.simulate.anatomy import build_anatomy

    patient = _for_this_camera(drawn)
    camera = placed(patient, chance)
    grid = Grid.regular(IMAGE_SHAPE, VOXEL_MM, centre_mm=camera.fov_centre_mm)
    anatomy = build_anatomy(patient, grid.crop(TORSO_START, TORSO_SHAPE))
    study = acquire(anatomy, lambda mu_true, mu: camera, scatter=_no_scatter, generator=noise)
    volumes = {name: _cropped(volume, grid) for name, volume in study.volumes.items()}
    study = replace(study, volumes=volumes).with_facts(camera_model=MODEL, seconds=SECONDS[patient.state])
    return _reconstructed(study, camera)


def _for_this_camera(patient: "Patient") -> "Patient":
    """Arms up, as the camera demands, counts of its sensitivity and time, and a CT in register."""
    from photopeak.simulate.population import SECONDS as LEHR_SECONDS

    more = SENSITIVITY_OVER_LEHR * SECONDS[patient.state] / LEHR_SECONDS
    return replace(
        patient,
        arms_up=True,
        misregistration_mm=(0.0, 0.0, 0.0),
        myocardial_counts=patient.myocardial_counts * more,
    )


def placed(patient: "Patient", chance: "Generator") -> "Pinhole":
    """The camera with its field on the heart as well as one hits it, moved off as far as the body is in a module's way.

    Raises
    ------
    BadArgument : the body is too large for the ring of modules.
    """
    import numpy as np
    import torch

    from photopeak.core import Grid
    from photopeak.core.errors import BadArgument
    from photopeak.core.units import MATTER_PER_CM
    from photopeak.physics.pinhole import Pinhole
    from photopeak.simulate.anatomy import build_anatomy

    camera = Pinhole.named(CAMERA)
    coarse = Grid.regular(_COARSE_SHAPE, _COARSE_MM)
    body = coarse.points()[build_anatomy(patient, coarse, oversample=1).mu().numpy() > MATTER_PER_CM]
    missed = POSITION_SD_MM * torch.randn(3, generator=chance, dtype=torch.float64)
    centre = np.array([patient.heart_x_mm, patient.heart_y_mm, 0.0])
    centre += missed.clamp(-POSITION_CUT_MM, POSITION_CUT_MM).numpy()
    for _ in range(_MOVES):
        depths = [_depth_mm(module, camera, body - centre) for module in camera.modules]
        deepest = int(np.argmax(depths))
        if depths[deepest] <= -GAP_MM:
            x, y, z = (round(float(v), 3) for v in centre)
            return replace(camera, fov_centre_mm=(x, y, z))
        centre += (depths[deepest] + GAP_MM + 0.1) * camera.modules[deepest].axes[0]
    raise BadArgument(
        f"{patient.name}, {patient.weight_kg:.0f} kg and {patient.height_m:.2f} m",
        needed=f"a body that fits between the modules of {CAMERA}",
        remedy="Take another number or seed, or the parallel-hole camera.",
    )


def _depth_mm(module: "Module", camera: "Pinhole", body_mm: "np.ndarray") -> float:
    """How far body points [n, (x, y, z)], from the field's centre, reach behind a pinhole; below 0 if they do not."""
    import numpy as np

    behind, across, up = (body_mm @ module.axes.T).T
    rows, columns = (0.5 * n * camera.pixel_mm + _COARSE_MM / 2 for n in camera.shape)
    facing = (abs(across) <= columns) & (abs(up) <= rows) & (behind <= module.h_mm + module.f_mm + GAP_MM)
    return float(np.max(behind[facing] + _COARSE_MM / 2 - module.h_mm, initial=-module.h_mm))


def _cropped(volume: "Volume", grid: "Grid") -> "Volume":
    """The image's part of a volume of the torso."""
    from photopeak.core import Volume

    part = tuple(slice(-first, -first + n) for first, n in zip(TORSO_START, grid.shape, strict=True))
    return Volume(volume.data[part].clone(), grid, volume.quantity)


def _no_scatter(camera: "Camera", mu: "Volume", activity: "Volume") -> "Tensor":
    """The tracked kernels of ESSE belong to parallel holes, and a plain blur would be right in amount alone."""
    import torch

    return torch.zeros(camera.projection_shape)


def _reconstructed(study: "Study", camera: "Pinhole") -> "Study":
    """With "nac", "ac" and "ac_clean", all three in one loop over the matrix."""
    import torch

    from photopeak.core import COUNTS, Step, Volume
    from photopeak.physics.pinhole_abreast import Abreast
    from photopeak.physics.support import body_of
    from photopeak.recon.updates import em_update, inverse_sensitivity

    mu, raw, clean = study["mu"], study.projections["raw"], study.projections["clean"]
    bare, body = camera.system(mu.grid), body_of(mu)
    lossy, clear = bare.attenuated(mu), clear_of_pinholes(camera, mu.grid)
    system = Abreast.of([bare, lossy, lossy], [clear, body, body])
    counts = torch.stack([raw.counts, raw.counts, clean.counts])
    inverse = inverse_sensitivity(system, counts)
    update = em_update(system, counts, inverse=inverse)
    images = (inverse > 0).to(counts)
    for _ in range(ITERATIONS):
        images = update(images)
    supports: dict[str, dict[str, str | float]] = {
        "nac": {"clear_of_pinholes_mm": CLEAR_MM},
        "ac": {"within": "mu"},
        "ac_clean": {"within": "mu"},
    }
    reads = {"nac": ("raw",), "ac": ("mu", "raw"), "ac_clean": ("mu", "clean")}
    for image, (name, support) in zip(images, supports.items(), strict=True):
        step = Step((name,), "mlem", reads[name], {"iterations": ITERATIONS, **support})
        study = study.add({name: Volume(image.clone(), mu.grid, COUNTS)}, step)
    return study


def clear_of_pinholes(camera: "Pinhole", grid: "Grid") -> "Tensor":
    """Voxels [z, y, x] at least `CLEAR_MM` from every pinhole: air nearer by takes up the counts of the body."""
    import numpy as np
    import torch

    from_centre = grid.points() - np.array(camera.fov_centre_mm)
    pinholes = [module.h_mm * module.axes[0] for module in camera.modules]
    nearest = np.min([np.linalg.norm(from_centre - pinhole, axis=-1) for pinhole in pinholes], axis=0)
    return torch.from_numpy(nearest >= CLEAR_MM)
