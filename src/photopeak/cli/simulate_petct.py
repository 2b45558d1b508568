"""People in a PET/CT: what ``photopeak simulate --camera petct`` makes of each of them.

One study a person, with the names, quantities and facts that ``photopeak import`` gives a hospital's, and besides what
only a simulation knows: the PET without noise, the lesions and the organs. The torso from above the lungs to below the
kidneys, arms up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from photopeak.cli.simulate import one_thread

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from photopeak.core import Grid, Study, Volume
    from photopeak.physics.ring import Ring
    from photopeak.simulate.anatomy import Anatomy
    from photopeak.simulate.bowel import Gut
    from photopeak.simulate.fdg import Uptake
    from photopeak.simulate.lesions import Lesion
    from photopeak.simulate.population import Patient

MODEL = "SIMULATED PETCT"
SHAPE, SPACING_MM = (96, 96, 112), (5.0, 4.0, 4.0)
ABOVE_LUNGS_MM = 35.0
"""From the top of the lungs to that of the field, which goes on 480 mm toward the feet."""
VIEWS, SCANNER_FWHM_MM, FILTER_FWHM_MM = 192, 4.5, 4.0
"""Together 6.0 mm; reconstruction does not model the scanner's own."""
ITERATIONS, SUBSETS = 3, 16
TRUES = (8e7, 0.25)
"""Mean and coefficient of variation over people, three bed positions together."""
RANDOMS = (0.5, 0.9)
SCATTER_RATIO, SCATTER_FWHM_MM = 0.5, 120.0
"""Scatter over trues, a third of both together; assumed, as is how wide it spreads."""
MBQ_PER_KG = (4.1, 0.12)
"""Boktor et al., J Nucl Med 2013; 54:677; the spread is assumed."""
ORGANS: Mapping[str, tuple[str, ...]] = {
    "liver": ("liver",),
    "spleen": ("spleen",),
    "kidney": ("kidney",),
    "lung": ("lung",),
    "myocardium": ("lv_wall",),
    "blood": ("lv_cavity", "blood"),
    "muscle": ("muscle",),
    "bone": ("bone",),
}
"""Labels 1, 2, ... of "organ"; the uptake of each is that of its first tissue."""
_PEOPLE, _NOISE = 600_000, 700_000
"""Streams of chance beside that of the person, which is the same for every camera."""


def scan_names(person: str) -> dict[str | None, str]:
    """A person's one scan, which is neither stress nor rest."""
    return {None: person}


def simulate_person(name: str = "patient_0000", *, number: int = 0, seed: int = 0) -> "Study":
    """The PET/CT of one person; deterministic by seed and number, whatever the number of threads.

    It has "ct" [HU, with noise], "pet" [SUV, as measured], "pet_clean" (the same reconstruction of expected counts),
    "lesion" (1 for the first lesion of ``facts["truth"]["lesions"]`` and so on) and "organ" (labels of ``ORGANS``).
    """
    from photopeak.core.random import stream
    from photopeak.simulate.population import draw_scans

    with one_thread():
        drawn, _ = draw_scans(stream(seed, number), name=name)
        patient = replace(drawn, name=name, arms_up=True, defects=(), misregistration_mm=(0.0, 0.0, 0.0))
        return _Visit.draw(patient, seed, number).study(seed, number)


