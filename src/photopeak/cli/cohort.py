"""``photopeak cohort``: is a cohort whole on disk, and is it like the published one?"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from photopeak.core import Study
    from photopeak.evaluate.bands import Row
    from photopeak.evaluate.scan_facts import ScanFacts
    from photopeak.io.cohort import Cohort

app = typer.Typer(help="Look at a cohort: its files, and how it compares with the published facts.")

STATISTICS_FILE, STATISTICS_SCHEMA = "statistics.json", "photopeak cohort statistics 1"
COLOURS = {"pass": "green", "fail": "bold red", "too few": "yellow", "not available": "dim"}

Folder = Annotated[Path, typer.Argument(help="Folder of a cohort.")]


@app.command()
def verify(cohort: Folder) -> None:
    """Compare every file with its checksum; lists what is damaged, missing or nobody's. Exit status 1 if any is."""
    from photopeak.io.cohort import read_manifest
    from photopeak.io.damage import find_damage

    scans, _ = read_manifest(cohort)
    damage = find_damage(cohort, {name: scan.sha256 for name, scan in scans.items()}, checksums=True)
    for one in damage:
        typer.echo(str(one))
    unsealed = sum(scan.sha256 is None for scan in scans.values())
    if unsealed:
        typer.echo(f"{unsealed} studies have no checksum of study.json in the manifest; their arrays were checked")
    broken = {one.study for one in damage} - {None}
    typer.echo(
        f"{len(scans) - len(broken)} of {len(scans)} studies are whole; {len(damage)} files are not as they should be"
    )
    raise typer.Exit(1 if damage else 0)


@app.command()
def check(
    cohort: Folder,
    html: Annotated[Path | None, typer.Option(help="Write a data card with pictures, one HTML file.")] = None,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Print the cohort beside the published facts. Exit status 1 when one is outside its band.

    What is measured in each scan is kept in statistics.json, and measured again only where the scan has changed.
    """
    from photopeak.evaluate.cohort_facts import cohort_rows
    from photopeak.io.cohort import open_cohort

    studies = open_cohort(cohort, on_damage="skip", mmap=True)
    for one in studies.damage:
        typer.echo(f"left out: {one}")
    facts = measured(studies, workers=workers)
    for name, scan in facts.items():
        if scan.unmeasured is not None:
            typer.echo(f"{name} has no segments: {scan.unmeasured}")
    rows = cohort_rows(facts.values())
    print_rows(rows)
    if html is not None:
        _write_card(studies, facts, rows, html)
        typer.echo(f"data card: {html}")
    raise typer.Exit(1 if any(row.status == "fail" for row in rows) else 0)


def measured(cohort: "Cohort", *, workers: int = 2) -> dict[str, "ScanFacts"]:
    """Facts of every scan, from ``statistics.json`` or measured now and written there."""
    from rich.progress import track

    from photopeak.evaluate.scan_facts import ScanFacts
    from photopeak.io.atomic import beside
    from photopeak.io.store import STUDY_FILE, file_sha256, write_record
    from photopeak.simulate.cohort import in_parallel

    digests = {name: file_sha256(cohort.folder / name / STUDY_FILE) for name in cohort.names}
    known = {n: r for n, r in _known(cohort.folder).items() if r["sha256"] == digests.get(n)}
    todo = [number for number, name in enumerate(cohort.names) if name not in known]
    scans = [(name, scan.person, scan.state) for name, scan in cohort.scans.items()]
    made = in_parallel(partial(_measure, folder=str(cohort.folder), scans=scans), todo, workers=workers)
    for line in track(made, total=len(todo), description="measuring", disable=not todo):
        name, record = _parsed(line)
        known[name] = {"sha256": digests[name], "facts": record}
    if todo:
        with beside(cohort.folder / STATISTICS_FILE) as partial_file:
            studies = {name: known[name] for name in cohort.names}
            write_record({"schema": STATISTICS_SCHEMA, "studies": studies}, partial_file)
    return {name: ScanFacts.from_dict(known[name]["facts"]) for name in cohort.names}


def print_rows(rows: Sequence["Row"]) -> None:
    """A table of the cohort beside its bands."""
    from rich.console import Console
    from rich.table import Table

    from photopeak.evaluate.bands import counts_of

    table = Table("fact", "n", "found (95 % interval)", "band", "", "source of the band", box=None, pad_edge=False)
    for row in rows:
        colour = COLOURS[row.status]
        found = f"{row.found:.3g} ({row.low:.3g} to {row.high:.3g})" if row.n else "–"
        name = row.name if row.unit == "1" else f"{row.name} [{row.unit}]"
        band = " to ".join(f"{limit:.3g}" for limit in dict.fromkeys(row.band))
        table.add_row(_plain(name), str(row.n), found, band, f"[{colour}]{row.status}[/]", row.source)
    console = Console(width=None if Console().is_terminal else 200)
    console.print(table)
    console.print(", ".join(f"{count} {status}" for status, count in counts_of(rows).items()))
    console.print("Bands of single published values are 3.3 standard errors of a cohort of this size on either side.")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _measure(number: int, *, folder: str, scans: Sequence[tuple[str, str, str | None]]) -> str:
    import json

    from photopeak.evaluate.scan_facts import measure_scan
    from photopeak.io.store import load_study

    name, person, state = scans[number]
    study = load_study(Path(folder) / name, mmap=True)
    return json.dumps([name, measure_scan(study, person=person, state=state).to_dict()])


def _parsed(line: str) -> tuple[str, dict[str, Any]]:
    import json

    name, record = json.loads(line)
    return name, record


def _known(folder: Path) -> Mapping[str, Any]:
    """What was measured before; nothing where there is no such file or another version wrote it."""
    from photopeak.core.errors import UnreadableFile
    from photopeak.io.store import read_record

    path = folder / STATISTICS_FILE
    if not path.is_file():
        return {}
    try:
        return dict(read_record(path, STATISTICS_SCHEMA)["studies"])
    except UnreadableFile as error:
        typer.echo(f"measured anew: {error}")
        return {}


def _write_card(cohort: "Cohort", facts: Mapping[str, "ScanFacts"], rows: Sequence["Row"], path: Path) -> None:
    from photopeak.evaluate.data_card import data_card, shown_persons
    from photopeak.io.atomic import beside
    from photopeak.io.store import load_study

    def studies_of(person: str) -> "list[Study]":
        return [load_study(cohort.folder / name) for name in cohort.persons[person]]

    shown = {reason: studies_of(person) for person, reason in shown_persons(facts.values()).items()}
    splits = {split: len(cohort.split(split).persons) for split in ("train", "validation", "test")}
    page = data_card(rows, list(facts.values()), shown=shown, splits=splits, about=cohort.about)
    with beside(path) as partial_file:
        partial_file.write_text(page, encoding="utf-8")
