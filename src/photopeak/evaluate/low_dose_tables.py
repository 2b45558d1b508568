"""Tables I and II of DiffSPECT-3D (arXiv 2412.16573), and what they leave out, from the record of a benchmark.

Rows are methods and columns are settings. The unit is the person, of whom one scan is scored; every cell is a mean with
its 95 % bootstrap interval over persons, the same persons drawn for all cells.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from photopeak.evaluate.benchmark_tables import (
    UNDERTRAINED,
    cell,
    costs,
    generator_of_intervals,
    left_out,
    markdown,
    pvalues_of,
    ratio_cell,
    seeded,
)
from photopeak.evaluate.low_dose import (
    EXPLAINED,
    HEART_COUNTS,
    LIKELIHOOD,
    LOW_DOSE_UNITS,
    STARTED,
    TOTAL,
    Z_VARIATION,
    contrast_slope,
)
from photopeak.evaluate.stats import by_person

Rows = dict[str, dict[str, dict[str, dict[str, float]]]]
"""By setting, label, person and figure."""

LEADING = "heart NRMSE"
QUALITY = (LEADING, "heart PSNR", "heart SSIM", "17-segment MAE", "LV-wall NRMSE")
CHECKS = (TOTAL, HEART_COUNTS, EXPLAINED, Z_VARIATION, LIKELIHOOD)
STEPWISE = "diffspect 1"
PUBLISHED: Mapping[str, str] = {
    STEPWISE: "Table I, what each part adds: the prior's start, DPS, total variation along z, EM",
    "diffspect 2": "Table II, methods",
}
"""The rows of each by the `tables` of their entries; MLEM, which all begin with, leads both."""


def low_dose_tables(record: Mapping[str, Any]) -> str:
    """Every table of a record as `photopeak benchmark` writes it for a recipe with task = "lowdose"."""
    about, defects = record["about"], record["defects"]
    parts = ["# Benchmark of few counts and few views", _tier(record), *left_out(about)]
    for truth in about["truths"]:
        rows = rows_of(record, truth)
        for table, title in PUBLISHED.items():
            labels = labels_of(record, table)
            if len(labels) > 1:
                parts += [f"## {title}; truth = {truth}", *_by_figure(rows, labels, QUALITY, record)]
        everyone = labels_of(record)
        parts += [f"## Against the others, truth = {truth}", _compared(rows, about["reference"], record)]
        parts += [f"### Defect contrast slope, truth = {truth}", _slopes(record, everyone, truth)]
        parts += [f"## Counts, slices and likelihood, truth = {truth}", *_by_figure(rows, everyone, CHECKS, record)]
    with_defect = sum(bool(where["defect"] and where["normal"]) for where in defects.values())
    parts += [f"{with_defect} of the scans have a defect and normal wall to compare it with."]
    parts += ["## Processor seconds per volume, one thread", _seconds(record), "## Cost", costs(record)]
    return "\n\n".join(parts) + "\n"


def labels_of(record: Mapping[str, Any], table: str | None = None) -> list[str]:
    """Rows that have scores, of a table or all of them, in the order of the recipe.

    MLEM comes first; of Table I the reference comes last, which has all parts.
    """
    entries, scored = record["entries"], {run["label"] for run in record["runs"].values()}
    chosen = [label for label in entries if table is None or table in entries[label]["tables"]]
    if table == STEPWISE:
        chosen.sort(key=lambda label: label == record["about"]["reference"])
    return [label for label in dict.fromkeys([STARTED, *chosen]) if label in scored]


def rows_of(record: Mapping[str, Any], truth: str) -> Rows:
    """Figures by setting, label and person, means over seeds and scans."""

    def figures_at(setting: str) -> Callable[[Any], Mapping[str, float]]:
        return lambda lines: lines[setting]["scores"][truth]

    return {s: by_person(seeded(record, figures_at(s)), record["persons"]) for s in record["settings"]}


def _tier(record: Mapping[str, Any]) -> str:
    about = record["about"]
    held_out = ", ".join(record["held_out"]) or "none"
    lines = [
        f"{about['split']} split, n = {len(set(record['persons'].values()))} persons, one scan of each; "
        f"{about['train_scans']} training scans; tier: {about['tier']}.",
        "Mean and 95 % bootstrap interval over persons. Images are compared in a sphere of 64 mm around the heart, "
        "after one least-squares factor; counts and likelihood are of the answer as it is.",
        f"Held out, so that no competitor is trained on them (marked *): {held_out}.",
    ]
    if about["quick"]:
        lines.append(UNDERTRAINED)
    return "\n".join(lines)


def _heads(record: Mapping[str, Any]) -> list[str]:
    return [f"{name}*" if name in record["held_out"] else name for name in record["settings"]]


def _by_figure(rows: Rows, labels: Sequence[str], figures: Sequence[str], record: Mapping[str, Any]) -> list[str]:
    parts = []
    for figure in figures:
        known = [label for label in labels if all(figure in row for row in _of(rows, label))]
        if known:
            body = [[label, *(cell(rows[setting][label], figure) for setting in rows)] for label in known]
            parts += [f"### {figure} [{LOW_DOSE_UNITS[figure]}]", markdown(["method", *_heads(record)], body)]
    return parts


def _of(rows: Rows, label: str) -> list[Mapping[str, float]]:
    return [row for setting in rows.values() for row in setting[label].values()]


def _compared(rows: Rows, reference: str, record: Mapping[str, Any]) -> str:
    """The reference's error over that of every other method, below 1 where it is better, and Holm's p."""
    others = [label for label in labels_of(record) if label != reference]
    if reference not in labels_of(record) or not others:
        return f"No row for {reference}, or none beside it."
    told: dict[str, list[str]] = {label: [] for label in others}
    for people in rows.values():
        pvalues = pvalues_of(people, reference, LEADING)
        for label in others:
            told[label].append(f"{ratio_cell(people[reference], people[label], LEADING)}, p {pvalues[label]:.2g}")
    heads = [f"{LEADING} of {reference} over that of", *_heads(record)]
    return markdown(heads, [[label, *cells] for label, cells in told.items()])


def _slopes(record: Mapping[str, Any], labels: Sequence[str], truth: str) -> str:
    """Of the first seed of each."""
    body = []
    for label in labels:
        run = next(run for run in record["runs"].values() if run["label"] == label)
        cells = [_slope(record, run, setting, truth) for setting in record["settings"]]
        body.append([label, *cells])
    return markdown(["method", *_heads(record)], body)


def _slope(record: Mapping[str, Any], run: Mapping[str, Any], setting: str, truth: str) -> str:
    lines = {scan: line[setting] for scan, line in run["scans"].items()}
    found = contrast_slope(lines, record["defects"], record["persons"], truth, generator_of_intervals())
    return "-" if found is None else f"{found.estimate:.2f} ({found.low:.2f} to {found.high:.2f})"


def _seconds(record: Mapping[str, Any]) -> str:
    """Medians over scans and seeds, MLEM that a method begins with included."""
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for run in record["runs"].values():
        runs.setdefault(run["label"], []).extend(run["scans"].values())
    body = [
        [label, *(f"{median(scan[setting]['seconds'] for scan in scans):.2f}" for setting in record["settings"])]
        for label, scans in runs.items()
    ]
    return markdown(["method", *record["settings"]], body)
