"""Tables 4 and 5 of CPDM beside the published numbers, and the same answers in SUV, from the record of a benchmark.

The unit is the person. Every cell is a mean with its 95 % bootstrap interval over persons, the same persons drawn for
all cells; persons without lesions are left out of what is said of lesions. The published numbers are of other patients,
of another scale and of larger networks: their order may be compared, not their size. A method that has lost SUV has
cells in the paper's tables only, and is no rival there.
"""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from photopeak.evaluate.benchmark_tables import (
    UNDERTRAINED,
    Rows,
    cell,
    costs,
    left_out,
    markdown,
    pvalues_of,
    ratio_cell,
    seeded,
    values_of,
)
from photopeak.evaluate.ct2pet import MEASURED, has_lost_suv
from photopeak.evaluate.pet_scores import ORGAN_FIGURE, PUBLISHED_UNITS, RULE, SUV_UNITS
from photopeak.evaluate.stats import by_person, holm, paired_wilcoxon

MAIN, MAPS = "cpdm 4", "cpdm 5"
PUBLISHED_LEADING, LEADING = "MAE", "body MAE"
DICE = "Dice"
HIGHER_IS_BETTER = frozenset({"SSIM", "PSNR"})
SIGNIFICANT = 0.05
ABOUT_MAPS = frozenset({"maps", "attention"})
WITHOUT_SUV = frozenset({*PUBLISHED_UNITS, "lesions", "lesions shown"})
"""What can be said where every slice has a scale of its own."""
FEWEST_PERSONS = 2

BOTH_MAPS = "{} with both maps"
PUBLISHED: Mapping[str, tuple[float, float, float, float]] = {
    "Pix2Pix": (0.0491, 336.47, 0.9298, 27.52),
    "MedGAN": (0.1322, 336.97, 0.9329, 29.27),
    "UP-GAN": (0.1082, 373.49, 0.9337, 28.38),
    "DDIB": (0.5556, 4898.58, 0.0343, 16.10),
    "Palette": (0.3827, 4032.23, 0.3054, 20.92),
    "SDEdit": (0.1577, 813.65, 0.8187, 22.85),
    "LDM": (0.0492, 318.71, 0.9317, 28.30),
    "BBDM": (0.0548, 353.66, 0.9232, 27.56),
    "CPDM without attention": (0.0471, 305.46, 0.9353, 28.76),
    "CPDM without attenuation": (0.0523, 324.99, 0.9277, 28.47),
    "CPDM": (0.0466, 284.61, 0.9396, 29.68),
    BOTH_MAPS.format("Pix2Pix"): (0.0470, 305.33, 0.9345, 28.49),
    BOTH_MAPS.format("MedGAN"): (0.1158, 294.05, 0.9325, 29.73),
    BOTH_MAPS.format("UP-GAN"): (0.1001, 301.67, 0.9296, 29.99),
    BOTH_MAPS.format("LDM"): (0.0468, 302.70, 0.9348, 28.92),
}
"""LPIPS, MAE, SSIM and PSNR of Tables 4 and 5 (Nguyen et al., CT to PET translation), by the label of a row."""
PUBLISHED_LEAD = {"LPIPS": -5.1, "MAE": -10.7, "SSIM": 0.6, "PSNR": 1.4}
"""What CPDM changes in %, Table 4's last row."""


def ct2pet_tables(record: Mapping[str, Any]) -> str:
    """Every table of a record as `photopeak benchmark` writes it for a recipe with task = "ct2pet"."""
    about = record["about"]
    parts = ["# Benchmark of CT to PET", _tier(record), *left_out(about)]
    first = rows_of(record, about["truths"][0])
    lost = [label for label in first if has_lost_suv(record, label)]
    parts += [f"## As in CPDM, Table 4: all methods; truth = {about['truths'][0]}", _published(record, first, MAIN)]
    parts += [_best_other(record, first), *_segmenters(record)]
    parts += ["### What each map of CPDM does", _effects(first, _ablations(record, first), "the maps that it lacks")]
    pairs = _pairs(record, first)
    if pairs:
        parts += ["## As in CPDM, Table 5: both maps in other methods", _published(record, first, MAPS)]
        parts += [_effects(first, pairs, "both maps")]
    for truth in about["truths"]:
        rows = _where_suv(record, rows_of(record, truth))
        parts += [f"## In SUV, truth = {truth}", _in_suv(rows, about["reference"]), _lesions_told(rows)]
        parts += [f"No SUV: {', '.join(lost)}, whose slices have each a scale of its own."] if lost else []
        organs = [ORGAN_FIGURE.format(organ) for organ in record["organs"]]
        parts += [f"### Bias of SUVmean by organ [%], truth = {truth}" if organs else "Organs are not labelled here."]
        parts += [_table(rows, dict.fromkeys(organs, ""))] if organs else []
    return "\n\n".join([*parts, RULE, "## Cost", costs(record)]) + "\n"


