"""The parts that every NM object needs: pixels with their scale, geometry, patient position, identity.

The modules are those of the NM Image IOD (DICOM PS3.3 A.5.4). Stored values are 16 bit; NM images have no rescale, so
the scale stands in the Real World Value Mapping Sequence of the General Image module. Nothing depends on the clock: the
same content gives the same file and the same UIDs.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, NuclearMedicineImageStorage, generate_uid

from photopeak import __version__
from photopeak.core import BQML, COUNTS, EnergyWindow, Grid, Volume
from photopeak.core.errors import BadArgument, BadValues, WrongQuantity
from photopeak.core.units import TC99M_KEV, attenuation
from photopeak.io.atomic import beside

MAX_STORED = 65535
EMITTED = (COUNTS, BQML)
_UNITS = {
    COUNTS: ("{counts}", "Counts"),
    BQML: ("Bq/ml", "Becquerels/milliliter"),
    attenuation(TC99M_KEV): ("/cm", "per centimeter"),
}
_ENTRY = {"HF": codes.CID21.Headfirst, "FF": codes.CID21.FeetFirst}
_LYING = {"S": codes.CID20.Supine, "P": codes.CID20.Prone}
ISOTOPES = {
    "Tc-99m": codes.CID18._99mTechnetium,
    "Tl-201": codes.CID18._201Thallium,
    "I-123": codes.CID18._123Iodine,
    "In-111": codes.CID18._111Indium,
    "Ga-67": codes.CID18._67Gallium,
}
# Type 2: must be there even when nothing is known.
_EXPECTED = (
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "Manufacturer",
    "SpatialResolution", "EnergyWindowInformationSequence", "RadiopharmaceuticalInformationSequence",
    "DetectorInformationSequence", "RotationInformationSequence", "PatientOrientationCodeSequence",
    "PatientGantryRelationshipCodeSequence", "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "CountsAccumulated",
)  # fmt: skip


def coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def simulated_object(
    *, patient: str, series_description: str, kind: str, facts: Mapping[str, Any], windows: Sequence[EnergyWindow]
) -> Dataset:
    """Everything about a simulated patient's NM object but its pixels and geometry; its names say nobody was scanned.

    Parameters
    ----------
    patient : a short identifier; the patient is called "SIMULATED^<patient>".
    kind : third value of Image Type.
    facts : as `read_nm` gives them; sex, height_m, weight_kg, camera_model, isotope and patient_position are written.
    """
    nuclide = facts.get("isotope", "Tc-99m")
    if nuclide not in ISOTOPES:
        raise BadArgument(f"isotope {nuclide!r}", needed=" or ".join(ISOTOPES), remedy="Use one of these names.")
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.Modality = NuclearMedicineImageStorage, "NM"
    dataset.PatientName, dataset.PatientID = f"SIMULATED^{patient}", f"SIMULATED-{patient}"
    dataset.PatientSex = facts.get("sex", "")
    for keyword, fact in (("PatientSize", "height_m"), ("PatientWeight", "weight_kg")):
        if fact in facts:
            setattr(dataset, keyword, f"{facts[fact]:.6g}")
    dataset.StudyID = dataset.AccessionNumber = "SIMULATED"
    dataset.StudyDate, dataset.StudyTime = "20000101", "000000"
    dataset.PositionReferenceIndicator = ""
    dataset.SeriesNumber, dataset.SeriesDescription = 1, series_description
    dataset.Manufacturer, dataset.SoftwareVersions = "photopeak", __version__
    dataset.ManufacturerModelName = facts.get("camera_model", "SIMULATED")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", kind, "EMISSION"]
    dataset.BodyPartExamined = "HEART"
    set_position(dataset, facts.get("patient_position", "HFS"))
    tracer = Dataset()
    tracer.RadionuclideCodeSequence = [coded(ISOTOPES[nuclide])]
    dataset.RadiopharmaceuticalInformationSequence = [tracer]
    dataset.NumberOfEnergyWindows, dataset.EnergyWindowInformationSequence = len(windows), list(map(_window, windows))
    return dataset


def _window(window: EnergyWindow) -> Dataset:
    limits, energy = Dataset(), Dataset()
    limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = decimal(window.lower_kev), decimal(window.upper_kev)
    energy.EnergyWindowRangeSequence = [limits]
    return energy


def set_study(dataset: Dataset, patient: str, content: bytes) -> None:
    """Study and frame of reference of a simulated patient, decided by the content alone."""
    mark = hashlib.sha256(content).hexdigest()
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study", patient, mark])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame", patient, mark])


def set_position(dataset: Dataset, position: str) -> None:
    """Recumbent, supine or prone, head or feet first, in today's codes; "HFS", "HFP", "FFS" or "FFP"."""
    if position[:2] not in _ENTRY or position[2:] not in _LYING:
        return
    orientation = coded(codes.CID19.Recumbent)
    orientation.PatientOrientationModifierCodeSequence = [coded(_LYING[position[2:]])]
    dataset.PatientOrientationCodeSequence = [orientation]
    dataset.PatientGantryRelationshipCodeSequence = [coded(_ENTRY[position[:2]])]


