"""``photopeak reconstruct``: raw projections in; a NAC or AC image out, as NIfTI and as a derived DICOM series."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from photopeak.core import Projections, Study

LOG = "log.txt"
OURS = {LOG, "dicom", *(f"{name}.nii.gz" for name in ("nac", "ac")), *(f"dicom/{name}.dcm" for name in ("nac", "ac"))}
METHODS = {"osem": "osem", "mlem": "mlem", "map": "map_em", "fbp": "fbp"}
TEW_SMOOTH_PX = 3.0
"""FWHM over which the side windows' few counts are smoothed; scatter is smoother than that."""


def command(
    source: Annotated[
        Path, typer.Argument(metavar="PROJECTIONS", help="NM TOMO or GATED TOMO file, its folder, or a saved study.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for NIfTI, DICOM and log.")],
    mu: Annotated[
        Path | None, typer.Option(help='Attenuation: NIfTI in 1/cm, a CT series, or a saved study with "mu".')
    ] = None,
    mu_shift_mm: Annotated[
        tuple[float, float, float], typer.Option(help="Moves mu to the patient's left, back and head.")
    ] = (0.0, 0.0, 0.0),
    ct: Annotated[Path | None, typer.Option(help="A CT series; the same as --mu.")] = None,
    method: Annotated[str, typer.Option(help="osem, mlem, map or fbp; or with a network: diffspect.")] = "osem",
    iterations: Annotated[int | None, typer.Option(help="Passes over all views.")] = None,
    subsets: Annotated[int | None, typer.Option(help="Subsets of views, of osem and map.")] = None,
    cutoff: Annotated[float | None, typer.Option(help="Butterworth cutoff, cycles per cm; 0 for no filter.")] = None,
    order: Annotated[float | None, typer.Option(help="Butterworth order.")] = None,
    recover: Annotated[bool, typer.Option("--recover", help="Model the collimator's resolution.")] = False,
    gate: Annotated[str, typer.Option(help="Number of a gate, or sum.")] = "sum",
    scatter: Annotated[
        str, typer.Option(help='none; tew (triple energy window); or known, the saved study\'s "scatter".')
    ] = "none",
    window: Annotated[int | None, typer.Option(help="Photopeak's energy window, from 1, if unclear.")] = None,
    position: Annotated[str | None, typer.Option(help="HFS, HFP, FFS or FFP, if the header does not say.")] = None,
    radius_mm: Annotated[float | None, typer.Option(help="Axis to collimator, if the header does not say.")] = None,
    collimator: Annotated[str | None, typer.Option(help='Such as "GE LEHR", if the header does not say.')] = None,
    ct_free: Annotated[bool, typer.Option("--ct-free", help="Network: predict mu from the projections.")] = False,
    map_weights: Annotated[Path | None, typer.Option(help="Network: of indirect or concord, for --ct-free.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Network: weights other than the shipped ones.")] = None,
    fraction: Annotated[
        float | None, typer.Option(help="Network: share of the usual counts of a view; as the data say unless given.")
    ] = None,
    views: Annotated[int | None, typer.Option(help="Network: keep so many of the views.")] = None,
    steps: Annotated[int | None, typer.Option(help="Network: sampling steps.")] = None,
    samples: Annotated[int | None, typer.Option(help="Network: answers whose mean and spread are taken.")] = None,
    seed: Annotated[int | None, typer.Option(help="Network: same seed, same bits.")] = None,
) -> None:
    """Reconstruct measured or simulated projections, with attenuation correction where mu is given."""
    from photopeak.cli.mu import with_mu
    from photopeak.cli.reconstruct_learned import asked_of_network, reconstruct_learned
    from photopeak.core.errors import BadArgument
    from photopeak.methods.reconstruction import natural_grid

    if ct is not None and mu is not None:
        raise BadArgument(f"--ct {ct} and --mu {mu}", needed="one of them", remedy="Leave one out.")
    mu = ct if mu is None else mu
    using = {"steps": steps, "samples": samples, "seed": seed}
    network: dict[str, Any] = {
        "ct_free": ct_free or None,
        "map_weights": map_weights,
        "weights": weights,
        "fraction": fraction,
        "views": views,
    }
    others: dict[str, Any] = {
        "iterations": iterations,
        "subsets": subsets,
        "cutoff": cutoff,
        "order": order,
        "recover": recover or None,
        "scatter": None if scatter == "none" else scatter,
        "gate": None if gate == "sum" else gate,
    }
    learned = asked_of_network(method, network, using, others, mu=mu, mu_shift_mm=mu_shift_mm)
    study, dicom = _acquired(source, window=window, position=position, radius_mm=radius_mm, collimator=collimator)
    if learned is not None:
        reconstruct_learned(study, method, out, learned, dicom=dicom)
        typer.echo(f"{out / 'ac.nii.gz'}")
        return
    counts = _counts(study, gate)
    grid = natural_grid(study.projections[counts].camera)
    if mu is not None:
        study = with_mu(study, mu, grid, shift_mm=mu_shift_mm)
    study, scattered = _with_scatter(study, scatter, counts, corrected=mu is not None)
    asked = {"iterations": iterations, "subsets": subsets, "cutoff_per_cm": cutoff, "order": order}
    made = _ready(
        method,
        {name: value for name, value in asked.items() if value is not None},
        makes="ac" if mu is not None else "nac",
        counts=counts,
        recover=recover,
        scatter=scattered,
    )
    _require_resolution(study, counts, recover)
    reconstruct(study, made, out, dicom=dicom)
    typer.echo(f"{out / f'{made.makes}.nii.gz'}")


