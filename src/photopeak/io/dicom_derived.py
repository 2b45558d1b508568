"""What an object that we derive from a patient's own says of it: its source, what made it, and that it is research."""

from collections.abc import Mapping

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import NuclearMedicineImageStorage

from photopeak import __version__
from photopeak.core.errors import BadArgument
from photopeak.io.dicom_file import positive
from photopeak.io.dicom_nm_modules import coded


def require_research(series_description: str, prefix: str) -> None:
    """Refuse a Series Description that does not begin with `prefix`, or that is too long for one."""
    if not series_description.startswith(prefix) or len(series_description) > 64:
        raise BadArgument(
            f"series description {series_description!r}",
            needed=f'at most 64 characters that begin with "{prefix}"',
            remedy="Say in the series' name that it is research.",
        )


def source_image(uid: str, kind: str = NuclearMedicineImageStorage) -> Dataset:
    """An item of the Source Image Sequence: the object, of SOP Class `kind`, that an image was made of."""
    image = Dataset()
    image.ReferencedSOPClassUID = kind
    image.ReferencedSOPInstanceUID = uid
    image.PurposeOfReferenceCodeSequence = [coded(codes.DCM.SourceImageForImageProcessingOperation)]
    return image


def contribution(contributing: Mapping[str, str]) -> Dataset:
    """photopeak as a contributor, with what the caller says of the method and its weights."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [coded(codes.DCM.ProcessingEquipment)]
    item.Manufacturer, item.ManufacturerModelName, item.SoftwareVersions = "photopeak", "photopeak", __version__
    item.ContributionDescription = short_text(listed(contributing), "contributing")
    return item


def listed(contributing: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {value}" for name, value in contributing.items())


def short_text(text: str, argument: str) -> str:
    """`text`, if it fits an ST."""
    if len(text) > 1024:
        raise BadArgument(
            f"{argument} of {len(text)} characters", needed="at most 1024 in all", remedy="Say it shorter."
        )
    return text


def prune(dataset: Dataset) -> None:
    """Drop private tags, sequences without items, and zeros that stand for "unknown", at every depth."""
    dataset.remove_private_tags()
    for element in list(dataset):
        for item in element.value if element.VR == "SQ" else ():
            prune(item)
        unknown = element.keyword in ("PatientSize", "PatientWeight") and not positive(dataset, element.keyword)
        if unknown or (element.VR == "SQ" and not element.value):
            del dataset[element.tag]
        elif element.VR == "DA" and not str(element.value or "").strip("0"):
            element.value = None
