"""Tikhonov-regularised division."""

from __future__ import annotations

import lazy_loader as lazy

from neuraxis.numerics.dipole import dipole_kernel
from neuraxis.numerics.fourier import box_shape, irfftn, mask_box, padded_shape, paste, rfftn
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def tikhonov(
    local_field: Tensor, local_mask: Tensor, grid: Grid, *, weight: float = 0.01, padding: float = 20.0
) -> Tensor:
    """Least squares with a small susceptibility (Tikhonov), in closed form.

        min ||D chi - field||^2 + weight ||chi||^2,   chi(k) = D field(k) / (D^2 + weight)

    Parameters
    ----------
    local_field
        Field made by tissue inside the mask; ppm of B0, (X, Y, Z), positive where the field is stronger.
    local_mask
        Where the local field is known; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives voxel size and direction of the main field.
    weight
        Weight of the penalty; above 0. Larger is smoother and darker.
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
    Bilgic 2014, doi:10.1002/mrm.25029
    """
    if not 0 < weight < float("inf"):
        raise ValueError(f"weight must be above 0, not {weight}")
    if not 0 <= padding < float("inf"):
        raise ValueError(f"padding must be at least 0 mm, not {padding}")
    box = mask_box(local_mask)
    mask = local_mask[box]
    x, y, z = (padding / size for size in grid.voxel_size)
    padded = padded_shape(box_shape(box), (x, y, z))
    kernel = dipole_kernel(padded, grid.voxel_size, grid.b0_direction, local_field.device)
    kernel.div_(kernel**2 + weight)
    spectrum = rfftn(torch.where(mask, local_field[box], 0.0), padded)
    spectrum *= kernel
    return paste(irfftn(spectrum, padded, box_shape(box)) * mask, box, grid.shape)
