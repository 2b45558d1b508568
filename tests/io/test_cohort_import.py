"""Importing what hospitals have: what is taken, what is left and why, and that nobody's name comes along."""

import csv
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom import DataElement, Dataset
from pydicom.datadict import DicomDictionary

from photopeak.core import COUNTS, Grid, Study, Volume
from photopeak.core.errors import BadArgument
from photopeak.io.cohort import open_cohort
from photopeak.io.cohort_import import Imported, import_cohort, split_of
from photopeak.io.deidentify import Secret
from photopeak.io.dicom_export import export_study
from photopeak.io.dicom_nm_write import write_nm
from photopeak.io.import_table import plain_cell

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
SECRET = Secret(bytes(range(32)))
SENTINEL = "SENTINEL"
Add = Callable[..., Path]


@pytest.fixture
def archive(tmp_path: Path) -> Add:
    """Adds a small NM file under any name, with elements set or edited."""
    grid = Grid.regular((4, 5, 6), (4.0, 3.0, 2.0))
    generator = torch.Generator().manual_seed(3)

    def add(name: str, edit: Callable[[Dataset], Any] | None = None, *, person: str = "A", **tags: Any) -> Path:
        volume = Volume(torch.rand(4, 5, 6, generator=generator) * 900, grid, COUNTS)
        path = write_nm(volume, tmp_path / "in" / name, patient=person)
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = f"1.2.{ord(person)}", f"1.3.{ord(person)}"
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        if edit is not None:
            edit(dataset)
        dataset.save_as(path)
        return path

    return add


def run(tmp_path: Path, **settings: Any) -> Imported:
    return import_cohort(tmp_path / "in", tmp_path / "cohort", SECRET, **settings)


def whys(done: Imported) -> str:
    return "\n".join(line.why for line in done.lines)


def test_stress_and_rest_of_two_people(archive: Add, tmp_path: Path) -> None:
    archive("1.dcm", SeriesDescription="STRESS IRNC TRANSAXIAL")
    archive("2.dcm", SeriesDescription="STRESS IRAC TRANSAXIAL")
    archive("3.dcm", SeriesDescription="REST IRNC")
    archive("4.dcm", person="B", SeriesDescription="IRNC", StudyDescription="MPI REST", CorrectedImage=["ATTN", "SCAT"])
    done = run(tmp_path)
    cohort = open_cohort(tmp_path / "cohort")
    assert sorted(len(names) for names in cohort.persons.values()) == [1, 2]
    names = {name: set(study) for name, study in zip(cohort.names, cohort, strict=True)}
    assert sorted(map(sorted, names.values())) == [["ac"], ["ac", "nac"], ["nac"]]
    assert all(name.rsplit("_", 1)[1] == study.facts["state"] for name, study in zip(cohort.names, cohort, strict=True))
    assert {line.outcome for line in done.lines} == {"taken"}


def test_pixels_and_places_are_those_of_the_file(archive: Add, tmp_path: Path) -> None:
    path = archive("1.dcm", SeriesDescription="REST NAC")
    stored = pydicom.dcmread(path)
    run(tmp_path)
    volume = open_cohort(tmp_path / "cohort")[0]["nac"]
    slope = stored.RealWorldValueMappingSequence[0].RealWorldValueSlope
    np.testing.assert_array_equal(volume.numpy(), (stored.pixel_array * slope).astype(np.float32))
    assert volume.grid.same_as(Grid.regular((4, 5, 6), (4.0, 3.0, 2.0)), tolerance_mm=1e-4)


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({"SeriesDescription": "IRNC"}, "neither stress nor rest"),
        ({"SeriesDescription": "STRESS REST IRNC"}, "stress and rest are both named"),
        ({"SeriesDescription": "REST IRNC", "ProtocolName": "STRESS"}, "stress and rest are both named"),
        ({"SeriesDescription": "RESTORED NAC"}, "neither stress nor rest"),
        ({"SeriesDescription": "STRESS TRANSAXIAL ACQ"}, "neither AC nor NAC"),
        ({"SeriesDescription": "STRESS NO AC"}, "both named and denied"),
        ({"SeriesDescription": "STRESS NAC SA HLA"}, "several cuts"),
        ({"SeriesDescription": "STRESS NAC VLA", "SliceProgressionDirection": "APEX_TO_BASE"}, "disagree"),
    ],
)
def test_what_is_not_certain_is_listed_with_its_flag(
    archive: Add, tmp_path: Path, tags: dict[str, str], why: str
) -> None:
    archive("1.dcm", **tags)
    (line,) = run(tmp_path).lines
    assert line.outcome == "left"
    assert why in line.why
    assert f"--series {line.series}=" in line.why


