"""The report: one file that needs nothing else, says what it must, lets nothing through unescaped, and is whole."""

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from photopeak.cardiac.find import FoundHeart
from photopeak.cardiac.orientation import HeartFrame
from photopeak.cardiac.segments import SEGMENTS
from photopeak.core import COUNTS, Grid, Step, Study, Volume
from photopeak.core.errors import BadArgument, BadValues, MissingInput
from photopeak.evaluate import report
from photopeak.evaluate.figures import NOTICE
from photopeak.evaluate.report import write_report

HEART = FoundHeart(HeartFrame.from_angles((42, -18, 3), azimuth_deg=48, elevation_deg=24), 33.0, 84.0, 0.83)
GRID = Grid.regular((36, 40, 40), 6.4, centre_mm=(30, -10, 0))


@pytest.fixture(autouse=True)
def _coarse_pictures(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("photopeak.evaluate.figures.DPI", 30)


def shell(inferior: float = 1.0) -> Volume:
    """A ventricle whose inferior wall has another uptake, and a liver much brighter than it."""
    frame = HEART.frame
    x, y, z = np.moveaxis((GRID.points() - np.array(frame.centre_mm)) @ _axes(frame), -1, 0)
    distance = (np.sqrt((x / 28) ** 2 + (y / 28) ** 2 + (np.clip(z + 8.4, 0, None) / 45.4) ** 2) - 1) * 28
    wall = np.exp(-0.5 * (distance / 6) ** 2) * (z > -42)
    uptake = np.where((y < 0) & (np.abs(x) < -y), inferior, 1.0)
    return Volume.from_numpy(100 * wall * uptake + 400 * (y < -55) + 1, GRID, COUNTS)


def _axes(frame: HeartFrame) -> np.ndarray:
    return np.stack([frame.lateral, frame.anterior, frame.apical], axis=1)


def study(*, spread: float = 4.0) -> Study:
    nac, ac = shell(0.7), shell()
    volumes = {"nac": nac, "ac": ac, "ac_sd": ac.with_data(ac.data * 0 + spread), "ctac": shell(0.97)}
    return Study("patient_0003", volumes, facts={"simulated": True}, history=(Step(("ac",), "padm", ("nac",)),))


def page(path: Path, of: Study | None = None, **more) -> str:
    arguments = {"heart": HEART, "provenance": {"method": "padm", "seed": "7"}} | more
    return write_report(of or study(), path / "report.html", **arguments).read_text(encoding="utf-8")


def text(source: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<(style|img)[^>]*>([^<]*</style>)?", " ", source)))


def rows(source: str) -> dict[str, list[str]]:
    """Cells of the table by the name of the segment or territory."""
    found = re.findall(r"<tr[^>]*><th>([^<]*)</th><th>([^<]*)</th>(.*?)</tr>", source)
    return {(b if a.isdigit() else a): re.findall(r"<td>([^<]*)</td>", cells) for a, b, cells in found if a}


def test_it_needs_nothing_beside_it_and_runs_nothing(tmp_path: Path):
    source = page(tmp_path, truth="ctac")
    assert "<script" not in source
    assert not re.search(r"https?://|url\(|@import|<link", source)
    images = re.findall(r'src="([^"]{30})', source)
    assert len(images) == 4
    assert all(image.startswith("data:image/png;base64,iVBOR") for image in images)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_notice_is_at_the_top_and_at_the_bottom(tmp_path: Path):
    words = re.sub(r"\s+", " ", text(page(tmp_path))).strip()
    body = words.removeprefix("patient_0003: cardiac SPECT attenuation correction (research) ")
    assert body.startswith(NOTICE)
    assert body.endswith(NOTICE)


def test_the_same_study_gives_the_same_bytes(tmp_path: Path):
    assert page(tmp_path / "a") == page(tmp_path / "b")


def test_the_table_has_what_was_put_in(tmp_path: Path):
    table = rows(page(tmp_path, truth="ctac"))
    assert set(table) == {*SEGMENTS, "LAD", "RCA", "LCX"}
    nac, ac, truth, change, error, sd = table["mid inferior"]
    assert 0.6 < float(nac) / float(ac) < 0.85
    assert float(change) == pytest.approx(float(ac) - float(nac), abs=1)
    assert float(error) == pytest.approx(float(ac) - float(truth), abs=1)
    assert 3 < float(sd) < 6
    assert abs(float(table["mid anterior"][3])) < 2
    mean = np.mean([float(table[SEGMENTS[n - 1]][0]) for n in (3, 4, 9, 10, 15)])
    assert float(table["RCA"][0]) == pytest.approx(mean, abs=0.6)
    assert float(ac) > 85, "per cent of the heart's maximum, not of the liver's"


def test_the_truth_brings_the_errors_of_both_and_nothing_without_it(tmp_path: Path):
    source = page(tmp_path / "with", truth="ctac")
    numbers = {k: [float(v) for v in re.findall(r"<td>([\d.]+)</td>", cells)] for k, cells in
               re.findall(r"<tr><th>(N?AC)</th>(<td>.*?)</tr>", source)}  # fmt: skip
    assert numbers["AC"][0] < numbers["NAC"][0], "NRMSE"
    assert numbers["AC"][-1] < numbers["NAC"][-1], "17 segments"
    assert "Against the truth" not in page(tmp_path / "without")


def test_warnings_provenance_history_and_the_heart_are_told(tmp_path: Path):
    words = text(page(tmp_path, warnings=["The pixel is 4.0 mm."], provenance={"weights": "sha256 0034f"}))
    for told in (
        "The pixel is 4.0 mm.",
        "sha256 0034f",
        "ac: padm() from nac",
        "0.83",
        "42.0, -18.0, 3.0 mm",
        "not a person",
    ):
        assert told in words
    assert "No warning was raised" not in words


def test_one_sample_has_no_uncertainty(tmp_path: Path):
    table = rows(page(tmp_path, study(spread=0.0)))
    assert {cells[-1] for cells in table.values()} == {"–"}
    panel = report._panels(report._maps(study(spread=0.0), HEART, {"NAC": "nac", "AC": "ac"}, "ac_sd"))[-1]
    assert panel.values is None
    assert "no uncertainty" in panel.unit


def test_nothing_gets_through_unescaped(tmp_path: Path):
    evil = '<img src=x onerror="alert(1)">'
    bad = replace(study(), name=evil, history=(Step(("ac",), evil),))
    source = page(tmp_path, bad, warnings=[evil], provenance={evil: evil})
    assert evil not in source
    assert source.count("&lt;img src=x onerror=") == 6


def test_a_failure_leaves_the_old_report_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = page(tmp_path)

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("photopeak.evaluate.page.os.replace", full)
    with pytest.raises(OSError, match="no space"):
        page(tmp_path, provenance={"seed": "8"})
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before


def test_a_missing_volume_is_named(tmp_path: Path):
    with pytest.raises(MissingInput, match='"ac_sd"'):
        page(tmp_path, study().only("nac", "ac"))


def test_an_image_without_counts_in_the_heart_is_refused(tmp_path: Path):
    broken = study()
    empty = broken["nac"].with_data(broken["nac"].data * 0)
    with pytest.raises(BadValues, match='"nac" has no counts'):
        page(tmp_path, broken.add({"nac": empty}, Step(("nac",), "emptied")))


def test_nan_is_refused(tmp_path: Path):
    broken = study()
    data = broken["ac_sd"].data.clone()
    data[0, 0, 0] = float("nan")
    with pytest.raises(BadValues, match="NaN"):
        page(tmp_path, broken.add({"ac_sd": broken["ac"].with_data(data)}, Step(("ac_sd",), "broken")))


def test_a_folder_is_no_place_for_a_file(tmp_path: Path):
    with pytest.raises(BadArgument, match="folder"):
        write_report(study(), tmp_path, heart=HEART, provenance={})
