"""SUV that was estimated from a CT as a PT series: in the CT's study and frame of reference, marked derived.

The modules are those of the PET Image IOD (DICOM PS3.3 A.21). Nothing was injected or counted, and the objects claim
nothing of the kind: no radiopharmaceutical, no correction, a frame of no duration. One slope serves all slices, so that
who overlooks the slopes of single slices reads the same series. Nothing depends on the clock: the same content gives
the same files and UIDs.
"""

import hashlib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

from photopeak import __version__
from photopeak.core import SUV, Volume
from photopeak.core.errors import BadValues, MissingGeometry
from photopeak.io.atomic import beside
from photopeak.io.dicom_derived import contribution, listed, prune, require_research, short_text, source_image
from photopeak.io.dicom_file import DICOM, is_dicom, known, numbers, plane_directions, tag_name
from photopeak.io.dicom_nm_modules import decimal, require_right_angles, set_position
from photopeak.io.reading import reading

RESEARCH = "AI-PET RESEARCH"
WINDOW_SUV = 7.0
"""Usual for FDG: white at none, black at this."""
LARGEST_STORED = 32767
"""Also right for readers that take every pixel for signed."""
# What the series shares with the CT; the patient's groups 0010 and 0012 come along whole.
_SHARED = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber",
    "ReferringPhysicianName", "FrameOfReferenceUID", "PositionReferenceIndicator", "BodyPartExamined",
    "InstitutionName", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime",
)  # fmt: skip
_EXPECTED = (
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID",
    "PatientBirthDate", "PatientSex", "PositionReferenceIndicator", "CollimatorType", "CorrectedImage",
)  # fmt: skip
_EMPTY_SEQUENCES = (
    "RadiopharmaceuticalInformationSequence", "PatientOrientationCodeSequence",
    "PatientGantryRelationshipCodeSequence",
)  # fmt: skip
_NEEDED = ("StudyInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID")


def write_pt_derived(
    volume: Volume,
    source: Path,
    folder: Path,
    *,
    series_description: str,
    derivation: str,
    contributing: Mapping[str, str],
    series_number: int = 9001,
) -> list[Path]:
    """`volume` as ``0001.dcm``, ``0002.dcm`` ... in `folder`, which appears whole or not at all.

    Parameters
    ----------
    volume : SUV [k, j, i] of at least zero, on any grid with right angles.
    source : folder of the CT series; it gives patient, study and frame of reference.
    series_description : begins with "AI-PET RESEARCH".
    derivation : how the volume was made, for the reader of the image; the scale is appended.
    contributing : what made it (method, weights_sha256, seed ...), for the Contributing Equipment Sequence.
    series_number : of the new series; another one for each series derived from one source.

    Raises
    ------
    BadValues : negative SUV.
    MissingGeometry : a CT without frame of reference or study.
    """
    require_research(series_description, RESEARCH)
    suv = _uptake(volume)
    with reading(Path(source), DICOM):
        headers = _headers(Path(source))
    shared = _inherited(headers[0])
    slope = decimal(max(float(suv.max()), 1e-6) / LARGEST_STORED)
    stored = np.rint(suv / float(slope)).astype("<u2")
    shared.RescaleSlope, shared.RescaleIntercept = slope, 0
    shared.SeriesNumber, shared.SeriesDescription = series_number, series_description
    text = f"{derivation.rstrip('. ')}. Stored value x {slope} = SUVbw, g/ml. Research use only, not for diagnosis."
    shared.DerivationDescription = short_text(text, "derivation")
    shared.ContributingEquipmentSequence = [contribution(contributing)]
    content = hashlib.sha256(stored.tobytes()).hexdigest()
    made_from = [headers[0].SeriesInstanceUID, series_description, text, listed(contributing), content]
    shared.SeriesInstanceUID = generate_uid(entropy_srcs=["series", *made_from, str(volume.grid.affine)])
    _set_plane(shared, volume)
    origins = _nearest(volume, headers)
    with beside(Path(folder)) as partial:
        partial.mkdir()
        for number, pixels in enumerate(stored, 1):
            item = _slice(shared, volume, number, pixels, origins[number - 1])
            item.save_as(partial / f"{number:04d}.dcm", enforce_file_format=True)
    return sorted(Path(folder).iterdir())


