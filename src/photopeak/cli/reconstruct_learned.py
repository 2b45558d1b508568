"""``photopeak reconstruct --method diffspect``: few counts or few views in; AC, its spread and a report out."""

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from photopeak.core import Grid, Study

REPORT, LOG = "report.html", "log.txt"
VOLUMES = ("mlem", "mu", "ac", "ac_sd")
OURS = {REPORT, LOG, "dicom", *(f"{n}.nii.gz" for n in VOLUMES), "dicom/ac.dcm", "dicom/ac_sd.dcm"}


@dataclass(frozen=True)
class Asked:
    """What a user asks of a learned reconstruction.

    Parameters
    ----------
    mu : file of the attenuation map or CT; None for the predicted map.
    mu_shift_mm : moves it to the patient's left, back and head.
    ct_free : predict the map from NAC of the same projections.
    map_weights : of `indirect` or `concord`, instead of those that ship.
    weights : of the method, instead of those that ship.
    fraction : of the usual counts of each view; as the study says, or as counted, unless given.
    views : keep so many of the views; all unless given.
    using : settings of use, such as steps, samples and seed.

    Raises
    ------
    BadArgument : not one source of attenuation, or a fraction or number of views that cannot be.
    """

    mu: Path | None = None
    mu_shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    ct_free: bool = False
    map_weights: Path | None = None
    weights: Path | None = None
    fraction: float | None = None
    views: int | None = None
    using: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        from photopeak.core.errors import BadArgument

        if (self.mu is None) is not self.ct_free:
            raise BadArgument(
                f"--ct-free {'with' if self.ct_free else 'without'} a map, and {self.mu or 'no CT'}",
                needed="one of --ct, --mu and --ct-free",
                remedy="Give a CT or a map; or --ct-free to predict it from the same projections.",
            )
        if self.map_weights is not None and not self.ct_free:
            raise BadArgument("--map-weights without --ct-free", needed="both", remedy="A map that is given is used.")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise BadArgument(
                f"--fraction {self.fraction:g}", needed="more than 0, at most 1", remedy="0.1 is a tenth."
            )


def is_learned(name: str) -> bool:
    """Whether a method reconstructs projections with a network; an unknown one is a BadArgument."""
    from photopeak.cli.reconstruct import METHODS
    from photopeak.methods import method_class
    from photopeak.methods.volume_slices import VolumeSlices

    return name not in METHODS and issubclass(method_class(name), VolumeSlices)


def asked_of_network(
    name: str, network: Mapping[str, Any], using: Mapping[str, Any], others: Mapping[str, Any], **attenuation: Any
) -> Asked | None:
    """What is asked, if the method is a network; None for the other methods. Options that were not given are None.

    Parameters
    ----------
    network, using : options that only networks have, and of those the settings of use.
    others : options that networks do not have.
    attenuation : "mu" and "mu_shift_mm".

    Raises
    ------
    BadArgument : options of the other kind of method, or as `Asked`.
    """
    from photopeak.core.errors import BadArgument

    learned = is_learned(name)
    foreign = others if learned else {**network, **using}
    given = [f"--{option.replace('_', '-')}" for option, value in foreign.items() if value is not None]
    if given:
        raise BadArgument(f"{', '.join(given)} of {name}", needed="options that it has", remedy="Leave it out.")
    if not learned:
        return None
    told = {key: value for key, value in network.items() if value is not None}
    return Asked(**told, **attenuation, using={key: value for key, value in using.items() if value is not None})


def reconstruct_learned(study: "Study", name: str, out: Path, asked: Asked, *, dicom: Path | None = None) -> "Study":
    """Reconstruct "raw" of a study with a learned method and write all into `out`, which appears whole or not at all.

    Parameters
    ----------
    dicom : the TOMO file behind the study, for derived series in its study.

    Raises
    ------
    BadArgument, BadCheckpoint : a camera, dose or weights that do not fit the method.
    BadValues : no view has counts.
    GridMismatch : the map lies where the camera does not look.
    """
    from photopeak.io.atomic import free
    from photopeak.methods import method

    out = free(out, OURS)
    ready: Any = method(name, asked.weights, **(asked.using or {}))
    study = measured_views(study, asked.views, ready.usual()["views"])
    if asked.fraction is not None:
        study = study.with_facts(dose={**study.facts["dose"], "fraction": asked.fraction})
    study = _with_map(study, asked, grid_of(study, ready))
    study = _with_start(study, ready)
    study = _answered(study, ready)
    warnings = _warnings(study, asked, ready)
    _write(study, ready, out, dicom, warnings, ct_free=asked.ct_free)
    for warning in warnings:
        typer.echo(f"warning: {warning}")
    return study


def measured_views(study: "Study", views: int | None, usual: float) -> "Study":
    """The study with the views that count something, or so many of them, and in its facts of how many they are.

    Parameters
    ----------
    views : how many to keep.
    usual : views of the acquisitions that the method was trained on; 0 where unknown.

    Raises
    ------
    BadValues : no view has counts.
    BadArgument : more modules than the camera of training has, or a number that cannot be kept.
    """
    from dataclasses import replace

    from photopeak.core.errors import BadArgument, BadValues
    from photopeak.core.random import stream
    from photopeak.physics.pinhole import Pinhole
    from photopeak.simulate.dose import Setting

    raw = study.projections["raw"]
    there = raw.camera.projection_shape[0]
    if usual and isinstance(raw.camera, Pinhole) and there > round(usual):
        raise BadArgument(
            f"{there} modules", needed=f"at most the {round(usual)} of training", remedy="Use weights for this camera."
        )
    seen = raw if views is None else Setting(views=views).applied(raw, stream(0, 0))
    counting = [k for k, one in enumerate(seen.counts) if bool(one.any())]
    if not counting:
        raise BadValues(
            f"{len(seen.counts)} views without a count", needed="counts in a view", remedy="Check the acquisition."
        )
    known = study.facts.get("dose", {})
    full = max(int(known.get("full_views", 0)), there, round(usual) if isinstance(raw.camera, Pinhole) else 0)
    less = seen if len(counting) == len(seen.counts) else seen.views(counting)
    return replace(study, projections={"raw": less}).with_facts(dose={**known, "full_views": full})


