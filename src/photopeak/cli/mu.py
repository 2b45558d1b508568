"""An attenuation map from a file, brought onto the grid of a reconstruction."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from photopeak.core import Grid, Study, Volume


def with_mu(study: "Study", path: Path, grid: "Grid", *, shift_mm: tuple[float, float, float]) -> "Study":
    """`study` with "mu" on the reconstruction's grid, averaged over its voxels; a CT becomes mu by its tube voltage."""
    from photopeak.core import Step, Volume
    from photopeak.core.errors import BadArgument, GridMismatch
    from photopeak.core.units import BODY_PER_CM
    from photopeak.physics.attenuation import checked_mu

    isotope = study.facts.get("isotope", "Tc-99m")
    if isotope != "Tc-99m":
        raise BadArgument(f"mu for {isotope}", needed="Tc-99m, 140.5 keV", remedy="Reconstruct without mu.")
    given, by = _mu(path)
    checked_mu(given, given.grid)
    moved = Volume(given.data, _shifted(given.grid, shift_mm), given.quantity)
    mu = moved if moved.grid.same_as(grid) else _averaged(moved, grid)
    body = (mu.data > BODY_PER_CM).flatten(1).any(dim=1)
    if not bool(body.any()):
        raise GridMismatch(
            f"mu of {path} has its middle at {moved.grid.centre_mm.round(1).tolist()} mm, no body on the grid",
            needed=f"overlap with {grid} around {grid.centre_mm.round(1).tolist()} mm, the axis of rotation",
            remedy="Register it, or move it with --mu-shift-mm LEFT BACK HEAD.",
        )
    bare = len(body) - int(body.sum())
    warnings = [f"{bare} of {len(body)} slices have no attenuating body."] if bare else []
    if not given.grid.same_as(grid):
        warnings.append("mu was resampled by the coordinates in its file: check that it lies on the heart of NAC.")
    settings = {"from": str(given.grid), "onto": str(grid), "shift_mm": list(shift_mm), "by": by}
    return study.add({"mu": mu}, Step(("mu",), "resampled", (), settings)).with_facts(mu={"warnings": warnings})


def _mu(path: Path) -> tuple["Volume", str]:
    """Attenuation in `path`, and how it was made."""
    from photopeak.core import attenuation
    from photopeak.core.errors import MissingInput
    from photopeak.core.units import TC99M_KEV
    from photopeak.io import load
    from photopeak.physics.mumap import mu_from_ct

    study = load(path, as_="mu", quantity=attenuation(TC99M_KEV))
    if "mu" in study:
        return study["mu"], "as given"
    if "ct" in study and "kvp" in study.facts:
        return mu_from_ct(study["ct"], kvp=study.facts["kvp"]), f"mu_from_ct at {study.facts['kvp']:g} kVp"
    raise MissingInput(
        f"{path} with {', '.join(study) or 'no image'}",
        needed='NIfTI in 1/cm, a CT series with KVP (0018,0060), or a saved study with "mu"',
        remedy="Give one of these as --mu.",
    )


def _shifted(grid: "Grid", shift_mm: tuple[float, float, float]) -> "Grid":
    from photopeak.core import Grid

    matrix = grid.matrix
    matrix[:3, 3] += shift_mm
    return Grid(grid.shape, tuple(map(tuple, matrix)))


def _averaged(volume: "Volume", grid: "Grid") -> "Volume":
    """The mean of `volume` over each voxel of a coarser `grid`, slice by slice; on a finer one, interpolated."""
    import torch
    from torch.nn.functional import avg_pool3d

    from photopeak.core import Volume

    voxel_mm = grid.spacing_mm[0]
    parts = max(1, round(voxel_mm / min(volume.grid.spacing_mm)))
    fine = grid.resampled(voxel_mm / parts)
    _, ny, nx = fine.shape
    slabs = (volume.on(fine.crop((start, 0, 0), (parts, ny, nx))).data for start in range(0, fine.shape[0], parts))
    return Volume(torch.cat([avg_pool3d(slab[None, None], parts)[0, 0] for slab in slabs]), grid, volume.quantity)
