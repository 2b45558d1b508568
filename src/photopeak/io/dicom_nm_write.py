"""Reconstructed NM objects written whole: one derived from a patient's series or projections, or a simulated one."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.uid import NuclearMedicineImageStorage, generate_uid

from photopeak.core import EnergyWindow, Volume
from photopeak.core.errors import BadArgument
from photopeak.core.projections import TC99M_WINDOW
from photopeak.io.axes import rearrange
from photopeak.io.dicom_derived import contribution, listed, prune, require_research, short_text, source_image
from photopeak.io.dicom_file import DICOM
from photopeak.io.dicom_nm import (
    PROJECTIONS,
    corrections,
    isotope,
    nm_facts,
    open_nm,
    open_recon_tomo,
    patient_position,
    placed_item,
    slice_order,
    stored_grid,
)
from photopeak.io.dicom_nm_modules import (
    ISOTOPES,
    coded,
    finite_counts,
    set_geometry,
    set_pixels,
    set_position,
    set_study,
    simulated_object,
    store,
)
from photopeak.io.dicom_nm_slices import image_grid
from photopeak.io.reading import reading

RESEARCH = "AI-AC RESEARCH"
RECONSTRUCTION = "RESEARCH"
# What a derived image shares with its source; the patient's groups 0010 and 0012 come along whole.
_SHARED = (
    "Modality", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID",
    "StudyDescription", "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "BodyPartExamined", "Manufacturer", "ManufacturerModelName", "InstitutionName",
    "StationName", "SoftwareVersions", "DeviceSerialNumber", "AcquisitionDate", "AcquisitionTime", "SliceThickness",
    "SpacingBetweenSlices", "SpatialResolution", "PixelSpacing", "EnergyWindowInformationSequence",
    "RadiopharmaceuticalInformationSequence", "DetectorInformationSequence", "RotationInformationSequence",
    "TypeOfDetectorMotion", "NumberOfSlices", "SliceVector", "SliceProgressionDirection",
    "PatientOrientationCodeSequence", "PatientGantryRelationshipCodeSequence",
)  # fmt: skip


def write_nm_derived(
    volume: Volume,
    source: Path,
    out: Path,
    *,
    series_description: str,
    derivation: str,
    contributing: Mapping[str, str],
    series_number: int = 9001,
) -> Path:
    """`volume` as a new NM series in the study of `source`, on the pixel grid and in the slice order of `source`.

    Parameters
    ----------
    volume : counts [z, y, x] on the grid that `read_nm` gives `source`.
    source : the untouched NM file that the volume was made from; it gives patient, study and frame of reference.
    out : the file to write.
    series_description : begins with "AI-AC RESEARCH".
    derivation : how the volume was made, for the reader of the image; the scale is appended.
    contributing : what made it (method, weights_sha256, seed ...), for the Contributing Equipment Sequence.
    series_number : of the new series; another one for each series derived from one source.
    """
    require_research(series_description, RESEARCH)
    _require_other(out, source)
    with reading(Path(source), DICOM):
        original = open_recon_tomo(Path(source))
        stored = stored_grid(original)
        image_grid(original, stored).require_same(volume.grid, mine=Path(source).name, theirs="volume")
        array = rearrange(finite_counts(volume), volume.grid, stored)
        frames = array[np.argsort(slice_order(original, Path(source)))]
        dataset = _inherited(original)
        _place_like(dataset, original)
    dataset.SeriesNumber, dataset.SeriesDescription = series_number, series_description
    return _store_derived(dataset, original, frames, volume, out, derivation=derivation, contributing=contributing)


def write_nm_reconstructed(
    volume: Volume,
    source: Path,
    out: Path,
    *,
    series_description: str,
    derivation: str,
    contributing: Mapping[str, str],
    corrected: Sequence[str] = (),
    series_number: int = 9001,
) -> Path:
    """A reconstruction of the projections in `source` as a new NM series in the same study.

    Its frame of reference is its own: positions are from the axis of rotation and the middle of the detector.

    Parameters
    ----------
    volume : counts on the reconstruction's grid.
    source : the untouched TOMO or GATED TOMO file.
    series_description : begins with "RESEARCH".
    corrected : values that the reconstruction adds to Corrected Image (0028,0051): "ATTN", "SCAT".
    out, derivation, contributing, series_number : as for `write_nm_derived`.
    """
    require_research(series_description, RECONSTRUCTION)
    _require_other(out, source)
    with reading(Path(source), DICOM):
        original = open_nm(Path(source), PROJECTIONS, remedy="Use write_nm_derived for what is made from an image.")
        dataset = _inherited(original)
        set_geometry(dataset, volume.grid, nm_facts(original))
        for keyword in ("CollimatorGridName", "CollimatorType"):
            heads = original.get("DetectorInformationSequence") or [Dataset()]
            setattr(dataset.DetectorInformationSequence[0], keyword, heads[0].get(keyword))
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["reconstruction", str(original.SOPInstanceUID)])
    dataset.PositionReferenceIndicator = ""
    if claims := [*corrections(dataset), *corrected]:
        dataset.CorrectedImage = claims
    dataset.SeriesNumber, dataset.SeriesDescription = series_number, series_description
    frames = finite_counts(volume)
    return _store_derived(dataset, original, frames, volume, out, derivation=derivation, contributing=contributing)


def _require_other(out: Path, source: Path) -> None:
    if Path(out).resolve() == Path(source).resolve():
        raise BadArgument(f"out {out}, the source itself", needed="another file", remedy="Leave the source as it is.")


def _store_derived(
    dataset: Dataset,
    original: Dataset,
    frames: np.ndarray,
    volume: Volume,
    out: Path,
    *,
    derivation: str,
    contributing: Mapping[str, str],
) -> Path:
    """Put pixels, source and derivation into a derived object, and the object into its file."""
    dataset.SourceImageSequence = [source_image(original.SOPInstanceUID)]
    # PS3.3 C.8.4.9.1.1 leaves PRIMARY as the only second value for NM: SECONDARY makes the object invalid.
    dataset.ImageType = ["DERIVED", "PRIMARY", "RECON TOMO", "EMISSION"]
    slope = set_pixels(dataset, frames, volume)
    scale = f"Stored value x {slope:.9g} = {volume.quantity.unit}"
    dataset.DerivationDescription = short_text(
        f"{derivation.rstrip('. ')}. {scale}. Research use only, not for diagnosis.", "derivation"
    )
    dataset.ContributingEquipmentSequence = [contribution(contributing)]
    description = dataset.SeriesDescription
    made_from = [original.SOPInstanceUID, description, dataset.DerivationDescription, listed(contributing)]
    return store(dataset, Path(out), made_from)


def write_nm(
    volume: Volume,
    out: Path,
    *,
    patient: str,
    series_description: str = "SIMULATED NAC",
    facts: Mapping[str, Any] | None = None,
    window: EnergyWindow = TC99M_WINDOW,
) -> Path:
    """A simulated patient's volume as a complete NM object; its names say that nobody was scanned.

    Parameters
    ----------
    volume : counts [k, j, i] on any grid with right angles.
    patient : a short identifier; the patient is called "SIMULATED^<patient>".
    facts : as `read_nm` gives them; sex, height_m, weight_kg, camera_model, collimator, isotope and
        patient_position are written.
    """
    facts = facts or {}
    dataset = simulated_object(
        patient=patient, series_description=series_description, kind="RECON TOMO", facts=facts, windows=(window,)
    )
    set_study(dataset, patient, volume.numpy().tobytes())
    set_geometry(dataset, volume.grid, facts)
    set_pixels(dataset, finite_counts(volume), volume)
    return store(dataset, Path(out), [patient, series_description, volume.grid.affine, facts])


def _inherited(original: Dataset) -> Dataset:
    """What a derived image shares with its source wherever its slices lie, with the source's own omissions mended."""
    dataset = Dataset()
    for element in original:
        if element.tag.group in (0x0010, 0x0012) or element.keyword in _SHARED:
            dataset.add(deepcopy(element))
    prune(dataset)
    dataset.SpecificCharacterSet = "ISO_IR 192"  # the source's may be too small for the derivation text
    dataset.SOPClassUID = NuclearMedicineImageStorage
    if kept := [c for c in corrections(original) if c != "ATTN"]:
        dataset.CorrectedImage = kept
    if position := patient_position(original):
        set_position(dataset, position)
    if name := isotope(original):
        dataset.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence = [coded(ISOTOPES[name])]
    for tracer in dataset.get("RadiopharmaceuticalInformationSequence") or []:
        tracer.setdefault("RadionuclideCodeSequence", [])
    dataset.NumberOfEnergyWindows = max(len(dataset.get("EnergyWindowInformationSequence") or []), 1)
    if "BodyPartExamined" not in dataset:
        dataset.Laterality = None
    return dataset