def rows_of(record: Mapping[str, Any], truth: str) -> Rows:
    """Figures by label, person and figure, means over seeds, of the runs that were compared with this truth."""
    runs = {
        name: run
        for name, run in record["runs"].items()
        if all(truth in scan["scores"] for scan in run["scans"].values())
    }
    return by_person(seeded({**record, "runs": runs}, lambda scan: scan["scores"][truth]), record["persons"])


def _where_suv(record: Mapping[str, Any], rows: Rows) -> Rows:
    """The rows, without figures in SUV where a method has lost it."""
    return {
        label: {
            person: {name: value for name, value in row.items() if name in WITHOUT_SUV}
            if has_lost_suv(record, label)
            else row
            for person, row in people.items()
        }
        for label, people in rows.items()
    }


def _tier(record: Mapping[str, Any]) -> str:
    about = record["about"]
    lines = [
        f"{about['split']} split, n = {len(set(record['persons'].values()))} persons; {about['train_scans']} training "
        f"scans; tier: {about['tier']}.",
        "Mean and 95 % bootstrap interval over persons."
        + (f" {MEASURED} is the scanner's own image with its noise." if MEASURED in record["runs"] else ""),
        "Figures of the paper's tables: 28 slices of each person, each divided by the truth's maximum in it, range 1, "
        "background included, MAE times 32767; beside them the published ones, of other patients.",
        f"LPIPS compares features of {record['lpips']['net']}."
        if record["lpips"]["missing"] is None
        else f"LPIPS is not available: {record['lpips']['missing']}",
    ]
    return "\n".join([*lines, UNDERTRAINED] if about["quick"] else lines)


def labels_in(record: Mapping[str, Any], rows: Rows, table: str) -> list[str]:
    """Rows of one of the paper's tables that have scores, in the order of the recipe."""
    return [label for label, entry in record["entries"].items() if table in entry["tables"] and label in rows]


def _published(record: Mapping[str, Any], rows: Rows, table: str) -> str:
    heads, body = ["method"], []
    for name, unit in PUBLISHED_UNITS.items():
        heads += [f"{name} [{unit}]", "paper"]
    for label in [*([MEASURED] if MEASURED in rows else []), *labels_in(record, rows, table)]:
        told = PUBLISHED.get(label)
        cells = [label]
        for number, name in enumerate(PUBLISHED_UNITS):
            cells += [_cell(rows[label], name), "-" if told is None else f"{told[number]:.4g}"]
        body.append(cells)
    return markdown(heads, body)


def _segmenters(record: Mapping[str, Any]) -> list[str]:
    """How well what draws the attention map finds high uptake."""
    lines = []
    for label, scans in record["dice"].items():
        people = by_person({label: {name: {DICE: value} for name, value in scans.items()}}, record["persons"])[label]
        lines.append(f"- {label}: Dice {_cell(people, DICE)} over {len(people)} persons who have any.")
    return ["### High uptake that a CT lets one expect", "\n".join(lines)] if lines else []


def _best_other(record: Mapping[str, Any], rows: Rows) -> str:
    """The reference against the best of the others in every figure, and against each by the ratio of MAE.

    What differs from it in maps or budget only is no other, nor is what has lost SUV.
    """
    reference = record["about"]["reference"]
    own = _relatives(record, rows)
    beside = [label for label in labels_in(record, rows, MAIN) if label not in own]
    others = [label for label in beside if not has_lost_suv(record, label)]
    if reference not in rows or not others:
        return f"No row for {reference}, or none beside it."
    mine, lines = rows[reference], list[str]()
    for name in PUBLISHED_UNITS:
        if all(_has(rows[label], name) for label in (reference, *others)):
            means = {label: mean(values_of(rows[label], name)) for label in others}
            best = (max if name in HIGHER_IS_BETTER else min)(means, key=lambda label: means[label])
            change = 100 * (mean(values_of(mine, name)) / means[best] - 1)
            told = f"in the paper {PUBLISHED_LEAD[name]:+.1f} % against its own best"
            lines.append(f"- {name}: {change:+.1f} % against {best}, the best of the others; {told}.")
    pvalues = pvalues_of({label: rows[label] for label in (reference, *others)}, reference, PUBLISHED_LEADING)
    heads = [f"{PUBLISHED_LEADING} of {reference} over that of", "ratio", "p (Holm)"]
    body = [[o, ratio_cell(mine, rows[o], PUBLISHED_LEADING), f"{pvalues[o]:.2g}"] for o in others]
    return "\n".join(lines) + "\n\n" + markdown(heads, body)


def _ablations(record: Mapping[str, Any], rows: Rows) -> list[tuple[str, str]]:
    """The reference with each of its relatives that lacks a map."""
    reference = record["about"]["reference"]
    maps = {label: set(record["entries"][label]["arguments"].get("maps", ())) for label in _relatives(record, rows)}
    return [(reference, label) for label in maps if maps[label] < maps[reference]]


