import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photopeak.core import FACTOR, HU, SUV, Grid, Study, Volume
from photopeak.core.errors import BadArgument, GridMismatch
from photopeak.evaluate.ct2pet import MEASURED
from photopeak.evaluate.ct2pet_figures import coronal_mip, lesion_places, middle_slice, mips_figure, mips_of
from photopeak.evaluate.ct2pet_tables import BOTH_MAPS, PUBLISHED, ct2pet_tables, rows_of

SCANS = {f"p{n}": f"p{n}" for n in range(8)}
FACTORS = {MEASURED: 0.1, "CPDM": 0.5, "CPDM without attention": 0.8, "Pix2Pix": 1.0, BOTH_MAPS.format("Pix2Pix"): 0.9}
METHODS = {"CPDM": "cpdm_pet", "CPDM without attention": "cpdm_pet", "Pix2Pix": "pix2pix_pet"}
METHODS |= {BOTH_MAPS.format("Pix2Pix"): "pix2pix_pet"}
TABLES = {"CPDM": ["cpdm 4"], "CPDM without attention": ["cpdm 4"], "Pix2Pix": ["cpdm 4", "cpdm 5"]}
TABLES |= {BOTH_MAPS.format("Pix2Pix"): ["cpdm 5"]}
MAPS = {"CPDM": ["attention", "attenuation"], BOTH_MAPS.format("Pix2Pix"): ["attention", "attenuation"]}


def scan(number: int, factor: float, *, ill: bool) -> dict[str, float]:
    size = factor * (1 + number / 10)
    found = {"MAE": 400 * size, "SSIM": 1 - size / 10, "PSNR": 30 / size, "body MAE": size, "body bias": -size / 2}
    found |= {"organ SUVmean error": 10 * size, "liver SUVmean bias": -10 * size, "false positives": 1.0}
    found |= {"lesions": 2 * ill, "lesions shown": ill}
    return found | ({"lesion SUVmax error": 40 * size, "lesion sensitivity": 100 * (1 - size / 4)} if ill else {})


@pytest.fixture
def record() -> dict[str, Any]:
    mip = np.linspace(0, 9, 12).reshape(4, 3).tolist()
    runs = {}
    for label, factor in FACTORS.items():
        scans = {}
        for number, name in enumerate(SCANS):
            truths = ["pet_clean"] if label == MEASURED else ["pet_clean", "pet"]
            scores = {truth: scan(number, factor * (1 + truths.index(truth)), ill=number < 3) for truth in truths}
            scans[name] = {"scores": scores, "seconds": factor}
            if name == "p1":
                scans[name]["mips"] = {"answer": mip, "pet_clean": mip, "pet": mip}
        runs[label] = {"label": label, "seed": 1, "scans": scans}
    entries = {MEASURED: {"method": None, "arguments": {}, "tables": [], "seeds": []}}
    entries |= {
        label: {"method": METHODS[label], "arguments": {"maps": MAPS.get(label, [])}, "tables": tables, "seeds": [1]}
        for label, tables in TABLES.items()
    }
    about = {"split": "test", "train_scans": 9, "tier": "a tier", "reference": "CPDM", "truths": ["pet_clean", "pet"]}
    about |= {"failed": {"LDM": "BadValues: nan"}, "reasons": {}, "quick": False}
    told = {"dice": {}, "organs": ["liver"], "lpips": {"net": "vgg", "missing": "it is not installed."}}
    told |= {"pictured": {"scan": "p1", "spacing_mm": [5.0, 4.0], "lesions": [[1.0, 2.0]]}}
    return {"about": about, "persons": SCANS, "entries": entries, "runs": runs, **told}