def _uptake(volume: Volume) -> np.ndarray:
    require_right_angles(volume.grid)
    suv = volume.require(SUV, name="pet").require_image(name="pet").numpy().astype(np.float64)
    if suv.min() < 0:
        raise BadValues(f"SUV down to {suv.min():g}", needed="at least zero", remedy="Clamp it first.")
    return suv


def _headers(source: Path) -> list[Dataset]:
    """Of every CT slice, without pixels, in the order of their names; the first decides what is shared."""
    headers: list[Dataset] = [
        pydicom.dcmread(p, stop_before_pixels=True) for p in sorted(source.iterdir()) if p.is_file() and is_dicom(p)
    ]
    missing = [tag_name(keyword) for keyword in _NEEDED if not headers or not known(headers[0], keyword)]
    if missing:
        raise MissingGeometry(
            f"{source} without {' or '.join(missing)}",
            needed="a CT that says of which study and frame of reference it is",
            remedy="Export the series again, or take NIfTI.",
        )
    return headers


def _inherited(original: Dataset) -> Dataset:
    """All that the new slices have in common with the CT and with one another, but scale and place."""
    dataset = Dataset()
    for element in original:
        if element.tag.group in (0x0010, 0x0012) or element.keyword in _SHARED:
            dataset.add(deepcopy(element))
    prune(dataset)
    for keyword in _EXPECTED:
        dataset.setdefault(keyword, None)
    for keyword in _EMPTY_SEQUENCES:
        setattr(dataset, keyword, [])
    if position := known(original, "PatientPosition"):
        set_position(dataset, position)
    if "BodyPartExamined" not in dataset:
        dataset.Laterality = None
    for kind in ("Date", "Time"):  # those of the series are required of a PT, and are the CT's own or its study's
        for keyword in (f"Acquisition{kind}", f"Series{kind}"):
            dataset.setdefault(keyword, dataset.get(f"Study{kind}"))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.Modality = PositronEmissionTomographyImageStorage, "PT"
    dataset.Manufacturer = dataset.ManufacturerModelName = "photopeak"
    dataset.SoftwareVersions = __version__
    dataset.ImageType, dataset.SeriesType = ["DERIVED", "PRIMARY"], ["WHOLE BODY", "IMAGE"]
    dataset.Units, dataset.SUVType, dataset.CountsSource, dataset.DecayCorrection = "GML", "BW", "EMISSION", "NONE"
    dataset.FrameReferenceTime, dataset.ActualFrameDuration = 0, 0
    return dataset


def _set_plane(dataset: Dataset, volume: Volume) -> None:
    """Directions and sizes of all slices, and how to look at them."""
    spacing = volume.grid.spacing_mm
    along_rows, along_columns = (volume.grid.matrix[:3, axis] / spacing[axis] for axis in (2, 1))
    dataset.ImageOrientationPatient = [decimal(v) for v in (*along_rows, *along_columns)]
    dataset.SliceThickness, dataset.PixelSpacing = decimal(spacing[0]), [decimal(s) for s in spacing[1:]]
    dataset.NumberOfSlices, dataset.Rows, dataset.Columns = volume.grid.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.WindowCenter, dataset.WindowWidth = decimal(WINDOW_SUV / 2), decimal(WINDOW_SUV)
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "00"


def _nearest(volume: Volume, headers: list[Dataset]) -> list[str]:
    """SOP Instance UID of the CT slice that lies nearest to each slice of the volume."""
    normal = plane_directions(headers[0])[2]
    at = np.array([numbers(header, "ImagePositionPatient", 3) for header in headers]) @ normal
    index = np.zeros((volume.grid.shape[0], 3))
    index[:, 0] = np.arange(volume.grid.shape[0])
    wanted = volume.grid.world(index) @ normal
    return [str(headers[int(np.abs(at - z).argmin())].SOPInstanceUID) for z in wanted]


def _slice(shared: Dataset, volume: Volume, number: int, pixels: np.ndarray, origin: str) -> Dataset:
    """Slice `number`, from 1, as a whole object."""
    item = Dataset()
    item.update(shared)
    item.SOPInstanceUID = generate_uid(entropy_srcs=["instance", str(shared.SeriesInstanceUID), str(number)])
    item.InstanceNumber = item.ImageIndex = number
    item.ImagePositionPatient = [decimal(v) for v in volume.grid.world([number - 1, 0, 0])]
    item.SourceImageSequence = [source_image(origin, CTImageStorage)]
    item.PixelData = pixels.tobytes()
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID, item.file_meta.ImplementationVersionName = ExplicitVRLittleEndian, "PHOTOPEAK"
    return item
