"""A CT series: one file for each slice, placed by its own header."""

from pathlib import Path

from photopeak.core import HU, Step, Study
from photopeak.io.dicom_file import known, positive, uid_hash
from photopeak.io.dicom_stack import read_stack


def read_ct(folder: Path | str) -> Study:
    """The one CT series of a folder as a study with the volume "ct" in HU, on an LPS grid with positive axes.

    Slices are ordered by their position along the normal of the image plane, whatever their names say. Slices of two
    kernels or two tube voltages are two series, whatever their Series Instance UID says, and are refused.
    """
    stack = read_stack(Path(folder), "CT", alike=("ConvolutionKernel", "KVP"))
    first = stack.slices[0]
    series = uid_hash(first.SeriesInstanceUID)
    facts = {
        "modality": "CT",
        "kvp": positive(first, "KVP"),
        "manufacturer": known(first, "Manufacturer"),
        "camera_model": known(first, "ManufacturerModelName"),
        "sex": known(first, "PatientSex"),
    }
    facts = {name: fact for name, fact in facts.items() if fact is not None}
    dicom = {"series_sha256": series}
    if known(first, "FrameOfReferenceUID"):
        dicom["frame_of_reference_sha256"] = uid_hash(first.FrameOfReferenceUID)
    step = Step(("ct",), "read_ct", (), {"series_sha256": series})
    return Study(f"ct-{series[:8]}", facts={**facts, "dicom": dicom}).add({"ct": stack.volume(HU)}, step)
