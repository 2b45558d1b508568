"""``photopeak export``: simulated studies as complete DICOM studies, as a hospital's archive would send them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from photopeak.core import Study


def command(
    source: Annotated[Path, typer.Argument(metavar="STUDY_OR_COHORT", help="A saved simulated study, or a cohort.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for each study appears here.")],
    states: Annotated[str, typer.Option(help="Of a cohort: stress, rest or both.")] = "both",
    studies: Annotated[int | None, typer.Option(help="Of a cohort: this many, from the first.")] = None,
) -> None:
    """Write DICOM: raw projections, NAC, AC, SA/HLA/VLA, attenuation map and CT, marked as simulated."""
    from photopeak.io.dicom_export import export_study

    chosen = 0
    for study in _wanted(source, states, studies):
        files = export_study(study, out / study.name)
        typer.echo(f"{out / study.name}: {len(files)} files")
        chosen += 1
    if not chosen:
        from photopeak.core.errors import MissingInput

        raise MissingInput(
            f"{source} without a study of {states}", needed="at least one", remedy="Choose other --states."
        )


def _wanted(source: Path, states: str, studies: int | None) -> Iterator["Study"]:
    """The studies to export, each read when its turn comes."""
    from itertools import islice

    from photopeak.core.errors import BadArgument
    from photopeak.io.cohort import MANIFEST_FILE, open_cohort
    from photopeak.io.store import load_study

    if states not in ("both", "stress", "rest"):
        raise BadArgument(f"states {states!r}", needed="stress, rest or both", remedy="Use one of these.")
    if studies is not None and studies < 1:
        raise BadArgument(f"studies {studies}", needed="at least 1", remedy="Leave it out for all.")
    if not (source / MANIFEST_FILE).is_file():
        yield load_study(source)
        return
    names = (name for name, scan in open_cohort(source).scans.items() if states in ("both", scan.state))
    for name in islice(names, studies):
        yield load_study(source / name)