def row(text: str, label: str) -> list[str]:
    found = next(one for one in text.splitlines() if one.startswith(f"| {label} |"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def part(text: str, title: str) -> str:
    return text.split(title)[1].split("\n## ")[0]


def test_ours_beside_the_published_numbers(record: dict[str, Any]) -> None:
    text = ct2pet_tables(record)
    main = part(text, "Table 4")
    assert row(main, "method")[1:5] == ["LPIPS [1]", "paper", "MAE [of 32767]", "paper"]
    cells = row(main, "CPDM")
    assert cells[1:3] == ["-", "0.0466"]
    assert cells[3].startswith("270 (")
    assert cells[4] == "284.6"
    assert row(main, MEASURED)[4] == "-"
    assert "LPIPS is not available: it is not installed." in text
    assert "no row for LDM: BadValues: nan" in text
    assert "- MAE: -50.0 % against Pix2Pix, the best of the others; in the paper -10.7 % against its own best." in main
    assert "LPIPS: " not in main


def test_what_has_lost_suv_is_no_rival_and_has_no_cells_in_suv(record: dict[str, Any]) -> None:
    label, alone = "published", "## In SUV, truth = pet_clean"
    before = ct2pet_tables(record)
    assert "No SUV" not in before
    record["runs"][label] = {**record["runs"]["CPDM"], "label": label}
    entry = {**record["entries"]["CPDM"], "arguments": {"compat": "cpdm", "maps": ["attention", "attenuation"]}}
    record["entries"][label] = entry
    text = ct2pet_tables(record)
    assert row(part(text, "Table 4"), label)[3].startswith("270 (")
    assert part(text, "Table 4").count(f"| {label} |") == 1
    assert "- MAE: -50.0 % against Pix2Pix, the best of the others" in text
    assert set(row(part(text, alone), label)[1:]) == {"-"}
    assert set(row(text.split("### Bias")[1], label)[1:]) == {"-"}
    assert f"No SUV: {label}, whose slices" in text
    assert label not in mips_of(record)
    for other in TABLES:
        assert row(part(text, alone), other) == row(part(before, alone), other)
    entry["arguments"] = {"feed": {"per_slice": True}}
    assert set(row(part(ct2pet_tables(record), alone), label)[1:]) == {"-"}


def test_what_maps_do_is_said_either_way(record: dict[str, Any]) -> None:
    text = ct2pet_tables(record)
    lacks = row(part(text, "### What each map of CPDM does"), "CPDM over CPDM without attention")
    assert lacks[2].startswith("0.625 (0.625 to 0.625)")
    assert lacks[-1] == "the maps that it lacks help"
    pair = row(part(text, "Table 5"), f"{BOTH_MAPS.format('Pix2Pix')} over Pix2Pix")
    assert pair[2].startswith("0.900")
    assert pair[-1] == "both maps help"
    for name, line in record["runs"][BOTH_MAPS.format("Pix2Pix")]["scans"].items():
        line["scores"]["pet_clean"]["MAE"] *= 2 if name in ("p0", "p2", "p4", "p6") else 0.6
    undecided = row(part(ct2pet_tables(record), "Table 5"), f"{BOTH_MAPS.format('Pix2Pix')} over Pix2Pix")
    assert undecided[-1] == "no difference is shown"
    for line in record["runs"]["CPDM"]["scans"].values():
        line["scores"]["pet_clean"]["MAE"] *= 9
    assert row(ct2pet_tables(record), "CPDM over CPDM without attention")[-1] == "the maps that it lacks hurt"


def test_the_same_for_longer_is_neither_rival_nor_ablation(record: dict[str, Any]) -> None:
    before, longer = ct2pet_tables(record), "CPDM, longer"
    record["runs"][longer] = {**record["runs"]["CPDM"], "label": longer}
    record["entries"][longer] = record["entries"]["CPDM"]
    text = ct2pet_tables(record)
    assert row(part(text, "Table 4"), longer)[3] == row(part(before, "Table 4"), "CPDM")[3]
    for title in ("### What each map of CPDM does", "Table 5"):
        assert part(text, title) == part(before, title)
    assert "- MAE: -50.0 % against Pix2Pix, the best of the others" in text


def test_what_a_segmenter_finds_is_told_of_those_who_have_any(record: dict[str, Any]) -> None:
    title = "### High uptake that a CT lets one expect"
    assert title not in ct2pet_tables(record)
    record["dice"] = {"attention map": {"p0": 0.5, "p1": 0.7, "p2": 0.6}}
    assert part(ct2pet_tables(record), title).strip().startswith("- attention map: Dice 0.6 (")
    assert "over 3 persons" in part(ct2pet_tables(record), title)


def test_lesions_are_of_those_who_have_some(record: dict[str, Any]) -> None:
    text = part(ct2pet_tables(record), "## In SUV, truth = pet_clean")
    assert "6 lesions in 3 of 8 persons, 3 of them shown by the truth; sensitivity is of 3 persons." in text
    heads, cells = row(text, "method"), row(text, "CPDM")
    assert cells[heads.index("lesion sensitivity [%]")].startswith("86.2 (")
    assert row(text, "Pix2Pix")[heads.index("body MAE to CPDM")].startswith("2.000")
    assert row(text, MEASURED)[heads.index("p (Holm)")] == "-"
    assert row(text.split("### Bias")[1], "CPDM")[1].startswith("-6.75 (")


def test_the_scanners_image_is_not_compared_with_itself(record: dict[str, Any]) -> None:
    assert MEASURED not in rows_of(record, "pet")
    assert MEASURED not in part(ct2pet_tables(record), "## In SUV, truth = pet\n").split("## Cost")[0]


def test_a_hospitals_record_says_what_is_missing(record: dict[str, Any]) -> None:
    record["organs"] = []
    for run in record["runs"].values():
        for line in run["scans"].values():
            for scores in line["scores"].values():
                for figure in (
                    "organ SUVmean error",
                    "liver SUVmean bias",
                    "lesion SUVmax error",
                    "lesion sensitivity",
                ):
                    scores.pop(figure, None)
                scores |= {"lesions": 0, "lesions shown": 0}
    text = ct2pet_tables(record)
    assert "Organs are not labelled here." in text
    assert "No lesions are labelled here." in text
    assert "organ SUVmean error" not in text


def test_the_recipe_bears_the_published_names() -> None:
    recipe = tomllib.loads((Path(__file__).parents[2] / "recipes" / "ct2pet.toml").read_text())
    in_tables = {e["label"] for e in recipe["entry"] if {"cpdm 4", "cpdm 5"} & set(e.get("tables", []))}
    assert set(PUBLISHED) <= in_tables


def test_projections_of_one_person(record: dict[str, Any]) -> None:
    assert list(mips_of(record)) == ["pet_clean", "pet", *TABLES]
    png = mips_figure(record)
    assert png.startswith(b"\x89PNG")
    assert mips_figure(record) == png
    with pytest.raises(BadArgument):
        mips_figure({**record, "runs": {}})


def test_places_of_a_study() -> None:
    grid = Grid.regular((6, 5, 4), (5.0, 4.0, 4.0))
    pet, lesion = np.zeros(grid.shape), np.zeros(grid.shape)
    pet[2, 3, 1], lesion[2, 1:4, 1], lesion[5, 0, 3] = 6.123, 1, 2
    arrays = {"pet": (pet, SUV), "lesion": (lesion, FACTOR), "ct": (pet, HU)}
    study = Study("p", {name: Volume.from_numpy(a, grid, q) for name, (a, q) in arrays.items()})
    mip = np.array(coronal_mip(study["pet"]))
    assert mip.shape == (6, 4)
    assert mip[2, 1] == 6.12
    assert mip.sum() == 6.12
    assert lesion_places(study) == [[2.0, 1.0], [5.0, 3.0]]
    assert middle_slice(study) == 2
    assert middle_slice(study.only("ct")) == 3
    turned = np.array(grid.matrix)[:, [1, 0, 2, 3]]
    oblique = Grid((5, 6, 4), tuple(map(tuple, turned)))
    with pytest.raises(GridMismatch):
        coronal_mip(Volume.from_numpy(pet.transpose(1, 0, 2), oblique, SUV))