def _place_like(dataset: Dataset, original: Dataset) -> None:
    """Detectors, rotations and frame of reference of the source, mended."""
    place, detectors = placed_item(original), dataset.setdefault("DetectorInformationSequence", [Dataset()])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
        setattr(detectors.value[0], keyword, place[keyword].value)
    for detector in detectors.value:
        detector.setdefault("CollimatorType", None)
    dataset.NumberOfDetectors = len(detectors.value)
    if "FrameOfReferenceUID" in dataset and "PositionReferenceIndicator" not in dataset:
        dataset.PositionReferenceIndicator = ""
    rotations = [_mended(rotation, original) for rotation in dataset.get("RotationInformationSequence") or []]
    whole = [r for r in rotations if r is not None]
    dataset.RotationInformationSequence = whole if len(whole) == len(rotations) else []
    dataset.NumberOfRotations = max(len(rotations), 1)


def _mended(rotation: Dataset, original: Dataset) -> Dataset | None:
    """A rotation with its frame duration and frame count, from elsewhere in the source; None if they are nowhere."""
    duration = rotation.get("ActualFrameDuration", original.get("ActualFrameDuration"))
    step, arc = rotation.get("AngularStep"), rotation.get("ScanArc")
    if duration is None or step is None or arc is None:
        return None
    rotation.ActualFrameDuration = duration
    if "NumberOfFramesInRotation" not in rotation:
        rotation.NumberOfFramesInRotation = max(round(float(arc) / float(step)), 1) if float(step) > 0 else 1
    return rotation
