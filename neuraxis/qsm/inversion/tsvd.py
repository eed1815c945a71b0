"""Truncated singular value decomposition."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.dipole import dipole_kernel
from neuraxis.numerics.fourier import box_shape, irfftn, mask_box, padded_shape, paste, rfftn
from neuraxis.qsm.inversion.nonlinear_data import check_knobs
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def tsvd(
    local_field: Tensor, local_mask: Tensor, grid: Grid, *, threshold: float = 0.06, padding: float = 40.0
) -> Tensor:
    """Truncated singular value decomposition (TSVD).

    Divides by the dipole kernel where it is large and leaves out the frequencies where it is small:

        chi(k) = field(k) / D(k),   |D| < threshold  ->  0

    |D| are the singular values of the periodic dipole convolution, and the Fourier waves its singular vectors. What is
    left out darkens the map: for the same threshold it is darker than truncated division.

    Parameters
    ----------
    local_field
        Field made by tissue inside the mask; ppm of B0, (X, Y, Z), positive where the field is stronger.
    local_mask
        Where the local field is known; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    threshold
        Smallest |D| that is divided by; 0 < threshold <= 1/3. Larger is smoother and darker.
    padding
        Zeros behind the box of the mask, against wrap-around; mm, at least 0.

    Returns
    -------
    Susceptibility; ppm, (X, Y, Z), zero outside the mask.

    Raises
    ------
    ValueError: a knob is outside its range, or the mask is empty.

    References
    ----------
    Wharton 2010, doi:10.1002/mrm.22334
    """
    if not 0 < threshold <= 1 / 3:
        raise ValueError(f"threshold must be above 0 and at most 1/3, not {threshold}")
    check_knobs(at_least_zero={"padding": padding})
    box = mask_box(local_mask)
    mask = local_mask[box]
    x, y, z = (padding / size for size in grid.voxel_size)
    padded = padded_shape(box_shape(box), (x, y, z))
    kernel = dipole_kernel(padded, grid.voxel_size, grid.b0_direction, local_field.device)
    kernel[kernel.abs() < threshold] = float("inf")
    spectrum = rfftn(torch.where(mask, local_field[box], 0.0), padded)
    spectrum /= kernel
    return paste(irfftn(spectrum, padded, box_shape(box)) * mask, box, grid.shape)