def test_flags_and_rules_decide(archive: Add, tmp_path: Path) -> None:
    archive("1.dcm", SeriesDescription="SERIES 1")
    archive("2.dcm", SeriesDescription="SERIES 2")
    archive("3.dcm", SeriesDescription="REST NAC")
    first, second, third = (line.series for line in run(tmp_path).lines)
    done = run(tmp_path, choices=[f"{first[:6]}=stress:ac", f"{third}=stress"], rules=["series 2=stress:nac"])
    assert [(line.outcome, line.as_) for line in done.lines] == [("taken", "ac"), ("taken", "nac"), ("left", "")]
    assert "--series says stress" in done.lines[2].why
    assert second in (line.series for line in done.lines)


@pytest.mark.parametrize("choice", ["abc=stress", "abcdef=stress", "x", "=rest", "abcdef=rest:stress", "abcdef=left"])
def test_flags_that_decide_nothing_are_refused(archive: Add, tmp_path: Path, choice: str) -> None:
    archive("1.dcm")
    with pytest.raises(BadArgument):
        run(tmp_path, choices=[choice])


def test_two_of_a_kind_are_both_left_until_one_is_chosen(archive: Add, tmp_path: Path) -> None:
    archive("1.dcm", SeriesDescription="REST NAC")
    archive("2.dcm", SeriesDescription="REST NAC FILTERED")
    archive("3.dcm", SeriesDescription="REST AC")
    done = run(tmp_path)
    assert [line.outcome for line in done.lines] == ["left", "left", "taken"]
    again = run(tmp_path, choices=[f"{done.lines[0].series}=leave"])
    assert [line.outcome for line in again.lines] == ["left", "taken", "taken"]
    assert set(open_cohort(tmp_path / "cohort")[0]) == {"ac", "nac"}


def test_two_people_under_one_identifier_are_left(archive: Add, tmp_path: Path) -> None:
    archive("1.dcm", SeriesDescription="REST NAC", PatientSex="M")
    archive("2.dcm", SeriesDescription="STRESS NAC", PatientSex="F")
    done = run(tmp_path)
    assert {line.outcome for line in done.lines} == {"left"}
    assert "different Patient's Sex" in whys(done)


def test_state_comes_from_a_shared_frame_of_reference_only(archive: Add, tmp_path: Path) -> None:
    archive("1.dcm", SeriesDescription="REST NAC")
    archive("2.dcm", SeriesDescription="IRAC")
    archive("3.dcm", SeriesDescription="IRAC SA", FrameOfReferenceUID="1.9")
    done = run(tmp_path)
    assert [line.as_ for line in done.lines] == ["nac", "ac", ""]
    assert "Frame of Reference" in done.lines[1].why


def seed(dataset: Dataset) -> None:
    """Sentinels wherever the standard has room for text, in private elements, and inside sequences."""
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        kept = tag in dataset or not keyword or keyword in ("TransferSyntaxUID", "SpecificCharacterSet")
        if kept or retired or tag >> 16 < 8 or tag >> 16 == 0x7FE0:
            continue
        if vr in ("LO", "LT", "PN", "SH", "ST", "UC", "UT"):
            dataset.add(DataElement(tag, vr, f"{SENTINEL}^{keyword}"[:60] if vr != "SH" else SENTINEL))
    for keyword in ("PatientName", "PatientID", "StudyID", "AccessionNumber", "Manufacturer", "ManufacturerModelName"):
        setattr(dataset, keyword, SENTINEL)
    dataset.SeriesDescription, dataset.StudyDescription = f"STRESS IRNC {SENTINEL}", f"{SENTINEL} MPI"
    dataset.ProtocolName, dataset.BurnedInAnnotation = SENTINEL, "NO"
    dataset.DetectorInformationSequence[0].CollimatorGridName = SENTINEL
    person = Dataset()
    person.PatientName = SENTINEL
    dataset.OtherPatientIDsSequence = dataset.RequestAttributesSequence = [person]
    dataset.private_block(0x0011, SENTINEL, create=True).add_new(1, "LO", SENTINEL)
    dataset.PatientBirthDate, dataset.StudyDate = "19330317", "20190317"


def change(dataset: Dataset, **tags: Any) -> None:
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)