@dataclass(frozen=True)
class _Visit:
    """Everything drawn for one person in the scanner."""

    anatomy: "Anatomy"
    uptake: "Uptake"
    bowel: "tuple[Gut, ...]"
    lesions: "tuple[Lesion, ...]"
    density: Mapping[str, float]
    kvp: float
    noise_hu: float
    trues: float
    randoms: float
    dose_mbq: float

    @classmethod
    def draw(cls, patient: "Patient", seed: int, number: int) -> "_Visit":
        from photopeak.core.random import stream
        from photopeak.simulate.anatomy import build_anatomy
        from photopeak.simulate.bowel import draw_bowel
        from photopeak.simulate.ct import NOISE_HU, VOLTAGES, draw_density
        from photopeak.simulate.draws import Draw
        from photopeak.simulate.fdg import draw_uptake
        from photopeak.simulate.lesions import draw_lesions

        draw, anatomy = Draw(stream(seed, _PEOPLE + number)), build_anatomy(patient, _field(patient))
        return cls(
            anatomy,
            draw_uptake(draw, patient),
            draw_bowel(draw, anatomy),
            draw_lesions(draw, anatomy),
            density=draw_density(draw),
            kvp=float(draw.choice({str(kvp): share for kvp, share in VOLTAGES.items()})),
            noise_hu=draw.lognormal(*NOISE_HU),
            trues=draw.lognormal(*TRUES),
            randoms=draw.uniform(*RANDOMS),
            dose_mbq=patient.weight_kg * draw.lognormal(*MBQ_PER_KG),
        )

    def study(self, seed: int, number: int) -> "Study":
        """CT, then PET corrected with it."""
        from photopeak.core import Step, Study
        from photopeak.core.random import stream
        from photopeak.core.units import ANNIHILATION_KEV
        from photopeak.physics.mumap import mu_from_ct
        from photopeak.simulate.ct import with_noise
        from photopeak.simulate.pet import acquire_pet

        noise = stream(seed, _NOISE + number)
        ct = with_noise(self.ct(), self.noise_hu, noise)
        camera = _ring(ct.grid)
        acquired = acquire_pet(
            self.anatomy.patient.name,
            self.activity(),
            self.mu(),
            camera,
            trues=self.trues,
            scatter=_scatter,
            randoms=self.randoms,
            generator=noise,
        )
        mu = mu_from_ct(ct, kvp=self.kvp, energy_kev=ANNIHILATION_KEV)
        made = Step(("ct", "lesion", "organ"), "simulate.petct", (), {"kvp": self.kvp, "noise_hu": self.noise_hu})
        study = Study(self.anatomy.patient.name, facts=self.facts(acquired.facts), history=acquired.history)
        study = study.add({"ct": ct, **self.truth()}, made)
        settings = {"iterations": ITERATIONS, "subsets": SUBSETS, "filter_fwhm_mm": FILTER_FWHM_MM}
        for image, counts in (("pet", "raw"), ("pet_clean", "clean")):
            step = Step((image,), "osem", (counts, "scatter", "randoms", "ct"), settings)
            study = study.add({image: _reconstructed(acquired, counts, mu)}, step)
        return study

    def ct(self) -> "Volume":
        """Without noise."""
        from photopeak.simulate.ct import EFFECTIVE_KEV, ct_noise_free

        over_water = _over_water(EFFECTIVE_KEV[self.kvp])
        return ct_noise_free(self.anatomy, self._painted_with(self._densities), over_water, self.density)

    def mu(self) -> "Volume":
        """True attenuation at 511 keV, 1/cm, over breaths."""
        from photopeak.core.units import ANNIHILATION_KEV
        from photopeak.physics.cross_sections import MUSCLE
        from photopeak.simulate.anatomy import STILL

        per_density = float(MUSCLE.mu_per_cm(ANNIHILATION_KEV)) / MUSCLE.density_g_per_cm3
        still, riding = (self.anatomy.mu(ANNIHILATION_KEV, t) for t in (STILL, self.anatomy.riding))
        return self._breathing(still, riding, [per_density * density for density in self._densities])

    def activity(self) -> "Volume":
        """SUV over breaths."""
        from photopeak.simulate.anatomy import STILL
        from photopeak.simulate.fdg import fdg

        still, riding = (fdg(self.anatomy, self.uptake, t) for t in (STILL, self.anatomy.riding))
        suvs = [*(gut.suv for gut in self.bowel), *(lesion.suv for lesion in self.lesions)]
        return self._breathing(still, riding, suvs)

    def _breathing(self, still: "Volume", riding: "Volume", values: list[float]) -> "Volume":
        """Mean over a breath of what stays and what rides, bowel and lesions among the latter."""
        from photopeak.core import Volume
        from photopeak.simulate.motion import over_breaths
        from photopeak.simulate.paint import painted

        moving = Volume.from_numpy(painted(riding.numpy(), self._painted_with(values)), riding.grid, riding.quantity)
        return over_breaths(still, moving, self.anatomy.room, self.anatomy.patient.breathing_mm)

    @cached_property
    def presences(self) -> "list[np.ndarray]":
        """The part of each voxel [z, y, x] that each lesion fills."""
        from photopeak.simulate.paint import presence

        return [presence(lesion.shape, self.anatomy.grid) for lesion in self.lesions]

    @property
    def _densities(self) -> list[float]:
        bowel = [gut.density_g_per_cm3 for gut in self.bowel]
        return [*bowel, *(lesion.density_g_per_cm3 for lesion in self.lesions)]

    def _painted_with(self, values: list[float]) -> "list[tuple[np.ndarray, float]]":
        """Bowel, then lesions, each with its value."""
        parts = [*(gut.presence for gut in self.bowel), *self.presences]
        return list(zip(parts, values, strict=True))

    def truth(self) -> "dict[str, Volume]":
        """The label maps, as everything lies in the middle of a breath."""
        import numpy as np

        from photopeak.core import FACTOR, Volume
        from photopeak.simulate.paint import labels

        grid = self.anatomy.grid
        lesion, organ = labels(self.presences, grid), np.zeros(grid.shape, dtype=np.float32)
        for label, tissues in enumerate(ORGANS.values(), start=1):
            organ[sum(self.anatomy.fractions[tissue] for tissue in tissues) > 0.5] = label
        organ[lesion > 0] = 0
        return {name: Volume.from_numpy(map_, grid, FACTOR) for name, map_ in (("lesion", lesion), ("organ", organ))}

    def facts(self, acquired: Mapping[str, Any]) -> dict[str, Any]:
        """What an import knows of a PET/CT, and the truth."""
        patient = self.anatomy.patient
        suv = {name: self.uptake.suv[tissues[0]] for name, tissues in ORGANS.items()}
        return {
            "simulated": True,
            "person": patient.name,
            "state": None,
            "modality": "PT",
            "camera_model": MODEL,
            "kvp": self.kvp,
            "pet_within_ct": 1.0,
            "sex": patient.sex,
            "age_years": patient.age_years,
            "height_m": patient.height_m,
            "weight_kg": patient.weight_kg,
            "dose_mbq": self.dose_mbq,
            "breathing_mm": patient.breathing_mm,
            "counts_per_activity": acquired["counts_per_activity"],
            "trues": self.trues,
            "patient": patient.to_dict(),
            "truth": {
                "lesions": [{"label": n, **lesion.to_dict()} for n, lesion in enumerate(self.lesions, start=1)],
                "organs": {name: {"label": n, "suv": suv[name]} for n, name in enumerate(ORGANS, start=1)},
                "myocardium": self.uptake.myocardium,
            },
        }


