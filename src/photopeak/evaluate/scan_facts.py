"""What is measured in one scan, to set a cohort beside the published facts.

Segments are sampled on one surface for all images of a scan: that of the true ventricle, or of the found one.
What a scan cannot answer (a real one has no truth) is None.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize_scalar

from photopeak.cardiac.find import FoundHeart, find_heart
from photopeak.cardiac.orientation import HeartFrame
from photopeak.cardiac.polar import LVSurface, polar_map
from photopeak.cardiac.segments import segment_means
from photopeak.core import Study, Volume
from photopeak.core.errors import HeartNotFound
from photopeak.evaluate.patients import WALL_FRACTION, heart_mask
from photopeak.physics.parallel_hole import ParallelHole
from photopeak.physics.response import FWHM_PER_SIGMA

FITTED_RADIUS_MM, BLUR_MARGIN_MM = 55.0, 35.0
FWHM_LIMITS_MM = (5.0, 30.0)
HEART_DISC_MM = 45.0


@dataclass(frozen=True)
class ScanFacts:
    """Plain numbers about one scan; None where there is no answer.

    Parameters
    ----------
    nac_segments, ac_segments : means of the 17 segments of "nac" and "ac".
    clean_segments, truth_segments : of "ac_clean", and of the true activity at the resolution of "ac_clean".
    truth_fwhm_mm : that resolution.
    perfusion_segments : true uptake over that of normal wall.
    territories : of the perfusion defects, in the order drawn; none in a normal scan.
    factor : AC over NAC in the wall of the left ventricle.
    myocardial_counts : primary counts from the left ventricle in all views.
    scatter_to_primary : in the bins that look through the heart.
    misregistration_mm : shift (x, y, z) of the attenuation map used for AC.
    unmeasured : why there are no segments.
    """

    person: str
    state: str | None = None
    sex: str | None = None
    age_years: float | None = None
    height_m: float | None = None
    weight_kg: float | None = None
    dose_mbq: float | None = None
    protocol: str | None = None
    nac_segments: tuple[float, ...] | None = None
    ac_segments: tuple[float, ...] | None = None
    clean_segments: tuple[float, ...] | None = None
    truth_segments: tuple[float, ...] | None = None
    truth_fwhm_mm: float | None = None
    perfusion_segments: tuple[float, ...] | None = None
    territories: tuple[str, ...] | None = None
    factor: float | None = None
    myocardial_counts: float | None = None
    scatter_to_primary: float | None = None
    misregistration_mm: tuple[float, ...] | None = None
    unmeasured: str | None = None

    @property
    def bmi(self) -> float | None:
        """Body mass index, kg/m2."""
        return None if self.weight_kg is None or self.height_m is None else self.weight_kg / self.height_m**2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "ScanFacts":
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        return cls(**values)


def measure_scan(study: Study, *, person: str, state: str | None = None) -> ScanFacts:
    """Everything that one scan says, in about the time of reading it (where its heart is known)."""
    facts, patient = study.facts, dict(study.facts.get("patient", {}))
    told = {
        key: facts.get(key, patient.get(key))
        for key in ("sex", "age_years", "height_m", "weight_kg", "dose_mbq", "protocol", "myocardial_counts")
    }
    truth = facts.get("truth", {})
    shift = facts.get("misregistration_mm", patient.get("misregistration_mm"))
    measured: dict[str, Any] = {
        **told,
        "person": person,
        "state": state or facts.get("state") or patient.get("state"),
        "perfusion_segments": tuple(truth["segments"]) if "segments" in truth else None,
        "territories": tuple(d["territory"] for d in patient["defects"]) if "defects" in patient else None,
        "misregistration_mm": tuple(shift) if shift is not None else None,
        "factor": _factor(study),
    }
    try:
        heart = heart_in(study)
    except HeartNotFound as error:
        return ScanFacts(**measured, unmeasured=str(error))
    return ScanFacts(**measured, **_segments(study, heart), scatter_to_primary=_scatter_to_primary(study, heart))


def heart_in(study: Study) -> FoundHeart:
    """The left ventricle of a scan: the true one of a simulation, or the one that was or is found in "nac"."""
    truth, patient = study.facts.get("truth", {}), study.facts.get("patient", {})
    if "heart_centre_mm" in truth and "lv_radius_mm" in patient:
        frame = HeartFrame(tuple(truth["heart_centre_mm"]), tuple(truth["long_axis"]))
        return FoundHeart(frame, patient["lv_radius_mm"], patient["lv_length_mm"], 1.0)
    if "heart" in study.facts:
        return FoundHeart.from_dict(study.facts["heart"])
    return find_heart(study["nac"])


def truth_at_resolution(activity: Volume, image: Volume, heart: FoundHeart) -> tuple[Volume, float]:
    """The true activity as a perfect image of the resolution of `image` would show it, and that resolution's FWHM, mm.

    The resolution is that of the one Gaussian that brings the activity of all organs nearest to `image` around the
    heart, up to one factor. It makes partial volume alike in both, and leaves in what no Gaussian explains: attenuation
    that is corrected wrongly, and a resolution that changes with depth.
    """
    spacing = np.array(activity.grid.spacing_mm)
    reach = (FITTED_RADIUS_MM + BLUR_MARGIN_MM) / spacing
    middle = activity.grid.index(np.array(heart.frame.centre_mm))
    low = np.clip(np.floor(middle - reach).astype(int), 0, None)
    high = np.clip(np.ceil(middle + reach).astype(int) + 1, None, activity.grid.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    grid = activity.grid.crop(low.tolist(), (high - low).tolist())
    source, seen = activity.numpy()[box].astype(np.float64), image.numpy()[box].astype(np.float64)
    inside = heart_mask(grid, heart.frame, FITTED_RADIUS_MM).numpy()

    def blurred(fwhm_mm: float) -> np.ndarray:
        return np.asarray(gaussian_filter(source, fwhm_mm / FWHM_PER_SIGMA / spacing))

    def misfit(fwhm_mm: float) -> float:
        a, b = blurred(fwhm_mm)[inside], seen[inside]
        return float(1 - (a @ b) ** 2 / ((a @ a) * (b @ b)))

    fwhm_mm = float(minimize_scalar(misfit, bounds=FWHM_LIMITS_MM, method="bounded", options={"xatol": 0.1}).x)
    return Volume.from_numpy(blurred(fwhm_mm), grid, image.quantity), fwhm_mm


def _segments(study: Study, heart: FoundHeart) -> dict[str, Any]:
    surface = LVSurface.of(heart)
    images = {"nac_segments": "nac", "ac_segments": "ac", "clean_segments": "ac_clean"}
    found: dict[str, Any] = {
        key: _means(study[name], surface) if name in study else None for key, name in images.items()
    }
    if "activity" in study and "ac_clean" in study:
        truth, found["truth_fwhm_mm"] = truth_at_resolution(study["activity"], study["ac_clean"], heart)
        found["truth_segments"] = _means(truth, surface)
    return found


def _means(volume: Volume, surface: LVSurface) -> tuple[float, ...]:
    return tuple(segment_means(polar_map(volume, surface)).tolist())


def _factor(study: Study) -> float | None:
    """AC over NAC, sums over the wall; imported series are scaled one by one, so that only a simulation can tell."""
    if not {"lv", "nac", "ac"} <= set(study):
        return None
    wall = study["lv"].data > WALL_FRACTION
    return float(study["ac"].data[wall].sum() / study["nac"].data[wall].sum())


def _scatter_to_primary(study: Study, heart: FoundHeart) -> float | None:
    """Expected scatter over expected primary counts in a disc around the heart's centre in every view."""
    if not {"clean", "scatter"} <= set(study.projections) or "nac" not in study:
        return None
    clean, scatter = study.projections["clean"], study.projections["scatter"]
    if not isinstance(clean.camera, ParallelHole):
        return None
    seen = heart_bins(clean.camera, np.array(heart.frame.centre_mm) - study["nac"].grid.centre_mm)
    scattered = scatter.counts.numpy()[seen].sum(dtype=np.float64)
    return float(scattered / (clean.counts.numpy()[seen].sum(dtype=np.float64) - scattered))


def heart_bins(camera: ParallelHole, from_axis_mm: np.ndarray, radius_mm: float = HEART_DISC_MM) -> np.ndarray:
    """Which bins [view, row, column] look through a sphere.

    Parameters
    ----------
    from_axis_mm : centre of the sphere, LPS (x, y, z) from the middle of the grid, through which the camera turns.
    """
    x, y, z = from_axis_mm
    angle = np.deg2rad(camera.angles_deg)[:, None, None]
    _, rows, columns = camera.projection_shape
    across = (np.arange(columns) - (columns - 1) / 2) * camera.pixel_mm - (x * np.cos(angle) + y * np.sin(angle))
    along = ((np.arange(rows) - (rows - 1) / 2) * camera.pixel_mm - z)[:, None]
    return np.asarray(np.hypot(across, along) <= radius_mm)
