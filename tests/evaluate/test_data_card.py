"""The data card: one file that needs nothing else, with the rows, the pictures and nothing unescaped."""

import html
import re
from dataclasses import replace

import pytest

from photopeak.core import Study
from photopeak.evaluate.cohort_facts import cohort_rows
from photopeak.evaluate.cohort_figures import cohort_figure
from photopeak.evaluate.data_card import data_card, shown_persons
from photopeak.evaluate.figures import NOTICE
from photopeak.evaluate.scan_facts import ScanFacts, measure_scan


@pytest.fixture(autouse=True)
def _coarse_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("photopeak.evaluate.figures.DPI", 30)
    monkeypatch.setattr("photopeak.evaluate.cohort_figures.DPI", 30)


@pytest.fixture
def scans(patient: Study) -> list[ScanFacts]:
    one = measure_scan(patient, person="p0", state="stress")
    return [one, replace(one, state="rest"), *(replace(one, person=f"p{n}", weight_kg=50.0 + n) for n in range(1, 9))]


def card(patient: Study, scans: list[ScanFacts], **more: object) -> str:
    arguments = {
        "shown": {"a man": [patient]},
        "splits": {"train": 7, "validation": 1, "test": 1},
        "about": {"seed": 3},
    } | more
    return data_card(cohort_rows(scans), scans, **arguments)


def test_it_needs_nothing_beside_it_and_runs_nothing(patient: Study, scans: list[ScanFacts]) -> None:
    source = card(patient, scans)
    assert "<script" not in source
    assert not re.search(r"https?://|url\(|@import|<link", source)
    images = re.findall(r'src="([^"]{30})', source)
    assert len(images) == 3
    assert all(image.startswith("data:image/png;base64,iVBOR") for image in images)
    assert source.count(NOTICE) >= 2
    assert source == card(patient, scans)


def test_every_row_is_told_with_its_band_and_source(patient: Study, scans: list[ScanFacts]) -> None:
    text = html.unescape(
        re.sub(r"<[^>]*>", " ", re.sub(r"<(style|img)[^>]*>([^<]*</style>)?", " ", card(patient, scans)))
    )
    for row in cohort_rows(scans):
        assert row.name in text
        assert row.source in text
        assert row.status in text
    assert "9, 10" in text, "persons and scans"
    assert "7, 1, 1" in text


def test_nothing_gets_through_unescaped(patient: Study, scans: list[ScanFacts]) -> None:
    evil = '<img src=x onerror="alert(1)">'
    source = card(replace(patient, name=evil), scans, shown={evil: [replace(patient, name=evil)]}, about={evil: evil})
    assert evil not in source


def test_persons_shown_are_different_and_have_what_is_said_of_them(scans: list[ScanFacts]) -> None:
    normal = replace(scans[0], sex="M", perfusion_segments=(1.0,) * 17, territories=())
    sick = replace(normal, perfusion_segments=(0.5, *(1.0,) * 16))
    persons = [
        replace(sick, person="lad", territories=("LAD",)),
        replace(sick, person="rca", territories=("RCA",)),
        replace(normal, person="man"),
        replace(normal, person="woman", sex="F"),
        replace(sick, person="heavy", weight_kg=120.0, territories=("LAD", "LCX")),
        replace(sick, person="light", weight_kg=40.0, territories=("LAD", "LCX")),
        replace(normal, person="lost", unmeasured="no heart", weight_kg=200.0),
    ]
    assert shown_persons(persons) == {
        "man": "a man without defects",
        "woman": "a woman without defects",
        "lad": "a defect of the LAD",
        "rca": "a defect of the RCA",
        "light": "the lightest for the height",
        "heavy": "the heaviest for the height",
    }
    assert shown_persons([ScanFacts(person="imported")]) == {"imported": "among the first"}


def test_a_cohort_that_knows_nothing_still_has_a_figure() -> None:
    assert cohort_figure([ScanFacts(person="p")]).startswith(b"\x89PNG")
