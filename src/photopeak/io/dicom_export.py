"""A simulated study as what a hospital would have: projections, NAC, AC, heart slices, attenuation map and CT.

All of a scan is one DICOM study in one frame of reference. What is stored are 16-bit numbers and their scale; reading
them back and exporting again gives the same numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom

from photopeak.cardiac.find import FoundHeart, find_heart
from photopeak.cardiac.orientation import ORIENTATIONS, HeartFrame, Orientation
from photopeak.cardiac.reslice import reslice, slices_needed
from photopeak.core import HU, EnergyWindow, Grid, Study, Volume, attenuation
from photopeak.core.projections import TC99M_WINDOW
from photopeak.core.units import TC99M_KEV
from photopeak.io.atomic import beside, free
from photopeak.io.dicom_ct_write import write_ct
from photopeak.io.dicom_derived import source_image
from photopeak.io.dicom_nm_modules import finite_counts, set_geometry, set_pixels, simulated_object, store
from photopeak.io.dicom_nm_slices import set_orientation
from photopeak.io.dicom_nm_tomo_write import write_nm_tomo
from photopeak.io.dicom_scan import NOTICE, SimulatedScan
from photopeak.physics.mumap import mu_from_ct

RAW, MU, CT = "raw_tomo.dcm", "mu_map.dcm", "ct_ac"
CT_KVP = 120
TEXT = 800
"""Characters of a derivation that surely fit beside scale and notice."""
AIR_HU, DENSEST_HU = -1000, 3071


@dataclass(frozen=True)
class _Corrected:
    """What a hospital calls a reconstruction, and its Corrected Image (0028,0051)."""

    title: str
    claims: tuple[str, ...]


RECONSTRUCTIONS: Mapping[str, _Corrected] = {
    "nac": _Corrected("IRNC", ()),
    "ac": _Corrected("IRACSC", ("ATTN", "SCAT")),
    "ac_nosc": _Corrected("IRAC", ("ATTN",)),
}
SLICED = ("nac", "ac")
OURS = {
    *(RAW, MU, CT),
    *(f"{name}.dcm" for name in RECONSTRUCTIONS),
    *(f"{name}_{side}.dcm" for name in SLICED for side in ORIENTATIONS),
    *(f"{CT}/{number:04d}.dcm" for number in range(1, 1000)),
}
"""What an earlier export may have left."""


@dataclass(frozen=True)
class _Series:
    """One NM series to write."""

    file: str
    number: int
    title: str
    volume: Volume
    made: str
    claims: tuple[str, ...] = ()
    orientation: Orientation | None = None
    radiation: str = "EMISSION"
    window: EnergyWindow = TC99M_WINDOW


def export_study(study: Study, folder: Path | str) -> list[Path]:
    """The simulated `study` as a complete DICOM study in `folder`, which appears whole or not at all.

    Written is what the study has of: projections "raw"; "nac", "ac" and "ac_nosc" as transaxial series; "nac" and "ac"
    as SA, HLA and VLA, resliced here unless the study has "nac_sa" ... already; "mu"; and "ct", or without it the CT
    that "mu" would come from.

    Returns
    -------
    the files, sorted.

    Raises
    ------
    BadArgument : a study that was not simulated, or a folder that holds something else.
    MissingInput : no "nac".
    """
    folder = free(Path(folder), OURS)
    scan = SimulatedScan.of(study)
    study["nac"]
    with beside(folder) as partial:
        partial.mkdir()
        raw = _write_raw(study, scan, partial / RAW) if "raw" in study.projections else None
        window = study.projections["raw"].window if raw else TC99M_WINDOW
        for series in _all_series(study):
            _write_nm_series(replace(series, window=window), scan, partial / series.file, raw)
        if "ct" in study or "mu" in study:
            ct = study["ct"] if "ct" in study else ct_before(study["mu"])
            origin = _made(study, "ct") if "ct" in study else f'The CT at {CT_KVP} kVp of which "mu" would be made'
            write_ct(
                ct,
                partial / CT,
                scan,
                description=scan.titled("CT AC"),
                kvp=CT_KVP,
                series_number=40,
                origin=f"{origin[:TEXT]}. {NOTICE}",
            )
    return sorted(folder.rglob("*.dcm"))


def ct_before(mu: Volume, *, kvp: float = CT_KVP) -> Volume:
    """CT numbers [HU] that `mu_from_ct` turns into `mu` at 140.5 keV; -1000 where nothing attenuates."""
    numbers = np.arange(AIR_HU, DENSEST_HU + 1, dtype=np.float32)
    scale = Volume.from_numpy(numbers[None, None], Grid.regular((1, 1, len(numbers)), 1.0), HU)
    table = mu_from_ct(scale, kvp=kvp).numpy().ravel()
    first = int((table > 0).argmax())
    per_cm = mu.require(attenuation(TC99M_KEV), name="mu").numpy()
    hu = np.interp(per_cm, table[first:], numbers[first:], left=AIR_HU)
    return Volume.from_numpy(hu, mu.grid, HU)


def _all_series(study: Study) -> Iterator[_Series]:
    """Every NM image of the study, heart slices included."""
    for number, (name, what) in enumerate(RECONSTRUCTIONS.items(), 2):
        if name in study:
            made = _made(study, name)
            yield _Series(f"{name}.dcm", number, f"{what.title} TRANSAXIAL", study[name], made, what.claims)
    heart, frame = _heart(study)
    for name in SLICED:
        what = RECONSTRUCTIONS[name]
        for number, side in enumerate(ORIENTATIONS, 10 + 10 * SLICED.index(name)):
            sliced = f"{name}_{side}"
            if sliced in study:
                cut, made = study[sliced], _made(study, sliced)
            elif name in study:
                slices = slices_needed(heart, side, min(study[name].grid.spacing_mm))
                cut = reslice(study[name], frame, side, slices=slices)
                made = f"{_made(study, name)}, resliced along the axes of the heart"
            else:
                continue
            yield _Series(f"{sliced}.dcm", number, f"{what.title} {side.upper()}", cut, made, what.claims, side)
    if "mu" in study:
        mu = study["mu"].require(attenuation(TC99M_KEV), name="mu")
        yield _Series(MU, 30, "MU MAP", mu, _made(study, "mu"), radiation="TRANSMISSION")


def _heart(study: Study) -> tuple[FoundHeart | None, HeartFrame]:
    """The heart as it was found, else as it was simulated, else as it is found now: one for all images of a scan."""
    if "heart" in study.facts:
        found = FoundHeart.from_dict(study.facts["heart"])
        return found, found.frame
    if truth := study.facts.get("truth"):
        (x, y, z), (u, v, w) = truth["heart_centre_mm"], truth["long_axis"]
        return None, HeartFrame((x, y, z), (u, v, w))
    found = find_heart(study["nac"])
    return found, found.frame


def _made(study: Study, name: str) -> str:
    """How the study says that `name` was made."""
    return next((str(step) for step in reversed(study.history) if name in step.made), name)


def _write_raw(study: Study, scan: SimulatedScan, out: Path) -> str:
    """The projections' file, and its SOP Instance UID for what was made of them."""
    write_nm_tomo(
        study.projections["raw"],
        out,
        patient=scan.person,
        series_description=scan.titled("RAW TOMO"),
        facts=scan.facts,
        scan=scan,
    )
    return str(pydicom.dcmread(out, stop_before_pixels=True).SOPInstanceUID)


def _write_nm_series(series: _Series, scan: SimulatedScan, out: Path, raw: str | None) -> None:
    volume = series.volume
    frames = volume.numpy().astype(np.float64) if series.radiation == "TRANSMISSION" else finite_counts(volume)
    dataset = simulated_object(
        patient=scan.person,
        series_description=scan.titled(series.title),
        kind="RECON TOMO",
        facts=scan.facts,
        windows=(series.window,),
    )
    scan.enter(dataset)
    dataset.SeriesNumber = series.number
    dataset.ImageType = ["DERIVED", "PRIMARY", "RECON TOMO", series.radiation]
    set_geometry(dataset, volume.grid, scan.facts)
    set_orientation(dataset, series.orientation)
    if series.claims:
        dataset.CorrectedImage = list(series.claims)
    if raw is not None and series.radiation == "EMISSION":
        dataset.SourceImageSequence = [source_image(raw)]
    slope = set_pixels(dataset, frames, volume)
    scale = f"Stored value x {slope:.9g} = {volume.quantity.unit}"
    dataset.DerivationDescription = f"{series.made[:TEXT]}. {scale}. {NOTICE}"
    store(dataset, out, [scan.study_uid, series.file, volume.grid.affine])
