from typing import Any

import pytest
import torch

from photopeak.core.errors import BadArgument
from photopeak.evaluate.low_dose import LOW_DOSE_UNITS
from photopeak.evaluate.low_dose_figures import curves_figure, maps_figure, maps_of, pictures
from photopeak.evaluate.low_dose_tables import labels_of, low_dose_tables, rows_of

SCANS = {f"p{n}_stress": f"p{n}" for n in range(5)}
SETTINGS = ["5%", "10%", "3 views"]
FACTORS = {"MLEM": 1.0, "ours": 0.5, "part": 0.8, "theirs": 0.7}
TABLES = {"ours": ["diffspect 1", "diffspect 2"], "part": ["diffspect 1"], "theirs": ["diffspect 2"]}


def line(error: float, kept: float, *, mapped: bool) -> dict[str, Any]:
    figures = dict.fromkeys(LOW_DOSE_UNITS, 1.0) | {"heart NRMSE": error, "17-segment MAE": error / 2}
    lost = error / 100
    segments = {"ac_clean": [1 - lost] + [1.0] * 16, "answer": [5 * (1 - kept * lost)] + [5.0] * 16}
    maps = {name: torch.rand(24, 72, generator=torch.Generator().manual_seed(1)).tolist() for name in segments}
    return {"scores": {"ac_clean": figures}, "segments": segments, "seconds": error} | (
        {"maps": maps} if mapped else {}
    )


@pytest.fixture
def record() -> dict[str, Any]:
    runs = {}
    for label, factor in FACTORS.items():
        scans = {
            scan: {
                setting: line(factor * (20 + number + place), factor, mapped=number == 0)
                for place, setting in enumerate(SETTINGS)
            }
            for number, scan in enumerate(SCANS)
        }
        runs[label] = {"label": label, "seed": 1, "scans": scans}
    about = {"split": "test", "train_scans": 9, "tier": "a tier", "reference": "ours", "truths": ["ac_clean"]}
    about |= {"failed": {"lost": "BadValues: nan"}, "reasons": {}, "quick": False}
    entries = {label: {"method": "m", "tables": TABLES.get(label, []), "seeds": [1]} for label in FACTORS}
    defects = {scan: {"defect": [0], "normal": list(range(1, 17))} for scan in SCANS}
    told = {"settings": SETTINGS, "held_out": ["10%"], "defects": defects}
    return {"about": about, "persons": SCANS, "entries": entries, "runs": runs, **told}


def row(text: str, label: str) -> list[str]:
    found = next(one for one in text.splitlines() if one.startswith(f"| {label} |"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_rows_of_each_table_and_the_whole_method_last_in_the_first(record: dict[str, Any]) -> None:
    assert labels_of(record, "diffspect 1") == ["MLEM", "part", "ours"]
    assert labels_of(record, "diffspect 2") == ["MLEM", "ours", "theirs"]
    text = low_dose_tables(record)
    assert row(text, "method") == ["method", "5%", "10%*", "3 views"]
    assert row(text, "part")[1].startswith("17.6 (")
    assert "no row for lost: BadValues: nan" in text
    assert "n = 5 persons" in text
    assert "undertrained" not in text


def test_the_reference_over_the_others_and_the_slope(record: dict[str, Any]) -> None:
    text = low_dose_tables(record)
    against = text.split("## Against the others")[1]
    assert row(against, "theirs")[1].startswith("0.714 (0.714 to 0.714), p ")
    assert row(against.split("### Defect contrast slope")[1], "ours")[2] == "0.50 (0.50 to 0.50)"
    assert row(text.split("## Processor seconds per volume")[1], "MLEM")[1] == "22.00"


def test_seconds_are_medians_over_all_seeds(record: dict[str, Any]) -> None:
    first = record["runs"]["ours"]["scans"]
    slow = {scan: {s: {**one, "seconds": 99.0} for s, one in lines.items()} for scan, lines in first.items()}
    quick = {scan: {s: {**one, "seconds": 1.0} for s, one in lines.items()} for scan, lines in first.items()}
    for seed, scans in ((2, slow), (3, quick)):
        record["runs"][f"ours, seed {seed}"] = {"label": "ours", "seed": seed, "scans": scans}
    assert row(low_dose_tables(record).split("## Processor seconds per volume")[1], "ours")[1] == "11.00"


def test_rows_are_persons(record: dict[str, Any]) -> None:
    rows = rows_of(record, "ac_clean")
    assert rows["3 views"]["ours"]["p4"]["heart NRMSE"] == pytest.approx(13)


def test_pictures_are_png_and_the_same_every_time(record: dict[str, Any]) -> None:
    files = pictures(record)
    assert set(files) == {"quality_counts.png", "quality_views.png", "polar_maps.png"}
    assert all(content.startswith(b"\x89PNG") for content in files.values())
    maps, scan = maps_of(record, "ac_clean")
    assert scan == "p0_stress"
    assert list(maps) == ["ac_clean", *FACTORS]
    assert maps_figure(maps, scan) == files["polar_maps.png"]


def test_nothing_to_draw() -> None:
    with pytest.raises(BadArgument):
        curves_figure({}, [], {}, "counts", "log", best="ours", truth="ac")
    with pytest.raises(BadArgument, match="same settings"):
        maps_figure({"a": {"5%": torch.rand(24, 72)}, "b": {}}, "p0")