def test_no_identifier_survives(archive: Add, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    archive(f"{SENTINEL}_ANNA/{SENTINEL}.dcm", seed)
    archive(f"{SENTINEL}_ANNA/2.dcm", lambda d: (seed(d), setattr(d, "Modality", SENTINEL[:8])))
    archive(f"{SENTINEL}_ANNA/3.dcm", lambda d: (seed(d), setattr(d, "BurnedInAnnotation", "YES")))
    archive(f"{SENTINEL}_ANNA/4.dcm", lambda d: (seed(d), change(d, PixelSpacing=None, SeriesDescription="STRESS AC")))
    cut = archive(f"{SENTINEL}_ANNA/5.dcm", lambda d: (seed(d), change(d, SeriesDescription="REST NAC")))
    uid = pydicom.dcmread(cut).SeriesInstanceUID
    cut.write_bytes(cut.read_bytes()[:-30])
    (tmp_path / "in" / f"{SENTINEL}.txt").write_text(SENTINEL)
    with zipfile.ZipFile(tmp_path / "in" / f"{SENTINEL}.zip", "w") as packed:
        packed.writestr(f"../{SENTINEL}", SENTINEL)
    done = run(tmp_path)
    print(done)  # noqa: T201
    assert [line.outcome for line in done.lines].count("taken") == 1
    output = "".join(capfd.readouterr())
    written = [(str(p.relative_to(tmp_path)), p.read_bytes()) for p in (tmp_path / "cohort").rglob("*") if p.is_file()]
    assert len(written) >= 5
    for name, content in [("output", output.encode()), *written]:
        for secret in (SENTINEL, "1933", "20190317", "2019-03-17", str(uid), "ANNA"):
            assert secret.encode() not in content, (name, secret)
            assert secret not in name


def test_paths_and_descriptions_only_where_asked_and_never_inside(archive: Add, tmp_path: Path) -> None:
    archive("=evil.dcm", SeriesDescription="=SUM(A1)")
    with pytest.raises(BadArgument, match="private"):
        run(tmp_path, private=tmp_path / "cohort" / "private.csv")
    run(tmp_path, private=tmp_path / "private.csv")
    header, row = csv.reader((tmp_path / "private.csv").read_text().splitlines())
    assert header[3] == "description"
    assert row[3] == "'=SUM(A1)"
    assert (tmp_path / "private.csv").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\tx", "\rx"])
def test_cells_are_no_formulas(cell: str) -> None:
    assert plain_cell(cell) == f"'{cell}"


def test_absurd_sizes_cut_files_and_junk_are_left(archive: Add, tmp_path: Path) -> None:
    archive("1.dcm", SeriesDescription="REST NAC")
    archive("2.dcm", SeriesDescription="STRESS NAC", Rows=65535, Columns=65535, NumberOfFrames=2**30)
    archive("3.dcm", SeriesDescription="STRESS AC", Rows=6)
    archive("4.dcm", lambda d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]))
    shutil.copy(archive("5.dcm", SeriesDescription="STRESS IRAC"), tmp_path / "in" / "6.dcm")
    (tmp_path / "in" / "7.txt").write_text("hello")
    done = run(tmp_path)
    assert [line.outcome for line in done.lines].count("taken") == 1
    for why in ("Rows x Columns", "STATIC", "the same SOP Instance UID", "not DICOM"):
        assert why in whys(done), why
    assert len(done.lines) == 7


def test_wrong_representations_are_left(archive: Add, tmp_path: Path) -> None:
    def wrong(dataset: Dataset) -> None:
        with pydicom.config.disable_value_validation():
            for keyword in ("Rows", "PixelSpacing", "DetectorInformationSequence"):
                dataset[keyword] = DataElement(dataset.data_element(keyword).tag, "LO", SENTINEL)

    archive("1.dcm", wrong, SeriesDescription="REST NAC")
    (line,) = run(tmp_path).lines
    assert line.outcome == "left"
    assert SENTINEL not in line.why


