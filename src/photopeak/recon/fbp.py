"""Filtered back projection of parallel projections: ramp times Butterworth, on the scale of iterative images.

The ramp is made in space, where its samples are exact, and the projections are padded with zeros; the frequency zero is
then right and so is the scale (Ramachandran and Lakshminarayanan 1971; Kak and Slaney 1988, chapter 3).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from photopeak.core import LinearOperator
from photopeak.core.errors import BadArgument, BadValues, ShapeMismatch
from photopeak.core.units import MM_PER_CM
from photopeak.recon.butterworth import edge, gain, require_positive
from photopeak.recon.updates import sensitivity

ANGLE_TOLERANCE_DEG = 0.05
SEEN_BY_ALL = 0.95
"""Of the sensitivity in the middle; a voxel below it is missed by some views, and its image is 0."""


def fbp(
    A: LinearOperator,
    counts: Tensor,
    *,
    angles_deg: Sequence[float],
    bin_mm: float,
    voxel_mm: float | None = None,
    row_mm: float | None = None,
    cutoff_per_cm: float | None = None,
    order: float = 5.0,
) -> Tensor:
    """The image whose projections are `counts`, if they are of straight parallel rays; it may be negative.

    Parameters
    ----------
    A : an ideal system, without attenuation and blur, of slices [z, y, x] seen by parallel rays; its transpose
        projects back, and its sensitivity sets the scale.
    counts : [..., view, row, column].
    angles_deg : of the views, in equal steps of a half or a whole turn, in any order.
    bin_mm, row_mm : distance of columns and of rows; rows as columns unless given.
    voxel_mm : transaxial voxel size; `bin_mm` unless given.
    cutoff_per_cm, order : of a Butterworth filter over rows and columns; None for the ramp alone.

    Returns
    -------
    Tensor [..., z, y, x] : in the unit of images that A projects.

    Raises
    ------
    BadArgument : other angles, lengths that are not positive.
    ShapeMismatch : another number of angles than views, counts of another shape than A gives.
    BadValues : counts that are NaN or infinite.
    """
    views = counts.shape[-3]
    _check_angles(angles_deg, views)
    voxel_mm, row_mm = (bin_mm if size is None else size for size in (voxel_mm, row_mm))
    if not all(0 < size < math.inf for size in (bin_mm, voxel_mm, row_mm)):
        raise BadArgument(
            f"bin_mm={bin_mm}, voxel_mm={voxel_mm}, row_mm={row_mm}",
            needed="positive lengths",
            remedy="Give the camera's pixel.",
        )
    if cutoff_per_cm is not None:
        require_positive(cutoff_per_cm, order)
    if not torch.isfinite(counts).all():
        raise BadValues("counts with NaN or infinity", needed="finite numbers", remedy="Check the projections.")
    filtered = _filtered(counts, bin_mm, row_mm, cutoff_per_cm, order)
    seen = sensitivity(A, counts) / views
    nz, ny, nx = A.domain_shape
    middle = seen[nz // 2, ny // 2 - 1 : ny // 2 + 2, nx // 2 - 1 : nx // 2 + 2].mean()
    image = math.pi / views * (voxel_mm / (bin_mm * middle)) ** 2 * A.T(filtered)
    return torch.where(seen > SEEN_BY_ALL * middle, image, 0.0)


def _filtered(counts: Tensor, bin_mm: float, row_mm: float, cutoff_per_cm: float | None, order: float) -> Tensor:
    rows, columns = counts.shape[-2:]
    above = 0 if cutoff_per_cm is None else edge(row_mm, cutoff_per_cm)
    height, width = rows + above, 2 ** math.ceil(math.log2(2 * columns))
    response = torch.fft.rfft(_ramp(width, like=counts)).real
    if cutoff_per_cm is not None:
        along = torch.fft.rfftfreq(width, bin_mm / MM_PER_CM, dtype=counts.dtype, device=counts.device)
        across = torch.fft.fftfreq(height, row_mm / MM_PER_CM, dtype=counts.dtype, device=counts.device)
        response = response * gain(across[:, None] ** 2 + along**2, cutoff_per_cm, order)
    spectrum = torch.fft.rfft2(counts, s=(height, width)) * response
    return torch.fft.irfft2(spectrum, s=(height, width))[..., :rows, :columns]


def _ramp(width: int, *, like: Tensor) -> Tensor:
    """Samples of the band-limited ramp, in circular order: 1/4 at 0, -1/(pi n)^2 at odd n, 0 at even n."""
    n = torch.arange(width, dtype=like.dtype, device=like.device)
    n = torch.minimum(n, width - n)
    odd = n % 2 == 1
    kernel = torch.where(odd, -1 / (math.pi * torch.where(odd, n, 1.0)) ** 2, 0.0)
    kernel[0] = 0.25
    return kernel


def _check_angles(angles_deg: Sequence[float], views: int) -> None:
    if len(angles_deg) != views:
        raise ShapeMismatch(
            f"{len(angles_deg)} angles for counts of {views} views",
            needed="one angle a view",
            remedy="Check the camera.",
        )
    if not any(_in_equal_steps(angles_deg, turn) for turn in (180.0, 360.0)):
        raise BadArgument(
            f"{views} views from {min(angles_deg):g} to {max(angles_deg):g} degrees",
            needed="equal steps of a half or a whole turn",
            remedy="Use an iterative method for this orbit (mlem, osem).",
        )


def _in_equal_steps(angles_deg: Sequence[float], turn_deg: float) -> bool:
    first, views = angles_deg[0], len(angles_deg)
    steps = sorted(((angle - first + ANGLE_TOLERANCE_DEG) % turn_deg) - ANGLE_TOLERANCE_DEG for angle in angles_deg)
    return all(abs(step - turn_deg * k / views) < ANGLE_TOLERANCE_DEG for k, step in enumerate(steps))
