"""Rotating every transaxial slice at once: one bilinear sparse matrix, whose transpose is the exact adjoint.

The rotated frame of a view has depth in front (0 = the plane nearest the detector) and the detector column behind it.
View angle phi is measured from anterior toward the patient's left; the detector then stands at (sin phi, -cos phi) in
LPS, and its columns run along (cos phi, sin phi).
"""

import warnings

import torch
from torch import Tensor


def rotation_matrix(size: int, *angles_deg: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The map [y x] -> [depth column view] of a square slice about its middle, and its transpose, as sparse CSR.

    Parameters
    ----------
    size : rows and columns of the slice, voxels.
    angles_deg : view angles from anterior toward the left.
    """
    phi = torch.deg2rad(torch.tensor(angles_deg, dtype=torch.float64))
    middle = (size - 1) / 2
    toward = middle - torch.arange(size, dtype=torch.float64)[:, None, None]
    column = torch.arange(size, dtype=torch.float64)[None, :, None] - middle
    x = middle + toward * phi.sin() + column * phi.cos()
    y = middle - toward * phi.cos() + column * phi.sin()
    x0, y0 = x.floor(), y.floor()
    rows, columns, weights = [], [], []
    target = torch.arange(x.numel()).reshape(x.shape)
    for dy in (0, 1):
        for dx in (0, 1):
            xi, yi = (x0 + dx).long(), (y0 + dy).long()
            weight = (1 - (x - xi).abs()) * (1 - (y - yi).abs())
            inside = (xi >= 0) & (xi < size) & (yi >= 0) & (yi < size) & (weight > 0)
            rows.append(target[inside])
            columns.append((yi * size + xi)[inside])
            weights.append(weight[inside])
    index = torch.stack([torch.cat(rows), torch.cat(columns)])
    values = torch.cat(weights).to(dtype)
    shape = (x.numel(), size * size)
    forward = torch.sparse_coo_tensor(index, values, shape, check_invariants=False).coalesce()
    return _csr(forward, device), _csr(forward.t().coalesce(), device)


def _csr(matrix: Tensor, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # torch announces once that its CSR tensors are beta; products with a dense matrix are all that we use.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        csr = matrix.to_sparse_csr()
        rows, columns = csr.crow_indices().int(), csr.col_indices().int()
        return torch.sparse_csr_tensor(rows, columns, csr.values(), csr.shape, device=device, check_invariants=False)