def test_an_import_goes_on_and_names_stay(archive: Add, tmp_path: Path) -> None:
    archive("1.dcm", person="A", SeriesDescription="REST NAC")
    first = run(tmp_path)
    before = (tmp_path / "cohort" / first.made[0] / "study.json").stat().st_mtime_ns
    for person in "BCDEF":
        archive(f"{person}.dcm", person=person, SeriesDescription="REST NAC")
    second = run(tmp_path)
    assert second.there == first.made
    assert len(second.made) == 5
    assert (tmp_path / "cohort" / first.made[0] / "study.json").stat().st_mtime_ns == before
    shutil.rmtree(tmp_path / "in")
    archive("B.dcm", person="B", SeriesDescription="STRESS NAC")
    assert run(tmp_path).made[0].removesuffix("stress") + "rest" in second.made
    assert len(open_cohort(tmp_path / "cohort")) == 7
    names = (tmp_path / "cohort" / "import.json").read_bytes()
    with pytest.raises(BadArgument, match="cohort"):
        import_cohort(tmp_path / "in", tmp_path / "cohort", Secret(bytes(32)))
    assert (tmp_path / "cohort" / "import.json").read_bytes() == names


def test_a_killed_import_loses_the_study_in_hand_only(archive: Add, tmp_path: Path) -> None:
    for person in "ABC":
        archive(f"{person}.dcm", person=person, SeriesDescription="REST NAC")
    program = f"""
import os, signal
from pathlib import Path
from photopeak.io import cohort_import, store
from photopeak.io.deidentify import Secret
write, count = store.write_record, []
def dying(record, path):
    count.append("study" in record["schema"])
    if sum(count) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    write(record, path)
store.write_record = dying
source, cohort = Path({str(tmp_path / "in")!r}), Path({str(tmp_path / "cohort")!r})
cohort_import.import_cohort(source, cohort, Secret(bytes(range(32))))
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -9
    assert any(p.name.endswith(".partial") for p in (tmp_path / "cohort").iterdir())
    open_cohort(tmp_path / "cohort")
    done = run(tmp_path)
    assert (len(done.there), len(done.made)) == (1, 2)
    assert not any(p.name.startswith(".") for p in (tmp_path / "cohort").iterdir())
    assert len(open_cohort(tmp_path / "cohort", checksums=True)) == 3


def test_cohort_and_source_must_be_apart(archive: Add, tmp_path: Path) -> None:
    archive("1.dcm")
    with pytest.raises(BadArgument, match="COHORT"):
        import_cohort(tmp_path / "in", tmp_path / "in" / "cohort", SECRET)


def test_split_by_person_in_proportion() -> None:
    splits = [split_of(n, (254, 84, 86), 0) for n in range(848)]
    assert [splits.count(s) for s in ("train", "validation", "test")] == [508, 168, 172]
    assert splits != [split_of(n, (254, 84, 86), 1) for n in range(848)]


def test_what_is_exported_comes_back(patient: Study, tmp_path: Path) -> None:
    study = replace(patient, name="p").with_facts(person="p", state="stress")
    export_study(study, tmp_path / "in" / "one")
    shutil.make_archive(str(tmp_path / "in" / "all"), "zip", tmp_path / "in" / "one")
    shutil.rmtree(tmp_path / "in" / "one")
    done = run(tmp_path)
    assert {line.outcome for line in done.lines} == {"taken"}, whys(done)
    back = open_cohort(tmp_path / "cohort", checksums=True)[0]
    cuts = {f"{name}_{cut}" for name in ("nac", "ac") for cut in ("sa", "hla", "vla")}
    assert set(back) == {"nac", "ac", "mu", "ct"} | cuts
    assert torch.equal(back.projections["raw"].counts, patient.projections["raw"].counts)
    assert back.projections["raw"].camera.collimator == patient.projections["raw"].camera.collimator
    for name in ("nac", "ac", "mu"):
        assert back[name].grid.same_as(patient[name].grid, tolerance_mm=1e-4)
        step = float(patient[name].data.max()) / 65535
        np.testing.assert_allclose(back[name].numpy(), patient[name].numpy(), atol=0.51 * step)
    assert back.facts["registration"]["wall_in_tissue"] > 0.9


def test_real_series_are_taken_with_a_rule_and_the_flood_is_left(tmp_path: Path) -> None:
    if not DATA.exists():
        pytest.skip("the real NM series are not beside the repository")
    for folder in ("nm_cardiac", "nm_phantom"):
        shutil.copytree(DATA / folder, tmp_path / "in" / folder)
    done = run(tmp_path, rules=["series 2|jasz=rest:nac"])
    assert len(done.made) == 5
    assert "STATIC" in whys(done)
    shapes = [study["nac"].grid.shape for study in open_cohort(tmp_path / "cohort")]
    assert sorted(shapes) == [(45, 128, 128)] + [(50, 70, 70)] * 4