def _relatives(record: Mapping[str, Any], rows: Rows) -> list[str]:
    """The reference, and the entries of Table 4 with its method and settings but for maps and budget."""
    reference = record["about"]["reference"]
    if reference not in rows:
        return []

    def but_for_maps(label: str) -> tuple[object, Mapping[str, Any]]:
        entry = record["entries"][label]
        arguments = {name: value for name, value in entry["arguments"].items() if name not in ABOUT_MAPS}
        return entry["method"], arguments

    others = [label for label in labels_in(record, rows, MAIN) if label != reference]
    return [reference, *(label for label in others if but_for_maps(label) == but_for_maps(reference))]


def _pairs(record: Mapping[str, Any], rows: Rows) -> list[tuple[str, str]]:
    """Rows of Table 5 of one method, with maps and without."""
    entries = record["entries"]
    maps = {label: bool(entries[label]["arguments"].get("maps")) for label in labels_in(record, rows, MAPS)}
    return [
        (seeing, plain)
        for seeing in maps
        for plain in maps
        if maps[seeing] and not maps[plain] and entries[seeing]["method"] == entries[plain]["method"]
    ]


def _effects(rows: Rows, pairs: Sequence[tuple[str, str]], what: str) -> str:
    """Ratios of every figure of the first of each pair over the second, Holm's p of MAE, and what they say."""
    if not pairs:
        return "No rows to compare."
    found = [paired_wilcoxon(*(values_of(rows[label], PUBLISHED_LEADING) for label in pair)) for pair in pairs]
    body = []
    for (seeing, plain), p in zip(pairs, holm(found), strict=True):
        ratios = [_ratio(rows[seeing], rows[plain], name) for name in PUBLISHED_UNITS]
        better = mean(values_of(rows[seeing], PUBLISHED_LEADING)) < mean(values_of(rows[plain], PUBLISHED_LEADING))
        verdict = "no difference is shown" if p >= SIGNIFICANT else f"{what} {'help' if better else 'hurt'}"
        body.append([f"{seeing} over {plain}", *ratios, f"{p:.2g}", verdict])
    heads = ["ratio of", *PUBLISHED_UNITS, f"p of {PUBLISHED_LEADING} (Holm)", f"by {PUBLISHED_LEADING}"]
    return markdown(heads, body)


def _in_suv(rows: Rows, reference: str) -> str:
    told = {name: unit for name, unit in SUV_UNITS.items() if any(_some(people, name) for people in rows.values())}
    against = {label: people for label, people in rows.items() if label != MEASURED and _has(people, LEADING)}
    pvalues = pvalues_of(against, reference, LEADING)
    more = {
        f"{LEADING} to {reference}": {
            label: _ratio(people, rows[reference], LEADING)
            for label, people in rows.items()
            if reference in rows and label != reference
        },
        "p (Holm)": {label: f"{p:.2g}" for label, p in pvalues.items()},
    }
    return _table(rows, told, more)


def _table(rows: Rows, figures: Mapping[str, str], more: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """A column for each figure with its unit, and columns of other cells by label."""
    more = more or {}
    heads = ["method", *(f"{name} [{unit}]" if unit else name for name, unit in figures.items()), *more]
    body = [
        [label, *(_cell(people, name) for name in figures), *(cells.get(label, "-") for cells in more.values())]
        for label, people in rows.items()
    ]
    return markdown(heads, body)


def _lesions_told(rows: Rows) -> str:
    """How many lesions there are; they are the same for every method."""
    people = next(iter(rows.values()), {})
    ill = [row for row in people.values() if row["lesions"]]
    if not ill:
        return "No lesions are labelled here."
    shown = sum(row["lesions shown"] for row in ill)
    return (
        f"{sum(row['lesions'] for row in ill):.0f} lesions in {len(ill)} of {len(people)} persons, {shown:.0f} of them "
        f"shown by the truth; sensitivity is of {sum(row['lesions shown'] > 0 for row in ill)} persons."
    )


def _some(people: Mapping[str, Mapping[str, float]], figure: str) -> dict[str, Mapping[str, float]]:
    """The persons for whom there is such a figure."""
    return {person: row for person, row in people.items() if figure in row}


def _has(people: Mapping[str, Mapping[str, float]], figure: str) -> bool:
    return len(_some(people, figure)) == len(people)


def _cell(people: Mapping[str, Mapping[str, float]], figure: str) -> str:
    found = _some(people, figure)
    return cell(found, figure) if len(found) >= FEWEST_PERSONS else "-"


def _ratio(mine: Mapping[str, Mapping[str, float]], base: Mapping[str, Mapping[str, float]], figure: str) -> str:
    return ratio_cell(mine, base, figure) if _has(mine, figure) and _has(base, figure) else "-"
