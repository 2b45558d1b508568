"""``photopeak import``: a hospital's DICOM (or PET/CT as NIfTI), de-identified, as a cohort."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from photopeak.io.cohort_import import Imported

SHOWN_LINES = 60


def command(
    source: Annotated[Path, typer.Argument(metavar="DICOM_DIR", help="Folder, zip or file with DICOM among anything.")],
    cohort: Annotated[Path, typer.Argument(help="Folder of the cohort; an earlier import there is continued.")],
    series: Annotated[
        list[str] | None,
        typer.Option(metavar="HASH=stress:nac", help="What an open series of the table is (or leave). Repeatable."),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="REGEX=rest:ac", help="What open series with such a description are. Repeatable."),
    ] = None,
    salt: Annotated[
        Path | None,
        typer.Option(help="Secret of the pseudonyms, made on first use. COHORT.salt beside the cohort unless given."),
    ] = None,
    split: Annotated[str, typer.Option(help="Persons for training/validation/test, in proportion.")] = "254/84/86",
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    private: Annotated[
        Path | None,
        typer.Option(help="Write file names and descriptions here, outside the cohort. They may name patients."),
    ] = None,
    nifti: Annotated[
        bool, typer.Option("--nifti", help="PET/CT as NIfTI: a folder a person, with CT_image, PET_image, PET_mask.")
    ] = False,
    kvp: Annotated[float | None, typer.Option(help="PET/CT: tube voltage where the CT's header has none.")] = None,
    spacing: Annotated[float | None, typer.Option(help="PET/CT: voxels in mm; PET's own unless given.")] = None,
) -> None:
    """Import real studies: find series, tell what each is, de-identify, convert. What is not certain is not taken.

    A PET/CT becomes "ct" (HU) and "pet" (SUV by body weight) on PET's grid. A CT in another frame of reference than its
    PET stays open; --series HASH=static puts it beside the PET nevertheless.

    Keep the salt as safe as the patients' names and do not hand it on with the cohort. With it, a later import gives
    the same persons the same names; without it (delete it) nobody can link the cohort to the archive.
    """
    from rich.progress import track

    from photopeak.core.errors import BadArgument
    from photopeak.io.cohort_import import import_cohort
    from photopeak.io.deidentify import Secret
    from photopeak.io.import_nifti import import_nifti
    from photopeak.io.pet_pair import Pairing

    if nifti and (series or rule or private):
        raise BadArgument(
            "--nifti with --series, --rule or --private", needed="--nifti alone", remedy="File names say what NIfTI is."
        )
    cohort = cohort.resolve()
    pairing, sizes = Pairing(kvp, spacing), _split(split)
    cohort.parent.mkdir(parents=True, exist_ok=True)
    secret = Secret.kept_in(salt or cohort.with_name(f"{cohort.name}.salt"))
    if nifti:
        watch = partial(track, description="importing")
        _show(import_nifti(source, cohort, secret, pairing=pairing, split=sizes, seed=seed, watch=watch))
        return
    done = import_cohort(
        source,
        cohort,
        secret,
        choices=series or (),
        rules=rule or (),
        split=sizes,
        seed=seed,
        private=private,
        pairing=pairing,
        watch=lambda scans: track(scans, description="importing"),
    )
    _show(done)


def _split(text: str) -> tuple[int, ...]:
    from photopeak.core.errors import BadArgument

    parts = tuple(int(part) for part in text.split("/") if part.isdigit())
    if len(parts) != 3 or text.count("/") != 2 or not 0 < sum(parts) <= 100_000:
        raise BadArgument(f"--split {text}", needed="three whole numbers, as 254/84/86", remedy="Correct it.")
    return parts


def _show(done: "Imported") -> None:
    """What became of the files, alike lines together; the whole is in import.csv."""
    from collections import Counter

    from rich.console import Console
    from rich.table import Table

    from photopeak.io.import_table import LEFT, TABLE_FILE, TAKEN

    files = Counter((line.outcome, line.study, line.as_, line.series, line.why) for line in done.lines)
    table = Table("outcome", "study", "as", "series", "files", "why")
    order = sorted(files, key=lambda key: (key[0] != TAKEN, key))
    for key in order[:SHOWN_LINES]:
        outcome, study, as_, series, why = key
        table.add_row(outcome, study, as_, series, str(files[key]), why)
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
    if len(order) > SHOWN_LINES:
        console.print(f"{len(order) - SHOWN_LINES} more lines in {TABLE_FILE}")
    for warning in done.warnings:
        console.print(f"warning: {warning}", markup=False)
    count = Counter(line.outcome for line in done.lines)
    console.print(
        f"{len(done.made)} studies made, {len(done.there)} there already; "
        f"{count[TAKEN]} files taken, {count[LEFT]} left. All of them are in {TABLE_FILE}."
    )