def _field(patient: "Patient") -> "Grid":
    """96 x 96 x 112 voxels of 5 x 4 x 4 mm, their top a little above the patient's lungs."""
    from photopeak.core import Grid

    top_mm = patient.lung_top_mm + ABOVE_LUNGS_MM
    return Grid.regular(SHAPE, SPACING_MM, centre_mm=(0.0, 0.0, top_mm - SHAPE[0] * SPACING_MM[0] / 2))


def _ring(grid: "Grid") -> "Ring":
    from photopeak.physics.ring import Ring

    planes, _, columns = grid.shape
    plane_mm, _, bin_mm = grid.spacing_mm
    return Ring.half_turn(
        views=VIEWS, bins=columns, bin_mm=bin_mm, planes=planes, plane_mm=plane_mm, fwhm_mm=SCANNER_FWHM_MM
    )


def _over_water(energy_kev: float) -> dict[str, float]:
    """Mass attenuation of each material over that of water."""
    from photopeak.physics.cross_sections import MATERIALS, WATER

    water = float(WATER.mu_per_cm(energy_kev)) / WATER.density_g_per_cm3
    return {m.name: float(m.mu_per_cm(energy_kev)) / m.density_g_per_cm3 / water for m in MATERIALS}


def _scatter(trues: "Tensor") -> "Tensor":
    """A broad blur of the trues."""
    from photopeak.physics.scatter import broad_scatter

    return broad_scatter(trues, SPACING_MM[2], ratio=SCATTER_RATIO, fwhm_mm=SCATTER_FWHM_MM)


def _reconstructed(acquired: "Study", counts: str, mu: "Volume") -> "Volume":
    """SUV by OSEM with the CT's attenuation; scatter and randoms are known in expectation."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    from photopeak.core import SUV, Volume
    from photopeak.physics.response import FWHM_PER_SIGMA
    from photopeak.recon.iterate import osem

    seen = acquired.projections[counts]
    background = acquired.projections["scatter"].counts + acquired.projections["randoms"].counts
    camera = replace(_ring(mu.grid), fwhm_mm=0.0)
    image = osem(camera.system(mu.grid, mu), seen.counts, iterations=ITERATIONS, subsets=SUBSETS, background=background)
    sigmas = FILTER_FWHM_MM / FWHM_PER_SIGMA / np.array(mu.grid.spacing_mm)
    smooth = gaussian_filter(image.numpy() / acquired.facts["counts_per_activity"], sigmas)
    return Volume.from_numpy(smooth, mu.grid, SUV)