def reconstruct(study: "Study", method: Any, out: Path, *, dicom: Path | None = None) -> "Study":
    """Apply a Reconstruction to a study and write everything into `out`, which appears whole or not at all.

    Parameters
    ----------
    dicom : the TOMO file behind the study, for a derived series in its study.
    """
    from photopeak.cli import NOTICE
    from photopeak.io.atomic import beside, free
    from photopeak.io.nifti import write_nifti

    out = free(out, OURS)
    study = _watched(method, study)
    name = method.makes
    warnings = study.facts.get("acquisition", {}).get("warnings", []) + study.facts.get("mu", {}).get("warnings", [])
    provenance = provenance_of(study, method)
    with beside(out) as partial:
        partial.mkdir()
        write_nifti(study[name], partial / f"{name}.nii.gz")
        _write_dicom(study, partial / "dicom" / f"{name}.dcm", dicom, method, provenance)
        lines = [
            NOTICE,
            *(f"warning: {w}" for w in warnings),
            *(f"{k}: {v}" for k, v in provenance.items()),
            str(study),
        ]
        (partial / LOG).write_text("\n".join(lines) + "\n", encoding="utf-8")
    for warning in warnings:
        typer.echo(f"warning: {warning}")
    return study


def _acquired(source: Path, **reading: Any) -> tuple["Study", Path | None]:
    """The study with projections, and the DICOM file behind it."""
    from photopeak.core.errors import BadArgument, MissingInput
    from photopeak.io import load
    from photopeak.io.dicom_file import is_dicom
    from photopeak.io.dicom_nm_tomo import read_nm_tomo

    files = [p for p in sorted(source.iterdir()) if p.is_file()] if source.is_dir() else [source]
    dicom = [file for file in files if file.is_file() and is_dicom(file)]
    if len(dicom) == 1:
        return read_nm_tomo(dicom[0], **reading), dicom[0]
    if any(value is not None for value in reading.values()):
        raise BadArgument(
            f"{', '.join(k for k, v in reading.items() if v is not None)} for {source}",
            needed="one NM TOMO file",
            remedy="Leave it out: a saved study knows.",
        )
    study = load(source)
    if not study.projections:
        raise MissingInput(
            f"{source} with {', '.join(study) or 'nothing'} and no projections",
            needed="Image Type (0008,0008) TOMO or GATED TOMO, or a saved study with projections",
            remedy="Choose the raw acquisition.",
        )
    return study, None


def _counts(study: "Study", gate: str) -> str:
    """Name of the projections to reconstruct."""
    from photopeak.core.errors import BadArgument

    name = "raw" if gate == "sum" else f"gate_{gate}"
    if name not in study.projections:
        raise BadArgument(
            f"gate {gate} of {', '.join(study.projections)}",
            needed="sum, or the number of a gate",
            remedy="Choose one.",
        )
    return name


