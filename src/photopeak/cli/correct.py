"""``photopeak correct``: a NAC series in; AC series, uncertainty and report out, beside the untouched original."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from photopeak.cardiac.find import FoundHeart
    from photopeak.core import Study, Volume
    from photopeak.evaluate.domain import Check

REPORT = "report.html"
OURS = {REPORT, "log.txt", "dicom", *(f"{n}.nii.gz" for n in ("ac", "ac_sd", "saliency"))} | {
    f"dicom/{n}.dcm" for n in ("nac", "ac", "ac_sd")
}
USUAL_METHOD = "concord"
DOUBTFUL_CONFIDENCE = 0.7


def command(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="NM DICOM file, its folder, NIfTI, or a saved study.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for report, NIfTI and DICOM.")],
    method: Annotated[str | None, typer.Option(help="Method that corrects; concord, or that of WEIGHTS.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights other than the shipped ones.")] = None,
    steps: Annotated[int, typer.Option(help="Sampling steps of a diffusion method.")] = 1,
    samples: Annotated[int, typer.Option(help="Posterior samples; their mean is AC, their spread its sd.")] = 8,
    seed: Annotated[int, typer.Option(help="Same seed, same bits.")] = 0,
    anyway: Annotated[bool, typer.Option("--anyway", help="Answer beyond the hard limits too, and say so.")] = False,
    saliency: Annotated[
        bool, typer.Option("--saliency", help="Also map which anatomy drove the correction (slow).")
    ] = False,
) -> None:
    """Correct a non-attenuation-corrected cardiac SPECT series for attenuation, without CT."""
    from photopeak.core.errors import WrongModality
    from photopeak.io import load

    study = load(source, as_=None if _is_saved(source) else "nac")
    if "nac" not in study:
        raise WrongModality(
            f"{source} with {', '.join(study) or 'nothing'}",
            needed='a NAC series: Modality (0008,0060) NM, or a saved study with "nac"',
            remedy="Choose the uncorrected perfusion series.",
        )
    made = _ready(method or _method_of(weights), weights, steps=steps, samples=samples, seed=seed)
    correct(study.only("nac"), made, out, dicom=nm_file(source), anyway=anyway, saliency=saliency)
    typer.echo(f"{out / REPORT}")


def correct(
    study: "Study",
    method: Any,
    out: Path,
    *,
    dicom: Path | None = None,
    truth: str | None = None,
    anyway: bool = False,
    saliency: bool = False,
) -> "Study":
    """Correct "nac" of a study and write everything into `out`, which appears whole or not at all.

    Parameters
    ----------
    method : a ready HeartCube method.
    dicom : the source file, for derived series in its study and frame of reference.
    truth : name of a volume to compare with in the report; the method does not see it.
    anyway : answer beyond the hard limits too.
    saliency : also the map of what the correction of the wall depends on.

    Raises
    ------
    OutOfDomain : the image or the answer is beyond a hard limit.
    """
    from photopeak.cardiac.find import find_heart
    from photopeak.evaluate.domain import image_check, require_answerable
    from photopeak.io.atomic import beside, free
    from photopeak.io.nifti import write_nifti

    out = free(out, OURS)
    heart = find_heart(study["nac"])
    study = study.with_facts(heart=heart.to_dict())
    checks = [image_check(study, heart, method.card["domain"])]
    if not anyway:
        require_answerable(checks)
    study, more = _answered(study, heart, method)
    checks += more
    if not anyway:
        require_answerable(checks)
    drove = _saliency(study, heart, method) if saliency else None
    warnings = _warnings(study, heart, method, checks)
    provenance = _provenance(study, method)
    with beside(out) as partial:
        (partial / "dicom").mkdir(parents=True)
        for name in _written(study):
            write_nifti(study[name], partial / f"{name}.nii.gz")
        if drove is not None:
            write_nifti(drove, partial / "saliency.nii.gz")
        _write_dicom(study, partial / "dicom", dicom, method, provenance)
        _write_report(study, partial / REPORT, heart, warnings, provenance, truth, checks, drove)
        lines = [*(f"warning: {w}" for w in warnings), *map(str, checks), *(f"{k}: {v}" for k, v in provenance.items())]
        (partial / "log.txt").write_text("\n".join(lines) + "\n")
    for line in (*(f"warning: {warning}" for warning in warnings), *map(str, checks)):
        typer.echo(line)
    return study


def _answered(study: "Study", heart: "FoundHeart", method: Any) -> "tuple[Study, list[Check]]":
    """The study with what the method writes, its sd calibrated where the card says how, and checks of the answer."""
    from photopeak.evaluate.calibration import Calibration, calibrated
    from photopeak.evaluate.domain import consistency_check, factor_checks

    made = method(study.only("nac"))
    study = study.add({name: made[name] for name in method.writes}, made.history[-1])
    if "calibration" in method.card and _has_spread(study):
        study = calibrated(study, Calibration.from_dict(method.card["calibration"]))
    mu = next((name for name in method.writes if name.startswith("mu")), None)
    return study, [*factor_checks(study, heart, method.card["domain"]), consistency_check(study, mu)]


def _saliency(study: "Study", heart: "FoundHeart", method: Any) -> "Volume":
    """What the correction of the heart depends on, in one sample: the mean of many looks at the same places."""
    from copy import copy
    from dataclasses import replace

    from photopeak.evaluate.patients import heart_mask
    from photopeak.evaluate.saliency import elasticity

    once = copy(method)
    once.samples = 1

    def corrected(nac: "Volume") -> "Volume":
        answer: Volume = once(replace(study.only("nac"), volumes={"nac": nac}))["ac"]
        return answer

    inside = heart_mask(study["nac"].grid, heart.frame, heart.outer_radius_mm)
    return elasticity(corrected, study["nac"], inside)


def nm_file(source: Path) -> Path | None:
    """The DICOM file behind an input, if it is one or a folder with one."""
    from photopeak.io.dicom_file import is_dicom

    files = sorted(p for p in source.iterdir() if p.is_file()) if source.is_dir() else [source]
    return next((file for file in files if is_dicom(file)), None)


def _is_saved(source: Path) -> bool:
    from photopeak.io.store import STUDY_FILE

    return (source / STUDY_FILE).is_file()


def _method_of(weights: Path | None) -> str:
    """The method that a file of weights is of; ours without one."""
    from photopeak.learn.checkpoint import load_checkpoint

    return USUAL_METHOD if weights is None else str(load_checkpoint(weights)[1].get("method"))


def _ready(name: str, weights: Path | None, *, steps: int, samples: int, seed: int) -> Any:
    """A method that corrects, with its card, and with the settings of use that it has."""
    import inspect

    from photopeak.core.errors import BadArgument, BadCheckpoint
    from photopeak.methods import method, method_class
    from photopeak.methods.heart_slices import HeartCube

    kind = method_class(name)
    if not issubclass(kind, HeartCube) or kind.reads != ("nac",) or kind.reads_projections:
        raise BadArgument(f"method {name}", needed="one that makes AC from NAC alone", remedy="Use concord.")
    given = {"steps": steps, "samples": samples, "seed": seed}
    made: Any = method(
        name, weights, **{k: v for k, v in given.items() if k in inspect.signature(kind.using).parameters}
    )
    if not {"domain", "training"} <= set(made.card):
        raise BadCheckpoint(
            f"weights of {name} without a card",
            needed="what they were trained on",
            remedy="Train with photopeak train.",
        )
    return made


def _written(study: "Study") -> tuple[str, ...]:
    """The volumes that are worth a file: one sample has no spread."""
    return ("ac", "ac_sd") if _has_spread(study) else ("ac",)


def _has_spread(study: "Study") -> bool:
    return bool(study["ac_sd"].data.any())


def _warnings(study: "Study", heart: "FoundHeart", method: Any, checks: "list[Check]") -> list[str]:
    from photopeak.evaluate.domain import differences

    found = [f"Beyond a hard limit and answered all the same: {c}." for c in checks if c.verdict == "refused"]
    found += [f"Unlike the scans of training: {check}." for check in checks if check.verdict == "unusual"]
    found += differences(study, method.card["domain"])
    if "calibration" not in method.card:
        found.append("The sd is the spread of samples alone: it was not calibrated, and is likely too small.")
    if heart.confidence < DOUBTFUL_CONFIDENCE:
        found.append(f"The left ventricle was found with confidence {heart.confidence:.2f} only: check it.")
    if study.facts.get("named_by") == "the caller":
        found.append("Nothing in the header says whether this series is attenuation-corrected; it was taken as NAC.")
    found.append(
        f"Only a sphere of {method.feed.answered_mm:g} mm around the heart is corrected; "
        "outside it AC is NAC times the population's mean factor."
    )
    return found


def _provenance(study: "Study", method: Any) -> dict[str, str]:
    from photopeak import __version__

    settings = {key: str(value) for key, value in method.settings().items()}
    inputs = {f"input {key}": value for key, value in study.facts.get("dicom", {}).items()}
    card = method.card
    trained = f"{card['training']['studies']} scans, {card['training']['seconds']} s, {card['domain']['description']}"
    return {
        "photopeak": __version__,
        "method": method.name,
        **settings,
        "trained on": trained,
        **inputs,
    }


def _write_dicom(study: "Study", folder: Path, source: Path | None, method: Any, provenance: Mapping[str, str]) -> None:
    from photopeak.io.dicom_nm_write import write_nm, write_nm_derived

    original = folder / "nac.dcm"
    if source is not None:
        shutil.copyfile(source, original)
    elif study.facts.get("simulated"):
        write_nm(study["nac"], original, patient=study.name)
    else:
        folder.rmdir()
        typer.echo("no DICOM is written: the input has no patient to write it for")
        return
    for number, name in enumerate(_written(study), start=1):
        title = name.upper().replace("_", " ")
        write_nm_derived(
            study[name],
            original,
            folder / f"{name}.dcm",
            series_description=f"AI-AC RESEARCH {method.name} {title}",
            derivation=f"CT-free attenuation correction predicted by {method.name}, {title}; not measured",
            contributing=provenance,
            series_number=9000 + number,
        )


def _write_report(
    study: "Study",
    path: Path,
    heart: "FoundHeart",
    warnings: list[str],
    provenance: Mapping[str, str],
    truth: str | None,
    checks: "list[Check]",
    saliency: "Volume | None",
) -> None:
    from photopeak.evaluate.report import write_report

    write_report(
        study,
        path,
        heart=heart,
        warnings=warnings,
        provenance=provenance,
        truth=truth,
        checks=checks,
        saliency=saliency,
    )