def grid_of(study: "Study", method: Any) -> "Grid":
    """Where the image shall be: about the field of a pinhole camera, or a parallel-hole camera's own grid."""
    from photopeak.methods.reconstruction import natural_grid
    from photopeak.physics.pinhole import Pinhole

    camera = study.projections["raw"].camera
    grid: Grid = method.feed.grid(camera.fov_centre_mm) if isinstance(camera, Pinhole) else natural_grid(camera)
    return grid


def _with_map(study: "Study", asked: Asked, grid: "Grid") -> "Study":
    """The study with "mu", as given or as predicted."""
    from photopeak.cli.mu import with_mu
    from photopeak.cli.mu_free import with_predicted_mu

    if asked.mu is not None:
        return with_mu(study, asked.mu, grid, shift_mm=asked.mu_shift_mm)
    return with_predicted_mu(study, grid, asked.map_weights)


def _with_start(study: "Study", method: Any) -> "Study":
    """The study with "mlem", which the method begins with and the report shows beside the answer."""
    from photopeak.core import COUNTS, Volume
    from photopeak.methods.measured import Measured, start_step

    measured = Measured.of(study, scatter=method.scatter)
    with _bar(f"mlem, {method.iterations} iterations", None):
        image = measured.image(method.iterations)
    mlem = Volume(image, study["mu"].grid, COUNTS)
    return study.add({"mlem": mlem}, start_step(method.iterations, method.scatter))


def _answered(study: "Study", method: Any) -> "Study":
    """The method's answer, with a bar that moves as its network is asked."""
    made: Study
    with _bar(method.name, _evaluations(method)) as advance:
        hook = method.players["net"].register_forward_hook(lambda *_: advance())
        try:
            made = method(study)
        finally:
            hook.remove()
    return made


def _evaluations(method: Any) -> int | None:
    """How often the network will be asked, where the method tells."""
    passes = getattr(method, "evaluations", None)
    return None if passes is None else int(passes * -(-method.feed.depth // method.sampling.chunk))


@contextmanager
def _bar(title: str, total: int | None) -> "Iterator[Any]":
    from rich.progress import Progress

    with Progress(transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)


def _has_spread(study: "Study") -> bool:
    return bool(study["ac_sd"].data.any())


def _warnings(study: "Study", asked: Asked, method: Any) -> list[str]:
    found = list(study.facts.get("acquisition", {}).get("warnings", []))
    found += study.facts.get("mu", {}).get("warnings", [])
    dose, fraction = study.facts["dose"], method.fraction_used
    views = study.projections["raw"].camera.projection_shape[0]
    how = "as given" if asked.fraction is not None else "as the study says" if "fraction" in dose else "as counted"
    share = f"{100 * fraction:.3g} % of the counts of a full acquisition"
    found.append(f"{views} of {dose['full_views']} views, {share} ({how}).")
    if asked.ct_free:
        found.append("Attenuation was predicted from the uncorrected image; no CT was seen.")
    return found


def _write(study: "Study", method: Any, out: Path, dicom: Path | None, warnings: list[str], *, ct_free: bool) -> None:
    """NIfTI, DICOM, report and log."""
    from photopeak.cli import NOTICE
    from photopeak.cli.reconstruct import provenance_of
    from photopeak.core.errors import HeartNotFound
    from photopeak.evaluate.low_dose_report import write_low_dose_report
    from photopeak.io.atomic import beside
    from photopeak.io.nifti import write_nifti

    told = provenance_of(study, method)
    names = [name for name in VOLUMES if name != "ac_sd" or _has_spread(study)]
    with beside(out) as partial:
        partial.mkdir()
        for name in names:
            write_nifti(study[name], partial / f"{name}.nii.gz")
        _write_dicom(study, partial / "dicom", dicom, method, told, ct_free=ct_free)
        try:
            write_low_dose_report(study, partial / REPORT, warnings=warnings, provenance=told)
        except HeartNotFound as error:
            warnings.append(f"No report: {error}")
        lines = [NOTICE, *(f"warning: {w}" for w in warnings), *(f"{k}: {v}" for k, v in told.items()), str(study)]
        (partial / LOG).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_dicom(
    study: "Study", folder: Path, source: Path | None, method: Any, told: Mapping[str, str], *, ct_free: bool
) -> None:
    from photopeak.io.dicom_nm_write import write_nm, write_nm_reconstructed

    names = ("ac", "ac_sd") if _has_spread(study) else ("ac",)
    if source is None and not study.facts.get("simulated"):
        typer.echo("no DICOM is written: the input has no patient to write it for")
        return
    for number, name in enumerate(names, start=1):
        title = f"{method.name.upper()} {name.upper().replace('_', ' ')}{' CT-FREE' * ct_free}"
        if source is None:
            write_nm(study[name], folder / f"{name}.dcm", patient=study.name, series_description=f"SIMULATED {title}")
            continue
        write_nm_reconstructed(
            study[name],
            source,
            folder / f"{name}.dcm",
            series_description=f"RESEARCH {title}",
            derivation=f"Reconstruction of raw by {method.name}, a network{' without CT' * ct_free}",
            contributing=told,
            corrected=[] if ct_free else ["ATTN"],
            series_number=9000 + number,
        )
