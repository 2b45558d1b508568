"""Scatter in the photopeak window from counts measured in windows beside it.

Three windows: K. Ogawa, Y. Harata, T. Ichihara, A. Kubo, S. Hashimoto, A practical method for position-dependent
Compton-scatter correction in single photon emission CT, IEEE Trans Med Imaging 1991; 10:408, doi:10.1109/42.97591.
Two windows: R. J. Jaszczak, K. L. Greer, C. E. Floyd, C. C. Harris, R. E. Coleman, Improved SPECT quantification using
compensation for scattered photons, J Nucl Med 1984; 25:893.

Narrow side windows hold few counts: the variance of the three-window estimate is (W/2)^2 (C_l / W_l^2 + C_u / W_u^2),
often larger than that of the photopeak itself. Scatter is smooth, so smooth the side windows. The estimate may exceed
single noisy photopeak pixels and is not cut there: as the additive background of a Poisson model it would be biased
(Hutton, Buvat & Beekman, Phys Med Biol 2011; 56:R85, doi:10.1088/0031-9155/56/14/R01). Who subtracts it cuts at zero.
"""

import torch
from torch import Tensor

from photopeak.core import Projections
from photopeak.core.errors import BadArgument, MissingInput
from photopeak.physics.response import FWHM_PER_SIGMA, gaussian_toeplitz

JASZCZAK_K = 0.5


def triple_energy_window(
    lower: Projections | None,
    peak: Projections,
    upper: Projections | None = None,
    *,
    smooth_fwhm_px: float = 0.0,
) -> Projections:
    """Scatter as a trapezoid under the photopeak: ``(C_l / W_l + C_u / W_u) W / 2`` in every pixel (Ogawa).

    Parameters
    ----------
    lower, peak, upper : counts [view, row, column] of one camera in windows that do not overlap. Without `upper`, whose
        scatter is small for Tc-99m, the trapezoid is a triangle.
    smooth_fwhm_px : FWHM of a Gaussian over the side windows' pixels, which keeps their counts; 0 for none.

    Returns
    -------
    Projections [view, row, column] of expected scatter in the window of `peak`; at least 0.

    Raises
    ------
    MissingInput : no lower window.
    BadArgument : windows that overlap, are empty or on the wrong side, two cameras, or a negative width.
    """
    below = _beside(lower, peak, "lower")
    per_kev = _smoothed(below.counts, smooth_fwhm_px) / _width_kev(below)
    if upper is not None:
        above = _beside(upper, peak, "upper")
        per_kev = per_kev + _smoothed(above.counts, smooth_fwhm_px) / _width_kev(above)
    return peak.with_counts(per_kev * (_width_kev(peak) / 2))


def dual_energy_window(
    lower: Projections | None, peak: Projections, *, k: float = JASZCZAK_K, smooth_fwhm_px: float = 0.0
) -> Projections:
    """Scatter as a share of a broad window below the photopeak: ``k C_l`` in every pixel (Jaszczak).

    Parameters
    ----------
    lower, peak : counts [view, row, column] of one camera in windows that do not overlap; Jaszczak's were 92 to 125 and
        127 to 153 keV.
    k : counts of scatter in the photopeak window for each count in the lower; depends on windows, isotope and body.
    smooth_fwhm_px : as in `triple_energy_window`.

    Raises
    ------
    MissingInput : no lower window.
    BadArgument : as in `triple_energy_window`, or a negative `k`.
    """
    if not 0 <= k < float("inf"):
        raise BadArgument(f"k={k:g}", needed="a number of at least zero", remedy="Jaszczak's value is 0.5.")
    below = _beside(lower, peak, "lower")
    return peak.with_counts(k * _smoothed(below.counts, smooth_fwhm_px))


def _beside(side: Projections | None, peak: Projections, name: str) -> Projections:
    """`side`, if it can tell about the scatter in `peak`."""
    if side is None:
        raise MissingInput(
            f'no "{name}" window',
            needed="counts in an energy window there",
            remedy="Use physics.esse: it needs mu only.",
        )
    for window_name, one in ((name, side), ("peak", peak)):
        if not 0 <= one.window.lower_kev < one.window.upper_kev:
            raise BadArgument(
                f'"{window_name}" window {_named(one)}', needed="0 <= lower_kev < upper_kev", remedy="Swap the limits."
            )
    low, high = (side, peak) if name == "lower" else (peak, side)
    if low.window.upper_kev > high.window.lower_kev + 1e-6:
        raise BadArgument(
            f'"{name}" window {_named(side)} beside a peak of {_named(peak)}',
            needed="below the peak and apart from it" if name == "lower" else "above the peak and apart from it",
            remedy="Check the order of the windows in the file.",
        )
    if side.camera.kind != peak.camera.kind or side.camera.to_dict() != peak.camera.to_dict():
        raise BadArgument(
            f'"{name}" and "peak" come from two cameras or orbits',
            needed="one acquisition",
            remedy="Take both from one file.",
        )
    return side


def _width_kev(projections: Projections) -> float:
    return projections.window.upper_kev - projections.window.lower_kev


def _named(projections: Projections) -> str:
    return f"{projections.window.lower_kev:g} to {projections.window.upper_kev:g} keV"


def _smoothed(counts: Tensor, fwhm_px: float) -> Tensor:
    """Gaussian over rows and columns of every view; what would leave at the edges stays inside."""
    if not 0 <= fwhm_px < float("inf"):
        raise BadArgument(f"smooth_fwhm_px={fwhm_px:g}", needed="at least zero", remedy="Give pixels.")
    if fwhm_px == 0:
        return counts
    counts = counts.to(torch.promote_types(counts.dtype, torch.float32))
    sigma = torch.tensor([fwhm_px / FWHM_PER_SIGMA], dtype=counts.dtype, device=counts.device)
    rows, columns = (gaussian_toeplitz(size, sigma)[0] for size in counts.shape[-2:])
    rows, columns = rows / rows.sum(0), columns / columns.sum(0)
    return rows @ counts @ columns.T
