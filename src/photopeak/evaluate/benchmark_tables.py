"""The tables of a benchmark, in Markdown, from the record of its scores.

The unit is the person, whose scans are averaged; a row trained with several seeds is the mean over them. A method
without a score for every scan has no row: it is named above the tables with the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from statistics import mean
from typing import Any

import torch

from photopeak.evaluate.benchmark import UNCORRECTED
from photopeak.evaluate.scan_scores import ALL_UNITS, FACTOR
from photopeak.evaluate.stats import bootstrap_interval, by_person, holm, paired_wilcoxon, ratio_interval
from photopeak.evaluate.strata import STRATA, UNKNOWN

Rows = dict[str, dict[str, dict[str, float]]]
"""By label, scan or person, and figure."""

LEADING, SEGMENTS, WALL = "heart NRMSE", "17-segment MAE", "LV-wall NRMSE"
OURS = (LEADING, WALL, SEGMENTS, "heart PSNR", "heart SSIM", FACTOR, "wall in 95 % interval")
SMALLEST_STRATUM = 3
WORST_SHARE = 0.1
SEED_OF_INTERVALS = 0
UNDERTRAINED = "**Quick form: undertrained methods on few persons. Nothing here says which method is better.**"

PUBLISHED: Mapping[str, tuple[str, str]] = {
    "padm 3": ("padm", "PADM, Table 3: the bridge with and without a latent code"),
    "padm 4": ("padm", "PADM, Table 4: numbers of paths, teacher and student"),
    "padm 5": ("padm", "PADM, Table 5: all methods"),
    "mst106": ("mst106", "the benchmark of adversarial networks and bridges, Table 1"),
}


def tables(record: Mapping[str, Any]) -> str:
    """Every table of a record as `photopeak benchmark` writes it to scores.json."""
    about = record["about"]
    parts = ["# Benchmark", _tier(record), *left_out(about)]
    for truth in about["truths"]:
        rows = mean_of_seeds(record, truth)
        people = by_person(rows, record["persons"])
        parts += [f"## All methods, truth = {truth}", _main_table(people, about["reference"])]
        parts += [
            f"### Strata, truth = {truth}: mean {LEADING} [%] and its ratio to the mean of all",
            *_strata(rows, record),
        ]
        for table, (compat, title) in PUBLISHED.items():
            labels = [label for label in people if table in record["entries"][label]["tables"]]
            if labels and truth == about["truths"][0]:
                parts += [f'### As in {title} (compat="{compat}"), truth = {truth}', _published(people, labels, compat)]
    parts += ["## Cost", costs(record), *_seeds(record)]
    return "\n\n".join(parts) + "\n"


def mean_of_seeds(record: Mapping[str, Any], truth: str) -> Rows:
    """Figures by label and scan, the mean over the seeds of a label; figures that only some seeds have are left out."""
    return seeded(record, lambda scan: scan["scores"][truth])


def seeded(record: Mapping[str, Any], figures: Callable[[Any], Mapping[str, float]]) -> Rows:
    """As `mean_of_seeds`, of whichever figures are found in what a run has of a scan."""
    runs: dict[str, list[Mapping[str, Mapping[str, float]]]] = {}
    for run in record["runs"].values():
        scans = {name: figures(scan) for name, scan in run["scans"].items()}
        runs.setdefault(run["label"], []).append(scans)
    return {
        label: {scan: _mean([seed[scan] for seed in seeds]) for scan in record["persons"]}
        for label, seeds in runs.items()
    }


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0] if all(name in row for row in rows)}


def _tier(record: Mapping[str, Any]) -> str:
    about = record["about"]
    persons = len(set(record["persons"].values()))
    lines = [
        f"{about['split']} split, n = {persons} persons, {len(record['persons'])} scans; "
        f"{about['train_scans']} training scans; tier: {about['tier']}.",
        "Mean and 95 % bootstrap interval over persons, whose scans are averaged. Answers are scaled by one "
        "least-squares factor per scan and region before they are compared.",
    ]
    if about["quick"]:
        lines.append(UNDERTRAINED)
    if about["own_frames"]:
        lines.append(
            f"In {about['own_frames']} scans no heart was found in NAC; the true frame was given to all methods."
        )
    return "\n".join(lines)


def left_out(about: Mapping[str, Any]) -> list[str]:
    """Rows that are missing, and budgets that are not shared, with the reasons."""
    lines = [f"- no row for {label}: {reason}" for label, reason in about["failed"].items()]
    lines += [f"- {label} has a budget of its own: {reason}" for label, reason in about["reasons"].items()]
    return ["\n".join(lines)] if lines else []


def _main_table(people: Rows, reference: str) -> str:
    """Our figures with intervals, ratios to NAC and to the reference, and Holm's p of the paired Wilcoxon test."""
    figures = [name for name in OURS if any(name in row for rows in people.values() for row in rows.values())]
    heads = [f"{name} [{ALL_UNITS[name]}]" for name in figures]
    heads += ["to NAC", "segments to NAC", f"to {reference}", "p (Holm)", "worst decile to mean"]
    pvalues = pvalues_of(people, reference)
    body = []
    for label, rows in people.items():
        errors = values_of(rows, LEADING)
        cells = [cell(rows, name) for name in figures]
        cells += [
            ratio_cell(rows, people[UNCORRECTED], name) if label != UNCORRECTED else "1" for name in (LEADING, SEGMENTS)
        ]
        compared = reference in people and label != reference
        cells.append(ratio_cell(rows, people[reference], LEADING) if compared else "-")
        cells.append(f"{pvalues[label]:.2g}" if label in pvalues else "-")
        cells.append(f"{_worst(errors) / mean(errors):.2f}" if max(errors) > 0 else "-")
        body.append([label, *cells])
    return markdown(["method", *heads], body)