def set_geometry(dataset: Dataset, grid: Grid, facts: Mapping[str, Any]) -> None:
    """Position, orientation and spacing of `grid` [k, j, i], whose axes must be at right angles."""
    slices, rows, columns = require_right_angles(grid)
    towards = float(np.cross(columns, rows) @ slices)
    dz, dy, dx = grid.spacing_mm
    dataset.PixelSpacing = [decimal(dy), decimal(dx)]
    dataset.SliceThickness, dataset.SpacingBetweenSlices = decimal(dz), decimal(float(np.copysign(dz, towards)))
    detector = Dataset()
    detector.CollimatorGridName, detector.CollimatorType = facts.get("collimator", "LEHR"), "PARA"
    detector.ImageOrientationPatient = [decimal(v) for v in (*columns, *rows)]
    detector.ImagePositionPatient = [decimal(v) for v in grid.world([0, 0, 0])]
    dataset.NumberOfDetectors, dataset.DetectorInformationSequence = 1, [detector]
    dataset.NumberOfRotations, dataset.RotationInformationSequence = 1, []
    dataset.NumberOfSlices, dataset.SliceVector = grid.shape[0], list(range(1, grid.shape[0] + 1))


def require_right_angles(grid: Grid) -> np.ndarray:
    """Unit vectors [(slices, rows, columns), (x, y, z)] along which the array's axes run, if none leans on another."""
    axes: np.ndarray = (grid.matrix[:3, :3] / np.array(grid.spacing_mm)).T
    if np.abs(axes @ axes.T - np.eye(3)).max() > 1e-4:
        raise BadArgument(
            f"a grid with sheared axes {grid.matrix[:3, :3].tolist()}",
            needed="axes at right angles",
            remedy="Resample it onto a regular grid.",
        )
    return axes


def decimal(value: float) -> str:
    """The most exact text of at most 16 characters, the length of a DS."""
    return next(text for digits in range(12, 3, -1) if len(text := f"{float(value):.{digits}g}") <= 16)


def finite_counts(volume: Volume) -> np.ndarray:
    """The volume's numbers, if they are non-negative counts or activity."""
    if volume.quantity not in EMITTED:
        raise WrongQuantity(
            f"a volume of {volume.quantity}", needed="counts or Bq/ml", remedy="Write other quantities as NIfTI."
        )
    array = volume.require_image(name="volume to write").numpy().astype(np.float64)
    if array.min() < 0:
        raise BadValues(
            f"a volume that reaches {array.min():g}", needed="values of at least zero", remedy="Clamp it first."
        )
    return array


def set_pixels(dataset: Dataset, frames: np.ndarray, volume: Volume) -> float:
    """Stored 16-bit values [frame, row, column] with their mapping to the volume's unit; returns the slope."""
    peak = float(frames.max())
    whole = peak <= MAX_STORED and bool((frames == np.rint(frames)).all())
    slope = 1.0 if whole else peak / MAX_STORED
    set_frames(dataset, np.rint(frames / slope), ("SliceVector",))
    dataset.setdefault("SliceThickness", None)
    code, meaning = _UNITS[volume.quantity]
    mapping = Dataset()
    mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = 0, MAX_STORED
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = 0.0, slope
    mapping.LUTExplanation, mapping.LUTLabel = f"Stored value to {meaning}", "SCALE"
    mapping.MeasurementUnitsCodeSequence = [coded(Code(code, "UCUM", meaning))]
    dataset.RealWorldValueMappingSequence = [mapping]
    return slope


def set_frames(dataset: Dataset, frames: np.ndarray, vectors: Sequence[str]) -> None:
    """Whole numbers [frame, row, column] up to 65535 as 16-bit pixels, and the vectors that place the frames."""
    stored = frames.astype("<u2")
    top = int(stored.max())
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.SmallestImagePixelValue, dataset.LargestImagePixelValue = int(stored.min()), top
    dataset.FrameIncrementPointer = [Tag(vector) for vector in vectors]
    dataset.WindowCenter, dataset.WindowWidth = decimal(top / 2), max(top, 1)
    dataset.BurnedInAnnotation = "NO"
    dataset.PixelData = stored.tobytes()


def store(dataset: Dataset, out: Path, made_from: Iterable[object]) -> Path:
    """Give the object its identity, fill in what must at least be empty, and put the whole file in place."""
    for keyword in _EXPECTED:
        if keyword not in dataset:
            setattr(dataset, keyword, [] if keyword.endswith("Sequence") else None)
    dataset.InstanceNumber = 1
    content = [*(str(part) for part in made_from), dataset.PixelData.hex()]
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", *content])
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["instance", *content])
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationVersionName = "PHOTOPEAK"
    dataset.file_meta = meta
    with beside(out) as partial:
        dataset.save_as(partial, enforce_file_format=True)
    return out