def _with_scatter(study: "Study", scatter: str, counts: str, *, corrected: bool) -> tuple["Study", str | None]:
    """The study with the scatter that was asked for, and its name."""
    from dataclasses import replace

    from photopeak.core import Step
    from photopeak.core.errors import BadArgument, MissingInput
    from photopeak.physics.windows import triple_energy_window

    fits = scatter == "none" or (scatter in ("known", "tew") and corrected and counts == "raw")
    if not fits:
        raise BadArgument(
            f"--scatter {scatter} {'with' if corrected else 'without'} --mu for {counts}",
            needed="none; or, together with --mu and the sum of all gates, tew or known",
            remedy="Scatter is corrected for in AC alone.",
        )
    if scatter == "none":
        return study, None
    if scatter == "known":
        if "scatter" not in study.projections:
            raise MissingInput(
                "--scatter known", needed='projections "scatter" in a saved study', remedy="Use tew or none."
            )
        return study, "scatter"
    lower, upper = _side_windows(study)
    estimate = triple_energy_window(lower, study.projections["raw"], upper, smooth_fwhm_px=TEW_SMOOTH_PX)
    settings = {"smooth_fwhm_px": TEW_SMOOTH_PX, "upper_window": upper is not None}
    step = Step(("scatter",), "triple_energy_window", tuple(study.projections), settings)
    projections = {**study.projections, "scatter": estimate}
    return replace(study, projections=projections, history=(*study.history, step)), "scatter"


def _side_windows(study: "Study") -> tuple["Projections | None", "Projections | None"]:
    """The windows next to the photopeak's, below and above."""
    peak = study.projections["raw"].window
    windows = [one for name, one in study.projections.items() if name.startswith("window_")]
    below = [one for one in windows if one.window.upper_kev <= peak.lower_kev]
    above = [one for one in windows if one.window.lower_kev >= peak.upper_kev]
    return (
        max(below, key=lambda one: one.window.upper_kev, default=None),
        min(above, key=lambda one: one.window.lower_kev, default=None),
    )


def _ready(name: str, asked: Mapping[str, Any], **fixed: Any) -> Any:
    """The method, with the settings that were asked for and that it has."""
    from dataclasses import fields

    from photopeak.core.errors import BadArgument
    from photopeak.methods import method_class

    if name not in METHODS:
        raise BadArgument(f"method {name}", needed=" or ".join(METHODS), remedy="Choose one.")
    kind: Any = method_class(METHODS[name])
    unknown = set(asked) - {f.name for f in fields(kind)}
    if unknown:
        raise BadArgument(f"{', '.join(unknown)} of {name}", needed="settings that it has", remedy="Leave it out.")
    chosen = dict(asked)
    if chosen.get("cutoff_per_cm") == 0:
        chosen["cutoff_per_cm"] = None
    return kind(**chosen, **fixed)


def _require_resolution(study: "Study", counts: str, recover: bool) -> None:
    from photopeak.core.errors import BadArgument

    camera: Any = study.projections[counts].camera
    if recover and camera.collimator is None:
        raise BadArgument(
            "--recover for a camera whose collimator or radius is unknown",
            needed="Collimator/Grid Name (0018,1180) of the table and Radial Position (0018,1142)",
            remedy="Give --collimator and --radius-mm, or leave --recover out.",
        )


def _watched(method: Any, study: "Study") -> "Study":
    """The method's answer, with a bar that moves as it iterates."""
    from rich.progress import Progress

    with Progress(transient=True) as progress:
        task = progress.add_task(f"{method.name} {method.makes}", total=getattr(method, "iterations", None))
        method.watch = lambda iteration, image: progress.advance(task)
        try:
            made: Study = method(study)
        finally:
            method.watch = None
    return made


def provenance_of(study: "Study", method: Any) -> dict[str, str]:
    """What made an image: version, method, settings, and the hash of the input."""
    from photopeak import __version__

    settings = {key: str(value) for key, value in method.settings().items()}
    inputs = {f"input {key}": value for key, value in study.facts.get("dicom", {}).items() if key == "sop_sha256"}
    return {"photopeak": __version__, "method": method.name, **settings, **inputs}


def _write_dicom(study: "Study", path: Path, source: Path | None, method: Any, provenance: Mapping[str, str]) -> None:
    from photopeak.io.dicom_nm_write import write_nm, write_nm_reconstructed

    name, counts = method.makes, method.counts
    gate = "" if counts == "raw" else f" {counts.upper().replace('_', ' ')}"
    words = f"{method.name.upper()} {name.upper()}{gate}"
    if source is not None:
        corrected = ["ATTN"] * (name == "ac") + ["SCAT"] * bool(method.scatter)
        write_nm_reconstructed(
            study[name],
            source,
            path,
            series_description=f"RESEARCH {words}",
            derivation=f"Reconstruction of {counts} by {method.name}",
            contributing=provenance,
            corrected=corrected,
        )
    elif study.facts.get("simulated"):
        write_nm(study[name], path, patient=study.name, series_description=f"SIMULATED {words}")
    else:
        typer.echo("no DICOM is written: the input has no patient to write it for")
