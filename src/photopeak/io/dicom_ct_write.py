"""A simulated CT series: one CT Image object for each slice, in the study that the NM images belong to."""

from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from photopeak.core import HU, Volume
from photopeak.core.errors import BadValues
from photopeak.io.atomic import beside
from photopeak.io.dicom_nm_modules import decimal, require_right_angles
from photopeak.io.dicom_scan import SimulatedScan

INTERCEPT = -1024


def write_ct(
    volume: Volume, folder: Path, scan: SimulatedScan, *, description: str, kvp: float, series_number: int, origin: str
) -> list[Path]:
    """`volume` in whole HU as ``0001.dcm``, ``0002.dcm`` ... in `folder`, which appears whole or not at all.

    Parameters
    ----------
    volume : HU [k, j, i] from -1024 to 64511 on any grid with right angles.
    kvp : tube voltage that the numbers are of.
    origin : how the numbers were made, for Derivation Description.
    """
    hounsfield = np.rint(volume.require(HU, name="ct").require_image(name="ct").numpy())
    if hounsfield.min() < INTERCEPT or hounsfield.max() > 65535 + INTERCEPT:
        raise BadValues(
            f"CT numbers from {hounsfield.min():g} to {hounsfield.max():g}",
            needed=f"HU from {INTERCEPT} to {65535 + INTERCEPT}",
            remedy="Clamp them first.",
        )
    require_right_angles(volume.grid)
    stored = (hounsfield - INTERCEPT).astype("<u2")
    made_from = [scan.study_uid, description, str(volume.grid.affine), stored.tobytes().hex()]
    series = str(generate_uid(entropy_srcs=["series", *made_from]))
    with beside(folder) as partial:
        partial.mkdir()
        for number, pixels in enumerate(stored, 1):
            dataset = _slice(volume, number, pixels, series)
            scan.enter(dataset)
            dataset.SeriesNumber, dataset.SeriesDescription = series_number, description
            dataset.PatientPosition = scan.facts.get("patient_position", "HFS")
            dataset.KVP, dataset.DerivationDescription = decimal(kvp), origin
            dataset.save_as(partial / f"{number:04d}.dcm", enforce_file_format=True)
    return sorted(folder.iterdir())


def _slice(volume: Volume, number: int, pixels: np.ndarray, series: str) -> Dataset:
    """Everything about slice `number`, from 1, that is not of the patient or the study."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality = CTImageStorage, "CT"
    dataset.SeriesInstanceUID = series
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["instance", series, str(number)])
    dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    dataset.AcquisitionNumber, dataset.InstanceNumber, dataset.BodyPartExamined = 1, number, "CHEST"
    spacing = volume.grid.spacing_mm
    along_rows, along_columns = (volume.grid.matrix[:3, axis] / spacing[axis] for axis in (2, 1))
    dataset.ImageOrientationPatient = [decimal(v) for v in (*along_rows, *along_columns)]
    dataset.ImagePositionPatient = [decimal(v) for v in volume.grid.world([number - 1, 0, 0])]
    dataset.SliceThickness, dataset.PixelSpacing = decimal(spacing[0]), [decimal(s) for s in spacing[1:]]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = INTERCEPT, 1, "HU"
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.BurnedInAnnotation = "NO"
    dataset.PixelData = pixels.tobytes()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.ImplementationVersionName = ExplicitVRLittleEndian, "PHOTOPEAK"
    dataset.file_meta = meta
    return dataset
