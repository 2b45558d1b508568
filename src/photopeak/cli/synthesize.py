"""``photopeak synthesize``: a CT in; an FDG PET that it suggests, in SUV, with its uncertainty and a report out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from photopeak.cli.synthesize_method import (
    USUAL_METHOD,
    asked_once,
    calibrated_for,
    covers,
    evaluations,
    network_of,
    ready,
)

if TYPE_CHECKING:
    from photopeak.core import Study
    from photopeak.evaluate.domain import Check

REPORT, LOG = "report.html", "log.txt"
Format = Literal["nifti", "dicom"]


def command(
    source: Annotated[
        Path, typer.Argument(metavar="CT", help="Folder of one CT series (DICOM), or a NIfTI file in HU.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder for PET, report and log.")],
    method: Annotated[str | None, typer.Option(help=f"Method; {USUAL_METHOD}, or that of WEIGHTS.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights other than the shipped ones.")] = None,
    kvp: Annotated[float | None, typer.Option(help="Tube voltage, where the header does not say it.")] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="Answers; their mean is PET, their spread its sd. As many as WEIGHTS are calibrated for, or 1."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Sampling steps of a diffusion method; those of the calibration, or its own.")
    ] = None,
    tv: Annotated[float | None, typer.Option(help="Smoothing from slice to slice (total variation), SUV.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same bits.")] = 0,
    format: Annotated[str, typer.Option(help="nifti, or dicom: a PT series in the CT's study.")] = "nifti",
    anyway: Annotated[bool, typer.Option("--anyway", help="Answer beyond the hard limits too, and say so.")] = False,
) -> None:
    """Estimate an FDG PET from a CT. FDG uptake is not determined by CT: research on what a network makes of it."""
    from photopeak.core.errors import BadArgument
    from photopeak.io.ct_source import read_ct_source

    if format not in get_args(Format):
        raise BadArgument(f"--format {format}", needed=" or ".join(get_args(Format)), remedy="Use one of these.")
    if format == "dicom" and not source.is_dir():
        raise BadArgument(
            f"--format dicom of {source}, which is no DICOM folder",
            needed="the CT series that tells patient, study and frame of reference",
            remedy="Leave out --format, or give the series.",
        )
    require_new(out)
    using = {"samples": samples, "seed": seed, "steps": steps, "tv": tv}
    made = ready(method, weights, {key: value for key, value in using.items() if value is not None})
    synthesize(read_ct_source(source, kvp=kvp), made, out, dicom=source if format == "dicom" else None, anyway=anyway)
    typer.echo(f"{out / REPORT}")


def synthesize(study: "Study", method: Any, out: Path, *, dicom: Path | None = None, anyway: bool = False) -> "Study":
    """Estimate "pet" from "ct" of a study and write everything into `out`, which appears whole or not at all.

    Parameters
    ----------
    study : with "ct" in HU and facts["kvp"].
    method : a ready PetSlices method.
    dicom : folder of the CT series; PET is then written as PT series in its study, otherwise as NIfTI.
    anyway : answer beyond the hard limits too.

    Returns
    -------
    the study with "ct" averaged over the PET's voxels, "pet" and "pet_sd".

    Raises
    ------
    OutOfDomain : the CT shows too little of a body.
    MissingGeometry : DICOM is asked for, and the CT has no frame of reference.
    BadValues : an answer without uptake, as that of an untrained network.
    GridMismatch : an oblique CT, or one of fewer than eight PET voxels along an axis.
    BadArgument : `out` exists.
    """
    from photopeak.evaluate.ct_field import dose_check, field_checks
    from photopeak.evaluate.domain import require_answerable
    from photopeak.io.atomic import beside
    from photopeak.io.ct_source import in_voxels

    out = require_new(out)
    if dicom is not None:
        _require_frame(study, dicom)
    checks = field_checks(study["ct"])
    if not anyway:
        require_answerable(checks)
    method = asked_once(method)
    study = study.only("ct").add({"ct": in_voxels(study["ct"], method.feed.voxel_mm)}, _averaged(method))
    study = _calibrated(_answered(study, method), method)
    checks.append(dose_check(study["pet"], study["ct"]))
    warnings = _warnings(study, method, checks)
    told = provenance(study, method)
    with beside(out) as partial:
        partial.mkdir()
        _write_images(study, partial, dicom, method, told)
        _write_report(study, partial / REPORT, warnings, told, checks)
        _write_log(study, partial / LOG, warnings, told, checks)
    for line in (*(f"warning: {warning}" for warning in warnings), *map(str, checks)):
        typer.echo(line)
    return study


def require_new(out: Path) -> Path:
    """`out`, absolute, if nothing is there."""
    from photopeak.core.errors import BadArgument

    if out.exists():
        raise BadArgument(
            f"{out}, which exists", needed="a new folder", remedy="Choose another name, or move away what is there."
        )
    return out.resolve()


def _require_frame(study: "Study", source: Path) -> None:
    """Raise MissingGeometry before anything is computed, if no PT series can lie in the CT's frame."""
    from photopeak.core.errors import MissingGeometry

    if "frame_of_reference_sha256" not in study.facts.get("dicom", {}):
        raise MissingGeometry(
            f"{source} without Frame of Reference UID (0020,0052)",
            needed="a CT that says in which frame of reference it lies, for --format dicom",
            remedy="Export the series again, or leave out --format.",
        )


