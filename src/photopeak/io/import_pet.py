"""A PET/CT of an archive as one study: both series read, paired on one grid, with facts that name nobody."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from photopeak.core import Step, Study
from photopeak.core.errors import PhotopeakError
from photopeak.io.deidentify import Secret
from photopeak.io.dicom_index import SHOWN
from photopeak.io.dicom_walk import Opener
from photopeak.io.import_read import read_series, reason, told_by_user
from photopeak.io.import_scans import Scan
from photopeak.io.pet_pair import Pairing, paired

PARTS = ("pet", "ct")
NO_CT = "no CT of its scan: none shares its Frame of Reference (0020,0052), or several do"


def is_pet(scan: Scan) -> bool:
    """True for a scan with a PET among its series."""
    return "pet" in scan.parts


def inputs_of(scan: Scan, how: Pairing) -> list[str]:
    """What decides the study of a scan: its series, and for PET/CT how they are paired."""
    return [*scan.inputs, f"kvp {how.kvp} spacing_mm {how.spacing_mm}"] if is_pet(scan) else scan.inputs


def convert_pet(scan: Scan, secret: Secret, opener: Opener, how: Pairing) -> Study:
    """The scan as "ct" [HU] and "pet" [SUV] on one grid. Both are left, and the record says why, if one cannot be."""
    record: dict[str, Any] = {"inputs": inputs_of(scan, how), "parts": {}, "left": {}, "warnings": []}
    study, facts = Study(scan.name), dict[str, Any]()
    extra = {name: series for name, series in scan.parts.items() if name not in PARTS}
    record["left"] |= {series.shown: "beside a PET only its CT is taken" for series in extra.values()}
    if "ct" not in scan.parts:
        record["left"] |= {scan.parts["pet"].shown: NO_CT}
        return _said(study, facts, scan, record)
    try:
        study, facts = _pair(scan, secret, opener, how, record)
    except PhotopeakError as error:
        for name in PARTS:
            if name in scan.parts:
                record["left"].setdefault(scan.parts[name].shown, reason(error))
        record["parts"] = {}
    return _said(study, facts, scan, record)


def _said(study: Study, facts: Mapping[str, Any], scan: Scan, record: Mapping[str, Any]) -> Study:
    return study.with_facts(
        **facts,
        person=scan.person,
        state=None if scan.state == "static" else scan.state,
        simulated=False,
        **{"import": {**record, "scan": scan.key}},
    )


def _pair(
    scan: Scan, secret: Secret, opener: Opener, how: Pairing, record: dict[str, Any]
) -> tuple[Study, dict[str, Any]]:
    """The paired volumes with the import's own history, and what may be known of them."""
    read, steps, known, frames = dict[str, Study](), list[Step](), dict[str, Any](), dict[str, str]()
    for name in PARTS:
        series = scan.parts[name]
        try:
            read[name], about = read_series(series, secret, opener, {})
        except PhotopeakError as error:
            record["left"][series.shown] = reason(error)
            raise
        known = {**about, **known}
        by = {q: series.role.answer(q).by for q in ("state", "what", "orientation")}
        record["parts"][name] = {"item": series.shown, "decided_by": by}
        steps.append(Step((name,), "import", (), {"item": series.shown, "what": series.role.what.by}))
        frames[name] = str(read[name].facts.get("dicom", {}).get("frame_of_reference_sha256", ""))[:SHOWN]
    stated = told_by_user(scan.parts["ct"].role.state.by)
    pair = paired(read["ct"], read["pet"], replace(how, same_frame=how.same_frame or stated))
    facts = {k: v for k, v in pair.facts.items() if k not in ("dicom", "modality")}
    facts |= {**known, "frames": {name: frame for name, frame in frames.items() if frame}}
    return replace(Study(scan.name), volumes=pair.volumes, history=(*steps, pair.history[-1])), facts
