"""The maps of a scan: one surface for every image, and a record that survives a file."""

import json

import pytest
import torch

from photopeak.core import Study
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.evaluate.scan_maps import ScanMaps, measure_maps


def test_a_simulated_scan_is_measured_and_written(patient: Study) -> None:
    scan = measure_maps(patient, ("nac", "ac_clean"), person="p", state="stress")
    assert scan.is_normal
    assert (scan.defect_segments, scan.normal_segments) == ((), tuple(range(17)))
    assert scan.sex in ("M", "F")
    again = ScanMaps.from_dict(json.loads(json.dumps(scan.to_dict())))
    assert again.to_dict() == scan.to_dict()
    assert torch.equal(again.segments("nac"), scan.segments("nac"))


def test_scaling_an_image_scales_its_map_and_no_other(patient: Study) -> None:
    scan = measure_maps(patient, ("nac",), person="p")
    both = scan.with_maps(double=2 * scan["nac"])
    torch.testing.assert_close(both.segments("double"), 2 * scan.segments("nac"))
    assert set(scan.maps) == {"nac"}


def test_segments_are_sorted_by_their_true_uptake() -> None:
    scan = ScanMaps("p", None, None, (0.5, 0.9, 0.97, *[1.0] * 14), ("LAD",), {})
    assert scan.defect_segments == (0,)
    assert scan.normal_segments == tuple(range(2, 17))


def test_what_is_not_there(patient: Study) -> None:
    with pytest.raises(MissingInput, match="does not say"):
        measure_maps(Study("real", patient.volumes), ("nac",), person="p")
    with pytest.raises(MissingInput, match="answer"):
        measure_maps(patient, ("answer",), person="p")
    with pytest.raises(MissingInput, match='no map of "ac"'):
        ScanMaps("p", None, None, (1.0,) * 17, (), {})["ac"]
    with pytest.raises(BadArgument, match="16 true segments"):
        ScanMaps("p", None, None, (1.0,) * 16, (), {})
