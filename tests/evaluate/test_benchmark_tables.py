from typing import Any

import pytest

from photopeak.evaluate.benchmark_tables import mean_of_seeds, tables

PERSONS = {f"p{n}_{state}": f"p{n}" for n in range(8) for state in ("stress", "rest")}


def scan(error: float, **more: float) -> dict[str, Any]:
    figures = {
        "heart NRMSE": error,
        "17-segment MAE": error / 2,
        "heart factor": 1.0,
        "padm RMSE": error / 1000,
        **more,
    }
    return {"scores": {"ac_clean": figures}, "segments": {}}


def run_of(label: str, seed: int, factor: float, **more: float) -> dict[str, Any]:
    scans = {name: scan(factor * (10 + number), **more) for number, name in enumerate(PERSONS)}
    return {"label": label, "seed": seed, "scans": scans}


@pytest.fixture
def record() -> dict[str, Any]:
    entry = {"method": "m", "tables": ["padm 5"], "answers": True, "seeds": [1], "seconds": 9.0, "parameters": 2e6}
    sexes = {name: "women" if number < 6 else "men" for number, name in enumerate(PERSONS)}
    return {
        "about": {
            "split": "test",
            "train_scans": 20,
            "tier": "a tier",
            "reference": "best",
            "truths": ["ac_clean"],
            "failed": {"lost": "BadValues: a loss of nan"},
            "reasons": {},
            "own_frames": 0,
            "quick": False,
        },
        "persons": PERSONS,
        "strata": {n: dict.fromkeys(STRATA, "not told") | {"sex": sex} for n, sex in sexes.items()},
        "entries": {
            "NAC": {"method": None, "tables": [], "answers": True, "seeds": []},
            "best": {**entry, "seeds": [1, 2]},
            "half": entry,
        },
        "runs": {
            "NAC": run_of("NAC", 0, 1.0),
            "best, seed 1": run_of("best", 1, 0.2),
            "best, seed 2": run_of("best", 2, 0.3, extra=1.0),
            "half": run_of("half", 1, 0.5, **{"padm PSNR": float("inf")}),
        },
    }


STRATA = ("sex", "BMI class", "breast size", "state", "perfusion", "CT")


def row(text: str, label: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_is_the_mean_over_its_seeds(record: dict[str, Any]) -> None:
    rows = mean_of_seeds(record, "ac_clean")["best"]
    assert rows["p0_stress"]["heart NRMSE"] == pytest.approx(2.5)
    assert "extra" not in rows["p0_stress"]


def test_ratios_are_to_nac_and_to_the_reference(record: dict[str, Any]) -> None:
    half = row(tables(record), "half")
    assert half[4] == "0.500 (0.500 to 0.500)"
    assert half[6] == "2.000 (2.000 to 2.000)"
    assert float(half[7]) < 0.01


def test_tables_say_who_was_scored_and_what_is_missing(record: dict[str, Any]) -> None:
    text = tables(record)
    assert "n = 8 persons, 16 scans" in text
    assert "no row for lost: BadValues: a loss of nan" in text
    assert "a tier" in text
    assert "women (n = 3)" in text
    assert "men (n = 5)" in text
    assert "No stratum by BMI class: not told." in text
    assert "undertrained" not in text


def test_perfect_answers_are_called_exact(record: dict[str, Any]) -> None:
    published = tables(record).split('compat="padm"')[1]
    assert row(published, "half")[3] == "exact"


def test_a_small_class_is_named_and_not_averaged(record: dict[str, Any]) -> None:
    record["strata"]["p0_rest"]["sex"] = "other"
    assert "Too few in other (n = 1)." in tables(record)


def test_quick_tables_warn(record: dict[str, Any]) -> None:
    record["about"]["quick"] = True
    assert "undertrained" in tables(record)
