"""Attenuation maps that cameras store as reconstructed NM series: a scale in the header makes them 1/cm.

The scale is that of a Real World Value Mapping in 1/cm, of Rescale Slope, or GE's private divisor (0033,1038).
"""

from pathlib import Path

import numpy as np
from pydicom import Dataset

from photopeak.core import Step, Study, Volume, attenuation
from photopeak.core.errors import BadValues, UnreadableFile, WrongModality
from photopeak.core.units import TC99M_KEV
from photopeak.io.axes import rearrange
from photopeak.io.dicom_file import DICOM, numbers, open_dicom, stored_pixels, tag_name
from photopeak.io.dicom_nm import nm_facts, slice_order, stored_grid
from photopeak.io.dicom_nm_slices import image_grid
from photopeak.io.reading import reading

PER_CM = "/cm", "cm-1", "1/cm"
DIVISOR = (0x0033, 0x1038)
PLAUSIBLE_PEAK_PER_CM = (0.08, 0.8)
"""Largest mu of a patient: of soft tissue at least, and of no more than dense bone with metal beside it."""


def read_nm_mu(path: Path | str, *, energy_kev: float = TC99M_KEV) -> Study:
    """An attenuation map as a study with the volume "mu" in 1/cm, on the grid that `read_nm` would give.

    Parameters
    ----------
    path : a RECON TOMO file that the caller knows to hold attenuation; TRANSMISSION if its Image Type says so.
    energy_kev : of the photons that the map is for; the header has no place for it.

    Raises
    ------
    UnreadableFile : no scale: stored numbers alone mean nothing.
    BadValues : a scale that makes no attenuation of a patient.
    """
    path = Path(path)
    dataset = open_dicom(path, "NM")
    with reading(path, DICOM):
        kind = "\\".join(dataset.get("ImageType") or ["absent"])
        if kind.split("\\")[2:3] != ["RECON TOMO"]:
            raise WrongModality(
                f"{path} has {tag_name('ImageType')} {kind}",
                needed="RECON TOMO as the third value",
                remedy="Choose the reconstructed attenuation map.",
            )
        stored = stored_grid(dataset)
        values = stored_pixels(dataset, path)[slice_order(dataset, path)] * scale_per_cm(dataset, path)
        facts, grid = nm_facts(dataset), image_grid(dataset, stored)
        identity = facts["dicom"]["sop_sha256"]
    peak = float(values.max())
    low, high = PLAUSIBLE_PEAK_PER_CM
    if values.min() < 0 or not low <= peak <= high:
        raise BadValues(
            f"{path} with attenuation from {values.min():g} to {peak:g} 1/cm",
            needed=f"a largest value from {low} to {high} 1/cm, and none below zero",
            remedy="Check that this is the attenuation map, and its scale.",
        )
    volume = Volume.from_numpy(rearrange(values, stored, grid), grid, attenuation(energy_kev))
    step = Step(("mu",), "read_nm_mu", (), {"sop_sha256": identity, "energy_kev": energy_kev})
    return Study(f"mu-{identity[:8]}", facts=facts).add({"mu": volume}, step)


def scale_per_cm(dataset: Dataset, path: Path) -> float:
    """1/cm for a stored value of 1."""
    for mapping in dataset.get("RealWorldValueMappingSequence") or []:
        units = mapping.get("MeasurementUnitsCodeSequence") or [Dataset()]
        if str(units[0].get("CodeValue")) in PER_CM and "RealWorldValueSlope" in mapping:
            return float(numbers(mapping, "RealWorldValueSlope", error=UnreadableFile)[0])
    if "RescaleSlope" in dataset and not float(dataset.get("RescaleIntercept") or 0):
        return float(numbers(dataset, "RescaleSlope", error=UnreadableFile)[0])
    divisor = np.atleast_1d(np.asarray(dataset[DIVISOR].value if DIVISOR in dataset else [], dtype=float))
    if divisor.shape == (1,) and divisor[0] > 0:
        return 1 / float(divisor[0])
    raise UnreadableFile(
        f"{path}, an attenuation map without scale",
        needed=f"{tag_name('RealWorldValueMappingSequence')} in 1/cm, {tag_name('RescaleSlope')}, or (0033,1038) of GE",
        remedy="Export the map with its scale; stored numbers alone mean nothing.",
    )