def values_of(rows: Mapping[str, Mapping[str, float]], figure: str) -> list[float]:
    """One number for each person, in the order of the rows."""
    return [row[figure] for row in rows.values()]


def pvalues_of(people: Rows, reference: str, figure: str = LEADING) -> dict[str, float]:
    """Holm's p of the paired Wilcoxon test of every other method, the uncorrected image apart."""
    if reference not in people:
        return {}
    others = [label for label in people if label not in (reference, UNCORRECTED)]
    best = values_of(people[reference], figure)
    found = [paired_wilcoxon(values_of(people[label], figure), best) for label in others]
    return dict(zip(others, holm(found), strict=True)) if others else {}


def _worst(errors: Sequence[float]) -> float:
    count = max(1, round(WORST_SHARE * len(errors)))
    return mean(sorted(errors)[-count:])


def cell(rows: Mapping[str, Mapping[str, float]], figure: str) -> str:
    """Mean and interval over persons."""
    if not all(figure in row for row in rows.values()):
        return "-"
    values = values_of(rows, figure)
    if not all(map(isfinite, values)):
        return "exact"
    middle, low, high = bootstrap_interval(values, generator=generator_of_intervals())
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def ratio_cell(rows: Mapping[str, Mapping[str, float]], base: Mapping[str, Mapping[str, float]], figure: str) -> str:
    """Ratio of the means over persons, and its interval."""
    mine, theirs = values_of(rows, figure), values_of(base, figure)
    if min(theirs) <= 0:
        return "-"
    ratio, low, high = ratio_interval(mine, theirs, generator=generator_of_intervals())
    return f"{ratio:.3f} ({low:.3f} to {high:.3f})"


def generator_of_intervals() -> torch.Generator:
    """The same persons are drawn for every cell."""
    return torch.Generator().manual_seed(SEED_OF_INTERVALS)


def _strata(rows: Rows, record: Mapping[str, Any]) -> list[str]:
    parts = []
    overall = {label: mean(values_of(p, LEADING)) for label, p in by_person(rows, record["persons"]).items()}
    for stratum in STRATA:
        classes: dict[str, list[str]] = {}
        for scan, told in record["strata"].items():
            classes.setdefault(told[stratum], []).append(scan)
        counts = {name: len({record["persons"][scan] for scan in scans}) for name, scans in classes.items()}
        kept = sorted(name for name in classes if name != UNKNOWN and counts[name] >= SMALLEST_STRATUM)
        small = [f"{name} (n = {counts[name]})" for name in sorted(set(classes) - set(kept) - {UNKNOWN})]
        if not kept:
            parts.append(f"No stratum by {stratum}: " + (f"too few in {', '.join(small)}." if small else "not told."))
            continue
        heads = [f"{name} (n = {counts[name]})" for name in kept]
        body = []
        for label in rows:
            means = [mean(values_of(_within(rows[label], classes[name], record), LEADING)) for name in kept]
            body.append([label, *(_beside(one, overall[label]) for one in means)])
        unknown = f"; {counts[UNKNOWN]} persons not told" if UNKNOWN in counts else ""
        left = f"Too few in {', '.join(small)}." if small else ""
        parts.append("\n\n".join(filter(None, [f"By {stratum}{unknown}", markdown(["method", *heads], body), left])))
    return parts


def _within(rows: Mapping[str, dict[str, float]], scans: Sequence[str], record: Mapping[str, Any]) -> dict[str, Any]:
    return by_person({"": {scan: rows[scan] for scan in scans}}, record["persons"])[""]


def _beside(error: float, overall: float) -> str:
    return f"{error:.3g} ({error / overall:.2f})" if overall > 0 else f"{error:.3g}"


def _published(people: Rows, labels: Sequence[str], compat: str) -> str:
    names = [f"{compat} {name}" for name in ("RMSE", "SSIM", "PSNR")]
    body = [[label, *(cell(people[label], name) for name in names)] for label in (UNCORRECTED, *labels)]
    return markdown(["method", *(f"{name.split()[1]} [{ALL_UNITS[name]}]" for name in names)], body)


def costs(record: Mapping[str, Any]) -> str:
    """Parameters, steps and seconds of training, those of a teacher or code included in the last column but one."""
    heads = [
        "method",
        "seeds",
        "parameters [10^6]",
        "steps",
        "training [s]",
        "with what it stands on [s]",
        "use [s/scan]",
    ]
    columns: list[tuple[str, Callable[[Any], str]]] = [
        ("seeds", lambda seeds: ", ".join(map(str, seeds))),
        ("parameters", lambda n: f"{n / 1e6:.2f}"),
        ("steps", lambda n: f"{n:.0f}"),
        ("seconds", lambda s: f"{s:.0f}"),
        ("seconds_in_all", lambda s: f"{s:.0f}"),
        ("seconds_per_scan", lambda s: f"{s:.2f}"),
    ]
    rows = [
        [label, *("-" if entry.get(key) is None else form(entry[key]) for key, form in columns)]
        for label, entry in record["entries"].items()
    ]
    return markdown(heads, rows)


def _seeds(record: Mapping[str, Any]) -> list[str]:
    """How far two trainings of one entry are apart, against the first truth."""
    truth = record["about"]["truths"][0]
    several = {label: e for label, e in record["entries"].items() if len(e["seeds"]) > 1 and e["answers"]}
    if not several:
        return []
    body = []
    for name, run in record["runs"].items():
        if run["label"] in several:
            scans = {scan: one["scores"][truth] for scan, one in run["scans"].items()}
            body.append([name, cell(by_person({"": scans}, record["persons"])[""], LEADING)])
    return [f"## Seeds, truth = {truth}", markdown(["training", f"{LEADING} [%]"], body)]


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, numbers to the right."""
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
