"""A simulated person's visit to a camera: what all objects of one DICOM study say alike."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.uid import generate_uid

from photopeak import __version__
from photopeak.core import Study
from photopeak.core.errors import BadArgument

NOTICE = "Simulated by photopeak: nobody was scanned. Research use only, not for diagnosis."
TIMES = {"stress": "090000", "rest": "130000"}
_EMPTY = ("PatientBirthDate", "ReferringPhysicianName", "PositionReferenceIndicator")


@dataclass(frozen=True)
class SimulatedScan:
    """One scan of a person who does not exist.

    Parameters
    ----------
    person : a short identifier, the same for stress and rest; the patient is called "SIMULATED^<person>".
    state : "stress", "rest", or "" where that is unknown.
    mark : SHA-256 of what was measured; other counts are another study, with other UIDs.
    facts : as `read_nm` gives them: sex, height_m, weight_kg, camera_model, collimator, isotope, patient_position.
    """

    person: str
    state: str
    mark: str
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, study: Study) -> "SimulatedScan":
        """The scan that a simulated study is of."""
        if not study.facts.get("simulated"):
            raise BadArgument(
                f"study {study.name}, of a real patient or of unknown origin",
                needed="a simulated study",
                remedy="Keep the original DICOM of real patients; results are written with it as their source.",
            )
        patient = study.facts.get("patient", {})
        state = study.facts.get("state") or patient.get("state") or ""
        if state not in ("", *TIMES):
            raise BadArgument(f"state {state!r}", needed="stress or rest", remedy='Correct facts["state"].')
        measured = study.projections["raw"].counts if "raw" in study.projections else study["nac"].data
        mark = hashlib.sha256(measured.numpy().tobytes()).hexdigest()
        known = {k: patient[k] for k in ("sex", "height_m", "weight_kg") if k in patient}
        return cls(study.facts.get("person", study.name), state, mark, {**known, **study.facts})

    @property
    def study_uid(self) -> str:
        return str(generate_uid(entropy_srcs=["study", self.person, self.state, self.mark]))

    def titled(self, words: str) -> str:
        """A Series Description: the state, then `words`."""
        return f"{self.state.upper()} {words}".lstrip()

    def enter(self, dataset: Dataset) -> None:
        """Patient, study and frame of reference; NM and CT of one visit share all three, as on a hybrid camera."""
        for keyword in _EMPTY:
            setattr(dataset, keyword, None)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientName, dataset.PatientID = f"SIMULATED^{self.person}", f"SIMULATED-{self.person}"
        dataset.PatientSex = self.facts.get("sex", "")
        for keyword, fact in (("PatientSize", "height_m"), ("PatientWeight", "weight_kg")):
            if fact in self.facts:
                setattr(dataset, keyword, f"{self.facts[fact]:.6g}")
        dataset.StudyInstanceUID = self.study_uid
        dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame", self.study_uid])
        dataset.StudyDescription = f"MPI {self.state.upper()}".rstrip()
        dataset.StudyDate, dataset.StudyTime = "20000101", TIMES.get(self.state, "000000")
        dataset.StudyID = dataset.AccessionNumber = "SIMULATED"
        dataset.Manufacturer, dataset.SoftwareVersions = "photopeak", __version__
        dataset.ManufacturerModelName = self.facts.get("camera_model", "SIMULATED")
        dataset.ImageComments = NOTICE