def provenance(study: "Study", method: Any) -> dict[str, str]:
    """How the PET was made, for the report, the log and DICOM."""
    from photopeak import __version__

    trained, fitted = method.card["training"], _is_calibrated(study) and study.history[-1].settings
    return {
        "photopeak": __version__,
        "method": method.name,
        **{key: str(value) for key, value in method.settings().items()},
        "trained on": f"{trained['studies']} scans, {trained['seconds']} s",
        "uncertainty": f"calibrated on {fitted['studies']} validation scans" if fitted else "not calibrated",
        "tube voltage": f"{study.facts['kvp']:g} kVp",
        **{f"input {key}": str(value) for key, value in study.facts.get("dicom", {}).items()},
    }


def _averaged(method: Any) -> Any:
    from photopeak.core import Step

    return Step(("ct",), "mean in voxels", ("ct",), {"voxel_mm": tuple(method.feed.voxel_mm)})


def _answered(study: "Study", method: Any) -> "Study":
    """The method's answer, with a bar that moves as its network is asked; one without any uptake is an error."""
    from photopeak.core.errors import BadValues

    made: Study
    with _bar(method.name, evaluations(method, study["ct"].grid.shape[0])) as advance:
        hook = network_of(method).register_forward_hook(lambda *_: advance())
        try:
            made = method(study)
        finally:
            hook.remove()
    if not bool(made["pet"].data.any()):
        raise BadValues(f"{method.name} that finds no uptake anywhere", needed="a trained network", remedy="Train it.")
    return made


@contextmanager
def _bar(title: str, total: int) -> Iterator[Any]:
    from rich.progress import Progress

    with Progress(transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)


def _calibrated(study: "Study", method: Any) -> "Study":
    """The study with its sd calibrated in the body, where the card says how for just these settings of use."""
    from photopeak.evaluate.calibration import BODY, Calibration, calibrated

    if not covers(method):
        return study
    return calibrated(study, Calibration.from_dict(method.card["calibration"]), region=BODY)


def _is_calibrated(study: "Study") -> bool:
    return study.history[-1].by == "evaluate.calibration"


def _has_spread(study: "Study") -> bool:
    return bool(study["pet_sd"].data.any())


def _written(study: "Study") -> tuple[str, ...]:
    """The volumes that are worth a file: one sample has no spread."""
    return ("pet", "pet_sd") if _has_spread(study) else ("pet",)


def _warnings(study: "Study", method: Any, checks: "list[Check]") -> list[str]:
    found = [f"Beyond a hard limit and answered all the same: {c}." for c in checks if c.verdict == "refused"]
    found += [f"Unusual: {check}." for check in checks if check.verdict == "unusual"]
    if method.card.get("cohort", {}).get("simulated") and not study.facts.get("simulated"):
        found.append("The method was trained on simulated people only, and real ones differ.")
    if not _has_spread(study):
        found.append(f"No uncertainty: {method.name} gave one answer, or the same one each time.")
    elif not _is_calibrated(study):
        found.append("The sd is the method's own: it was not calibrated, and is likely too small.")
    elif method.samples == 1:
        found.append("There was one answer: the sd follows from its SUV alone, not from how answers differ.")
    if (using := calibrated_for(method.card)) and not _is_calibrated(study):
        settings = ", ".join(f"{name}={value:g}" for name, value in using.items())
        found.append(f"The calibration that comes with the weights is for {settings}: it was not used.")
    return found


def _told_of(name: str, study: "Study") -> str:
    """What a written volume is."""
    by = "calibrated on validation scans" if _is_calibrated(study) else "by the method itself"
    return {"pet": "FDG PET estimated", "pet_sd": f"Standard deviation of FDG PET, {by}, estimated"}[name]


def _write_images(study: "Study", folder: Path, dicom: Path | None, method: Any, told: Mapping[str, str]) -> None:
    from photopeak.io.nifti import write_nifti

    for number, name in enumerate(_written(study), start=1):
        if dicom is None:
            write_nifti(study[name], folder / f"{name}.nii.gz")
            continue
        from photopeak.io.dicom_pt_write import RESEARCH, write_pt_derived

        write_pt_derived(
            study[name],
            dicom,
            folder / "dicom" / name,
            series_description=f"{RESEARCH} {method.name} {name.upper().replace('_', ' ')} NOT FOR DIAGNOSIS",
            derivation=f"{_told_of(name, study)} from CT by {method.name}, a network; nothing was injected or "
            "measured, and FDG uptake is not determined by CT",
            contributing=told,
            series_number=9000 + number,
        )


def _write_report(
    study: "Study", path: Path, warnings: list[str], told: Mapping[str, str], checks: "list[Check]"
) -> None:
    from photopeak.evaluate.pet_report import write_pet_report

    write_pet_report(study, path, warnings=warnings, provenance=told, checks=checks)


def _write_log(study: "Study", path: Path, warnings: list[str], told: Mapping[str, str], checks: "list[Check]") -> None:
    from photopeak.cli import NOTICE
    from photopeak.evaluate.pet_report import UNDETERMINED

    lines = [NOTICE, UNDETERMINED, *(f"warning: {w}" for w in warnings), *map(str, checks)]
    lines += [*(f"{key}: {value}" for key, value in told.items()), str(study)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
