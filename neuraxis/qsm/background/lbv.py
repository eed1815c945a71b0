"""Laplacian boundary value."""

from __future__ import annotations

import math

import lazy_loader as lazy

from neuraxis.numerics.fourier import mask_box, paste
from neuraxis.numerics.morphology import erode, without_rim
from neuraxis.numerics.multigrid import negative_laplacian, solve_poisson
from neuraxis.qsm.background.spherical_mean import without_mean
from neuraxis.volume import Grid, Tensor

torch = lazy.load("torch")


def lbv(
    total_field: Tensor,
    field_mask: Tensor,
    grid: Grid,
    *,
    rim: float = 2.0,
    tolerance: float = 1e-3,
    iterations: int = 50,
) -> tuple[Tensor, Tensor]:
    """Background removal by a Laplacian boundary value problem (LBV).

    The background is harmonic inside the mask, and much larger than the local field at its edge, so that the outermost
    layer of voxels gives its boundary values:

        Laplacian(background) = 0 inside,   background = field at the edge,   local = field - background

    Seven-point differences; solved for the local field, with source Laplacian(field) and zero at the edge, by conjugate
    gradients with multigrid, really to convergence. Departure from the paper: a rim is taken off the mask first, as the
    field map is least reliable there, and every error at the edge goes on inwards. The direction of the main field is not
    needed.

    Parameters
    ----------
    total_field
        Field of all sources; ppm of B0, (X, Y, Z), positive where the field is stronger.
    field_mask
        Where the field can be trusted; bool, (X, Y, Z), at least one voxel.
    grid
        Place of the arrays; gives the voxel size.
    rim
        Depth of the rim that is taken off before; mm, at least 0. Gaps in the mask that no sphere of this radius fits into
        have none. Larger is more accurate, on a smaller mask.
    tolerance
        Stop when the residual is at most this share of the source; 0 or above.
    iterations
        Most iterations; at least 1. Five are common.

    Returns
    -------
    Local field; ppm, (X, Y, Z), zero outside its mask.
    Mask of the local field; bool, (X, Y, Z): the mask without its rim and without the layer of the boundary values.

    Raises
    ------
    ValueError: a knob is outside its range, the mask is empty, or nothing of it is deeper than the rim and one voxel.

    References
    ----------
    Zhou 2014, doi:10.1002/nbm.3064
    Hestenes 1952, doi:10.6028/jres.049.044
    """
    if not 0 <= rim < math.inf:
        raise ValueError(f"rim must be at least 0 mm, not {rim}")
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be at least 0, not {tolerance}")
    if not iterations >= 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
    trusted = without_rim(field_mask, rim, grid.voxel_size)
    box = mask_box(trusted)
    mask = trusted[box]
    inside = inner(mask)
    if not bool(inside.any()):
        raise ValueError(f"nothing of the mask is deeper than the rim of {rim} mm and one voxel")
    source = negative_laplacian(without_mean(total_field, mask, box), grid.voxel_size)
    local, _ = solve_poisson(source, inside, grid.voxel_size, iterations=iterations, tolerance=tolerance)
    return paste(local, box, grid.shape), paste(inside, box, grid.shape)


def inner(mask: Tensor) -> Tensor:
    """The voxels of the mask whose six neighbours lie in it; beyond the array counts as outside."""
    return erode(torch.nn.functional.pad(mask, (1,) * 6))[1:-1, 1:-1, 1:-1].contiguous()
